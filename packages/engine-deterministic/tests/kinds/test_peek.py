"""Every kind of data, while the next batch is fetched early: everything else is as it is without."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from every_kind import DATA, ENDLESS, Failing, Noisy, Stream, loader
from torch.utils.data import IterableDataset
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic import DeterministicEngine, ResumableLoader
from camshaft.deterministic._checks import _trial
from camshaft.deterministic.testing import check_data
from camshaft.engine import Events, Peekable

ALL = (
    DATA
    | ENDLESS
    | {
        "two workers": lambda: loader(shuffle=True, num_workers=2),
        "one of two ranks": lambda: loader(sampler=DistributedSampler(Noisy(), 2, 1)),
    }
)
# These draw from the generators of the process, or cannot give a batch again.
LAZY = {
    "keeping data", "restarting data", "lazily restarting data", "combined loaders", "sequence that draws", "iterable",
    "iterable that counts epochs", "reshuffling sequence", "reshuffling list", "table", "data that opens itself",
    *ENDLESS,
}  # fmt: skip
PEEKABLE = [name for name in ALL if name not in LAZY]


class Opened:
    """A source that notes what it has opened."""

    def __init__(self, source):
        self.source = source
        self.batches = None

    def open(self, position):
        self.batches = self.source.open(position)
        return self.batches

    def state(self, position):
        return self.source.state(position)

    def close(self):
        self.source.close()


class PeekingEngine(DeterministicEngine):
    """Fetches the next batch of an epoch early, at the end of each step."""

    def __init__(self, process_function, **options):
        super().__init__(process_function, **options)
        self.process_function = self._step
        self.step = process_function
        self.opened = None
        self.peeked = 0

    def make_source(self, data):
        self.opened = Opened(super().make_source(data))
        return self.opened

    def _step(self, engine, batch):
        output = self.step(engine, batch)
        length = self.state.epoch_length
        if length is None or self.position.epoch_iteration + 1 < length:
            batches = self.opened.batches
            self.peeked += len(batches.peek()) if isinstance(batches, Peekable) else 0
        return output


def drawn():
    """Return a number of each generator of the process."""
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def noted_run(kind, data, ends_early=(), **options):
    """Return all that happens in a run whose handlers draw random numbers, and the engine."""
    log = []
    engine = kind(lambda engine, batch: log.append((str(batch), drawn())))
    for event in (Events.GET_BATCH_STARTED, Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED):
        engine.add_event_handler(event, lambda name: log.append((name, drawn())), event.name)
    if ends_early:
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=list(ends_early)), engine.terminate_epoch)
    engine.run(data, max_epochs=3, seed=5, **options)
    return log, engine


@pytest.mark.parametrize("ends_early", [(), (2, 6)])
@pytest.mark.parametrize("name", ALL)
def test_batches_and_random_numbers_are_those_of_a_run_that_does_not_look_ahead(name, ends_early):
    expected, _ = noted_run(DeterministicEngine, ALL[name](), ends_early, epoch_length=4)
    log, engine = noted_run(PeekingEngine, ALL[name](), ends_early, epoch_length=4)
    assert log == expected
    assert (engine.peeked > 0) == (name in PEEKABLE)


@pytest.mark.parametrize("name", PEEKABLE)
def test_a_run_that_looks_ahead_resumes_from_everywhere(name, monkeypatch):
    monkeypatch.setattr(_trial, "DeterministicEngine", PeekingEngine)
    assert check_data(ALL[name], max_epochs=2, epoch_length=4, ends_early=[2], every=4) > 3


@pytest.mark.parametrize("kind", [DeterministicEngine, PeekingEngine])
def test_what_a_handler_sets_after_an_early_fetch_is_not_taken_back(kind):
    class Counting(IterableDataset):
        count = 0
        scale = 1

        def __iter__(self):
            for number in range(6):
                self.count += 1
                yield torch.tensor([number * self.scale, self.count])

    def harden():
        engine.terminate_epoch()
        dataset.scale = 10
        dataset.level = "hard"

    seen = []
    dataset = Counting()
    engine = kind(lambda engine, batch: seen.append(batch.tolist()))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), harden)
    engine.run(loader(dataset, batch_size=None), max_epochs=2, epoch_length=4, seed=5)
    assert seen == [[0, 1], [1, 2], [0, 3], [10, 4], [20, 5], [30, 6]]
    assert dataset.level == "hard"


def states_of(kind, make, place):
    """Return what is saved at an event of a run, and the batches that come afterwards."""
    saved, seen = [], []
    engine = kind(lambda engine, batch: seen.append(str(batch)))

    @engine.on(place)
    def save():
        if not saved:
            seen.clear()
            saved.append(engine.state_dict())

    engine.run(make(), max_epochs=2, seed=5)
    return saved[0], seen


@pytest.mark.parametrize("name", [name for name in PEEKABLE if name != "two workers"])
def test_a_state_is_that_of_a_run_that_does_not_look_ahead(name):
    place = Events.ITERATION_COMPLETED(once=2)
    (expected, _), (state, _) = (states_of(kind, ALL[name], place) for kind in (DeterministicEngine, PeekingEngine))
    further = "'drawn': 3, "  # of a sampler that counts: so many batches were drawn when it had that count
    assert str(state).replace(further, "") == str(expected)


@pytest.mark.parametrize("name", ["shuffled", "stream", "restarting stream", "two workers"])
@pytest.mark.parametrize("kinds", [(DeterministicEngine, PeekingEngine), (PeekingEngine, DeterministicEngine)])
def test_a_run_that_looks_ahead_continues_one_that_does_not_and_the_other_way(name, kinds):
    first, second = kinds
    state, rest = states_of(first, ALL[name], Events.ITERATION_COMPLETED(once=2))
    seen = []
    engine = second(lambda engine, batch: seen.append(str(batch)))
    engine.load_state_dict(state)
    engine.run(ALL[name]())
    assert seen == rest


def test_an_error_of_the_dataset_is_raised_when_its_batch_is_asked_for():
    engine = PeekingEngine(lambda engine, batch: None)
    with pytest.raises(OSError, match="the disk is away") as caught:
        engine.run(loader(Failing(7)))
    assert engine.state.iteration == 2
    assert engine.position.next_event == "GET_BATCH_COMPLETED"
    assert "while the run waited for batch 2 of pass 0" in caught.value.__notes__


def test_the_iteration_of_a_resumable_loader_looks_ahead():
    whole = [str(batch) for batch in ResumableLoader(loader(shuffle=True), seed=3)]
    data = ResumableLoader(loader(shuffle=True), seed=3)
    iteration = iter(data)
    assert iteration.peek() == ()  # it has not begun
    first = next(iteration)
    before = data.state_dict()
    (second,) = iteration.peek()
    assert str(data.state_dict()) == str(before)
    assert data.index == 1
    assert next(iteration) is second
    assert [str(first), str(second), *map(str, iteration)] == whole
    resumed = ResumableLoader(loader(shuffle=True), seed=3)
    resumed.load_state_dict(before)
    assert [str(batch) for batch in resumed] == whole[1:]


def test_an_early_fetch_that_is_cut_off_leaves_a_resumable_loader_in_its_place(monkeypatch):
    def cut_off(self, index):
        raise KeyboardInterrupt

    whole = [str(batch) for batch in ResumableLoader(loader(), seed=3)]
    data = ResumableLoader(loader(), seed=3)
    iteration = iter(data)
    assert str(next(iteration)) == whole[0]
    with monkeypatch.context() as patch:
        patch.setattr(Noisy, "__getitem__", cut_off)
        with pytest.raises(KeyboardInterrupt):
            iteration.peek()
    assert data.index == 1
    assert [str(batch) for batch in iteration] == whole[1:]


def test_steps_are_seeded_when_their_batch_is_given_out():
    def numbers(looks_ahead):
        found = []
        iteration = iter(ResumableLoader(loader(shuffle=True), seed=3, seed_steps=True))
        for batch in iteration:
            found.append((str(batch), drawn()))
            if looks_ahead:
                iteration.peek()
            found.append(drawn())
        return found

    assert numbers(looks_ahead=True) == numbers(looks_ahead=False)


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata's own call
def test_a_stateful_loader_with_workers_saves_where_it_stood_before():
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def make():
        return loader(Stream(), kind=stateful.StatefulDataLoader, num_workers=2)

    expected = states_of(DeterministicEngine, make, Events.ITERATION_COMPLETED(once=2))
    state, rest = states_of(PeekingEngine, make, Events.ITERATION_COMPLETED(once=2))
    assert rest == expected[1]
    seen = []
    engine = DeterministicEngine(lambda engine, batch: seen.append(str(batch)))
    engine.load_state_dict(state)
    engine.run(make())
    assert seen == rest
