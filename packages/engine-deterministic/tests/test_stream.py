from __future__ import annotations

import multiprocessing
import random

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from camshaft.deterministic import manual_seed
from camshaft.deterministic._loader import end_workers
from camshaft.deterministic._stream import OpenedStream, SavingStream
from camshaft.engine import Position


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


def opened(loader, seed=1, data_pass=0, *, kind=OpenedStream, batch=0, state=None):
    position = Position(data_pass=data_pass, batch=batch, pass_open=state is not None or batch > 0, data_state=state)
    return kind(loader, seed, position)


def batches(stream):
    return [batch.tolist() for batch in stream]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_is_a_function_of_seed_and_pass(workers):
    def run(seed, data_pass):
        stream = opened(loader(Stream(), num_workers=workers), seed, data_pass)
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
    batches(opened(loader(Stream())))
    assert expected == (random.random(), torch.rand(1))


def test_a_data_set_is_told_its_pass():
    dataset = Stream()
    opened(loader(dataset), data_pass=3)
    assert dataset.epoch == 3


@pytest.mark.parametrize("taken", range(4))
def test_a_data_set_that_saves_goes_on_where_it_stood(taken):
    whole = batches(opened(loader(Saving())))
    stream = opened(loader(Saving()))
    for _ in range(taken):
        next(stream)
    state = stream.state_dict(holds_batch=False)
    again = opened(loader(Saving()), state=state, batch=taken)
    assert again.number == taken
    assert whole[taken:] == batches(again)
    assert again.state_dict(holds_batch=False)["start"] == {"index": [0]}


def test_with_a_batch_in_hand_the_pass_is_drawn_again_from_its_start():
    dataset = Saving()
    dataset.index = 1
    whole = opened(loader(dataset))
    next(whole)
    state = whole.state_dict(holds_batch=True)
    assert state == {"start": {"index": [1]}}
    rest = batches(whole)
    again = opened(loader(Saving()), state=state, batch=1)
    assert again.number == 0
    assert rest == batches(again)[1:]


@pytest.mark.parametrize("make", [Stream, Saving])
def test_nothing_is_saved_where_nothing_can_be(make):
    stream = opened(loader(make(), num_workers=1))
    assert (stream.number, stream.state_dict(holds_batch=False)) == (0, None)
    end_workers(stream.iterator)


def test_workers_do_not_bring_their_past_along():
    persistent = loader(Stream(), num_workers=2, persistent_workers=True)
    passes = [opened(persistent), opened(persistent, data_pass=1), opened(persistent)]
    first, _, again = map(batches, passes)
    assert first == again
    assert multiprocessing.active_children() == []


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.parametrize("make", [Stream, Saving])
def test_a_loader_whose_workers_save_goes_on_with_the_same_noise(make):
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def stream(**where):
        saving = stateful.StatefulDataLoader(make(), batch_size=4, num_workers=2)
        return opened(saving, kind=SavingStream, **where)

    whole = batches(stream())
    for taken in range(1, len(whole)):
        first = stream()
        for _ in range(taken):
            next(first)
        state = first.state_dict(holds_batch=False)
        end_workers(first.iterator)
        assert whole[taken:] == batches(stream(batch=taken, state=state))
