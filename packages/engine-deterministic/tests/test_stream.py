from __future__ import annotations

import random

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from camshaft.deterministic import manual_seed
from camshaft.deterministic._loader import end_workers
from camshaft.deterministic._stream import OpenedStream, SavingStream


def sample(index):
    return torch.tensor([index, random.random(), torch.rand(1).item()], dtype=torch.float64)


class Stream(IterableDataset):
    epoch = None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        for index in range(first, 10, step):
            yield sample(index)


class Saving(Stream):
    """Begins again by itself at its end."""

    def __init__(self):
        self.index = 0

    def __iter__(self):
        while self.index < 10:
            self.index += 1
            yield sample(self.index)
        self.index = 0

    def state_dict(self):
        return {"index": [self.index]}

    def load_state_dict(self, state):
        (self.index,) = state["index"]


def loader(dataset, **options):
    return DataLoader(dataset, batch_size=4, **options)


def batches(stream):
    return [batch.tolist() for batch in stream]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_is_a_function_of_seed_and_pass(workers):
    def run(seed, data_pass):
        stream = OpenedStream(loader(Stream(), num_workers=workers), seed, data_pass, {}, 0)
        return batches(stream)

    manual_seed(1)
    expected = run(1, 2)
    manual_seed(2)
    assert expected == run(1, 2)
    assert len({str(run(seed, data_pass)) for seed in (1, 2) for data_pass in (1, 2)}) == 4


def test_the_generators_of_the_process_are_left_alone():
    manual_seed(1)
    expected = random.random(), torch.rand(1)
    manual_seed(1)
    batches(OpenedStream(loader(Stream()), 1, 0, {}, 0))
    assert expected == (random.random(), torch.rand(1))


def test_a_data_set_is_told_its_pass():
    dataset = Stream()
    OpenedStream(loader(dataset), 1, 3, {}, 0)
    assert dataset.epoch == 3


@pytest.mark.parametrize("taken", range(4))
def test_a_data_set_that_saves_goes_on_where_it_stood(taken):
    whole = batches(OpenedStream(loader(Saving()), 1, 0, {}, 0))
    stream = OpenedStream(loader(Saving()), 1, 0, {}, 0)
    for _ in range(taken):
        next(stream)
    state = stream.state_dict(holds_batch=False)
    opened = OpenedStream(loader(Saving()), 1, 0, state, taken)
    assert opened.number == taken
    assert whole[taken:] == batches(opened)
    assert opened.state_dict(holds_batch=False)["start"] == {"index": [0]}


def test_with_a_batch_in_hand_the_pass_is_drawn_again_from_its_start():
    dataset = Saving()
    dataset.index = 1
    whole = OpenedStream(loader(dataset), 1, 0, {}, 0)
    next(whole)
    state = whole.state_dict(holds_batch=True)
    assert state == {"start": {"index": [1]}}
    rest = batches(whole)
    again = OpenedStream(loader(Saving()), 1, 0, state, 1)
    assert again.number == 0
    assert rest == batches(again)[1:]


@pytest.mark.parametrize("make", [Stream, Saving])
def test_nothing_is_saved_where_nothing_can_be(make):
    stream = OpenedStream(loader(make(), num_workers=1), 1, 0, {}, 0)
    assert (stream.number, stream.state_dict(holds_batch=False)) == (0, None)
    end_workers(stream.iterator)


def test_workers_do_not_bring_their_past_along():
    persistent = loader(Stream(), num_workers=2, persistent_workers=True)
    first = batches(OpenedStream(persistent, 1, 0, {}, 0))
    batches(OpenedStream(persistent, 1, 1, {}, 0))
    assert first == batches(OpenedStream(persistent, 1, 0, {}, 0))


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.parametrize("make", [Stream, Saving])
def test_a_loader_whose_workers_save_goes_on_with_the_same_noise(make):
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def stream(state):
        return SavingStream(stateful.StatefulDataLoader(make(), batch_size=4, num_workers=2), 1, 0, state)

    whole = batches(stream(None))
    for taken in range(1, len(whole)):
        opened = stream(None)
        for _ in range(taken):
            next(opened)
        state = opened.state_dict()
        end_workers(opened.iterator)
        assert whole[taken:] == batches(stream(state))
