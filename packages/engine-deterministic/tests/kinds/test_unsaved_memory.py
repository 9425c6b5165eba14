"""Samplers with a memory that cannot be saved, and an order that follows from it later: refused before it does."""

from __future__ import annotations

import contextvars
import io
import itertools
import multiprocessing
import queue
import threading
import warnings

import numpy as np
import pytest
from every_kind import Noisy
from looping import dumped, epochs_of, loaded, resumable
from torch.utils.data import DataLoader, Sampler

from camshaft.deterministic import DeterministicEngine, ResumeMismatch
from camshaft.deterministic._checks._difference import find_difference
from camshaft.engine import EngineWarning, Events

SIZE = 6
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:.*{text}:camshaft.engine.EngineWarning")
    for text in ("cannot be saved", "its saved value is lost")
]


class Part:
    __slots__ = ("n",)

    def __init__(self):
        self.n = 0


class Curriculum(Sampler):
    """Easy for two passes, and hard then; `turn` says which pass it is, by the memory alone."""

    def __init__(self, memory, turn):
        self.memory = memory
        self.turn = turn

    def __len__(self):
        return SIZE

    def __iter__(self):
        number = self.turn(self.memory)
        return iter(range(SIZE) if number <= 2 else range(SIZE)[::-1])


def putting(memory):
    memory.put(1)
    return memory.qsize()


def appending(memory):
    memory.append(Part())
    return len(memory)


def in_one_of_many(memory):
    memory[16].n += 1
    return memory[16].n


def far_inside(memory):
    memory["a"]["b"][0].n += 1
    return memory["a"]["b"][0].n


def counting(memory):
    memory.n = getattr(memory, "n", 0) + 1
    return memory.n


def adding(memory):
    memory.value += 1
    return memory.value


def writing(memory):
    memory.write(b"x")
    return len(memory.getvalue())


def setting(memory):
    memory.set(memory.get(0) + 1)
    return memory.get()


def numbers():
    yield from range(1, 9)


MEMORIES = {
    "queue": (queue.Queue, putting),
    "list of objects": (list, appending),
    "one of many objects": (lambda: [Part() for _ in range(30)], in_one_of_many),
    "objects far inside": (lambda: {"a": {"b": [Part()]}}, far_inside),
    "thread's own": (threading.local, counting),
    "shared by processes": (lambda: multiprocessing.Value("i", 0), adding),
    "file in memory": (io.BytesIO, writing),
    "variable of a context": (lambda: contextvars.ContextVar("count"), setting),
    "generator": (numbers, next),
    "iterator": (lambda: iter(range(1, 9)), next),
    "cycle": (lambda: itertools.cycle([1, 2, 3]), next),
    "map": (lambda: map(int, "123456"), next),
}


def maker(name, workers=0):
    memory, turn = MEMORIES[name]
    return lambda: DataLoader(Noisy(), 2, sampler=Curriculum(memory(), turn), num_workers=workers)


def goes_on(make, state, whole, done):
    """Resume between two epochs or inside one; return whether that is exact, or None where it is refused."""
    resumed = resumable(make)
    try:
        resumed.load_state_dict(loaded(dumped(state)))
        rest = [batch for _ in range(resumed.epoch, 4) for batch in resumed]
    except ResumeMismatch as mismatch:
        assert "cannot be saved" in str(mismatch) or "order of the sampler" in str(mismatch)  # noqa: PT017
        return None
    return find_difference(whole[done:], rest, "") is None


def outcomes(make, epochs=4):
    """Go through the epochs, and resume from all states but the last ones; return what came of it, by epoch."""
    loader, whole, states = resumable(make), [], []
    for epoch in range(epochs):
        for batch in loader:
            whole.append(batch)
            states.append((epoch, len(whole), loader.state_dict()))
        states.append((epoch, len(whole), loader.state_dict()))
    return {(epoch, done): goes_on(make, state, whole, done) for epoch, done, state in states if done < len(whole)}


@pytest.mark.parametrize("name", MEMORIES)
def test_a_curriculum_is_never_resumed_with_another_order(name):
    found = outcomes(maker(name))
    assert {True} == {each for (epoch, _), each in found.items() if epoch == 0}
    assert {None} == {each for (epoch, _), each in found.items() if epoch == 1}
    assert False not in found.values()


def test_workers_that_draw_ahead_make_no_difference():
    whole = [batch for epoch in epochs_of(resumable(maker("queue")), 4) for batch in epoch]
    loader, done = resumable(maker("queue", 1)), 0
    for epoch in range(2):
        for _ in loader:
            done += 1
            expected = True if epoch == 0 else None
            assert goes_on(maker("queue"), loader.state_dict(), whole, done) is expected


def test_an_engine_refuses_it_too():
    states = []
    stopped, resumed = (DeterministicEngine(lambda engine, batch: None) for _ in range(2))
    stopped.add_event_handler(Events.EPOCH_COMPLETED(once=2), lambda: states.append(stopped.state_dict()))
    stopped.run(maker("queue")(), max_epochs=3)
    resumed.load_state_dict(states[0])
    with pytest.raises(ResumeMismatch, match=r"`memory` of Curriculum, which cannot be saved, was .* state_dict"):
        resumed.run(maker("queue")())


def test_what_changes_in_passes_and_cannot_be_saved_is_told_once_when_a_state_is_taken():
    loader = resumable(maker("queue"))
    loader.state_dict()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in loader:
            loader.state_dict()
    assert ["`memory` of"] == [str(each.message)[:11] for each in told if each.category is EngineWarning]


class Drawing(Sampler):
    """Makes its order anew in each pass, of a type that cannot be saved; remembers nothing."""

    def __init__(self):
        self.parts = None

    def __len__(self):
        return SIZE

    def __iter__(self):
        self.parts = [Part() for _ in range(SIZE)]
        for part, place in zip(self.parts, np.random.permutation(SIZE), strict=True):
            part.n = int(place)
        self.left = iter(self.parts)
        self.done = queue.Queue()
        for part in self.left:
            self.done.put(part)
            yield part.n


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_made_anew_in_each_pass_is_no_alarm(workers):
    loader, whole, states = resumable(lambda: DataLoader(Noisy(), 2, sampler=Drawing())), [], []
    for _ in range(3):
        for batch in loader:
            whole.append(batch)
            states.append((len(whole), loader.state_dict()))
        states.append((len(whole), loader.state_dict()))
    for done, state in states[:: 1 + 3 * workers]:
        resumed = resumable(lambda: DataLoader(Noisy(), 2, sampler=Drawing(), num_workers=workers))
        resumed.load_state_dict(state)
        rest = [batch for _ in range(resumed.epoch, 3) for batch in resumed]
        assert find_difference(whole[done:], rest, "") is None


class Told(Curriculum):
    """Keeps what the program sets for an epoch."""

    def __iter__(self):
        return iter(np.random.permutation(SIZE + 0 * self.memory.qsize()).tolist())


def test_what_the_program_sets_between_two_epochs_is_no_alarm():
    def make():
        sampler = Told(queue.Queue(), None)
        return sampler, resumable(lambda: DataLoader(Noisy(), 2, sampler=sampler))

    def train(sampler, loader, epochs):
        seen = []
        for epoch in range(loader.epoch, epochs):
            sampler.memory = queue.Queue()
            for _ in range(epoch):
                sampler.memory.put(1)
            seen.append([*loader])
        return seen

    whole = train(*make(), 4)
    for done in range(1, 4):
        first, second = make(), make()
        train(*first, done)
        second[1].load_state_dict(first[1].state_dict())
        assert find_difference(whole[done:], train(*second, 4), "") is None
