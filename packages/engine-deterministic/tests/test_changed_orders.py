"""Lists and samplers of torch's that the program changes while it trains: their order goes on where it was."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from noisy_data import noise
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler, WeightedRandomSampler

from camshaft.deterministic import DeterministicEngine, ResumableLoader, ResumeMismatch
from camshaft.engine import Events

SIZE, EPOCHS = 12, 3


class Rows(Dataset):
    def __len__(self):
        return SIZE

    def __getitem__(self, index):
        return noise(int(index))


def shuffle(order):
    """Shuffle in place."""
    order[:] = [order[place] for place in torch.randperm(len(order)).tolist()]


def shuffle_array(order):
    order[:] = order[torch.randperm(len(order)).numpy()]


def shuffle_tensor(order):
    order.copy_(order[torch.randperm(len(order))])


def weigh(weights):
    weights[torch.randint(SIZE, ())] *= 3


# Each makes what the program changes, and the options of a loader with it; and how it is changed.
ORDERS = {
    "list": (lambda: list(range(SIZE)), lambda order: {"sampler": order, "batch_size": 3}, shuffle),
    "array": (lambda: np.arange(SIZE), lambda order: {"sampler": order, "batch_size": 3}, shuffle_array),
    "tensor": (lambda: torch.arange(SIZE), lambda order: {"sampler": order, "batch_size": 3}, shuffle_tensor),
    "list of batches": (
        lambda: [[place, place + 1, place + 2] for place in range(0, SIZE, 3)],
        lambda order: {"batch_sampler": order},
        shuffle,
    ),
    "indices of a random subset": (
        lambda: list(range(SIZE)),
        lambda order: {"sampler": SubsetRandomSampler(order), "batch_size": 3},
        shuffle,
    ),
    "weights": (
        lambda: torch.ones(SIZE, dtype=torch.float64),
        lambda order: {"sampler": WeightedRandomSampler(order, SIZE), "batch_size": 3},
        weigh,
    ),
}


def played(name, at, workers=0, state=None):
    """Return the batches of a run that changes its order at an event, and a state after each."""
    make, options, change = ORDERS[name]
    order = make()
    seen, states = [], []
    engine = DeterministicEngine(lambda engine, batch: seen.append(batch.tolist()))
    engine.add_event_handler(at, lambda: change(order))
    for event in (Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED):
        engine.add_event_handler(event, lambda: engine.at_safe_point(save))

    def save():
        states.append((len(seen), engine.state_dict()))

    if state is not None:
        engine.load_state_dict(state)
    engine.run(DataLoader(Rows(), num_workers=workers, **options(order)), max_epochs=EPOCHS, seed=3)
    return seen, states


@pytest.mark.parametrize("at", [Events.EPOCH_STARTED, Events.EPOCH_COMPLETED])
@pytest.mark.parametrize("name", ORDERS)
def test_an_order_that_the_program_changes_goes_on_where_it_was(name, at):
    whole, states = played(name, at)
    assert len({str(whole[first : first + 4]) for first in (0, 4, 8)}) == EPOCHS  # it did change
    for done, state in states:
        random.seed(done)
        assert whole[done:] == played(name, at, state=state)[0]


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_that_is_changed_while_it_is_used_goes_on_or_is_refused(name):
    at, exact = Events.ITERATION_COMPLETED(every=3), 0
    whole, states = played(name, at)
    for done, state in states:
        try:
            rest = played(name, at, state=state)[0]
        except ResumeMismatch:
            continue
        assert whole[done:] == rest
        exact += 1
    assert exact >= 4


@pytest.mark.parametrize(("name", "at"), [("list", Events.EPOCH_STARTED), ("weights", Events.ITERATION_COMPLETED)])
def test_it_goes_on_with_workers_that_fetch_ahead(name, at):
    whole, states = played(name, at, workers=1)
    for done, state in states[2::4]:
        assert whole[done:] == played(name, at, workers=1, state=state)[0]


def test_a_list_that_is_shuffled_after_each_loop_goes_on_where_it_was():
    def loop(state=None):
        order, seen, states = list(range(SIZE)), [], []
        loader = ResumableLoader(DataLoader(Rows(), 3, sampler=order), seed=3)
        shuffler = random.Random(0)
        if state is not None:
            loader.load_state_dict(state[0])
            shuffler.setstate(state[1])
        for _ in range(loader.epoch, EPOCHS):
            for batch in loader:
                seen.append(batch.tolist())
                states.append((len(seen), (loader.state_dict(), shuffler.getstate())))
            shuffler.shuffle(order)
            states.append((len(seen), (loader.state_dict(), shuffler.getstate())))
        return seen, states

    whole, states = loop()
    for done, state in states:
        assert whole[done:] == loop(state)[0]
