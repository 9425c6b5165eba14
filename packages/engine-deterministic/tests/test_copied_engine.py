"""Copies of an engine, made with `copy.deepcopy` inside its run and after it."""

from __future__ import annotations

import random
from copy import deepcopy

import pytest
import torch
from torch.utils.data import DataLoader

from camshaft.deterministic import DeterministicEngine
from camshaft.engine import Events

ITERATIONS = 8  # two epochs of four batches


class Again:
    """Can be iterated again and again, in another order each time."""

    def __len__(self):
        return 4

    def __iter__(self):
        return iter(torch.randperm(4))


class Saving:
    """Begins anew whenever it is iterated but right after loading."""

    keeps_place = False

    def __init__(self):
        self.place = self.start = 0

    def __len__(self):
        return 4

    def __iter__(self):
        self.place, self.start = self.start, 0
        while self.place < 4:
            self.place += 1
            yield torch.rand(2)

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.start = state["place"]


def loader(**options):
    return DataLoader(torch.arange(8), batch_size=2, **options)


DATA = {
    "loader": lambda: loader(shuffle=True),
    "loader with workers": lambda: loader(shuffle=True, num_workers=1, persistent_workers=True),
    "iterable": Again,
    "data with a state": Saving,
    "list": lambda: list(torch.arange(4)),
}


def make_engine():
    return DeterministicEngine(lambda engine, batch: (batch.tolist(), random.random(), torch.rand(1).item()))


def outputs_of(engine):
    seen = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.output))
    return seen


EVENTS = (
    Events.STARTED,
    Events.GET_BATCH_STARTED(once=3),
    Events.ITERATION_COMPLETED(once=2),
    Events.ITERATION_COMPLETED(once=4),
    Events.EPOCH_STARTED(once=2),
    Events.ITERATION_COMPLETED(once=6),
)


@pytest.mark.parametrize("event", EVENTS, ids=str)
@pytest.mark.parametrize("name", DATA)
def test_a_copy_made_inside_a_run_stands_there_and_goes_on_exactly(name, event):
    copies = []
    engine = make_engine()
    seen = outputs_of(engine)
    engine.add_event_handler(event, lambda engine: copies.append(deepcopy(engine)))
    engine.run(DATA[name](), max_epochs=2, seed=7)
    (copied,) = copies
    whole, done = list(seen), copied.position.iteration

    assert not copied.is_running
    assert copied.state.iteration == done
    assert len(whole) == ITERATIONS
    rest = outputs_of(copied)
    copied.run()
    assert whole[done:] == rest


@pytest.mark.parametrize("name", DATA)
def test_a_copy_of_an_interrupted_engine_goes_on_exactly_and_leaves_the_first_one_alone(name):
    engine = make_engine()
    seen = outputs_of(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=6), engine.interrupt)
    engine.run(DATA[name](), max_epochs=2, seed=7)
    copied = deepcopy(engine)
    rest = outputs_of(copied)
    copied.run()
    del seen[6:]  # the copy has the handlers of the engine, which wrote there
    engine.run()
    assert len(seen) == ITERATIONS
    assert seen[6:] == rest


def test_a_state_saved_by_a_copy_is_that_of_the_engine():
    states = []

    def save(engine):
        states.extend((engine.state_dict(), deepcopy(engine).state_dict()))

    engine = make_engine()
    engine.add_event_handler(Events.GET_BATCH_STARTED(once=3), save)
    engine.run(DATA["loader"](), max_epochs=2, seed=7)
    first, second = states
    assert first["deterministic"] == second["deterministic"]
    assert torch.equal(first["rng_states"]["torch"], second["rng_states"]["torch"])
    assert (first["position"], first["seed"]) == (second["position"], second["seed"])
