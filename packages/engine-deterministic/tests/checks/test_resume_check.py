from __future__ import annotations

import random
import re
import threading
from functools import lru_cache

import numpy as np
import pytest
import torch
from every_kind import DATA, loader
from torch.utils.data import DataLoader, Dataset, Sampler

from camshaft.deterministic import check_purity
from camshaft.deterministic.testing import check_resume


class Counting(Dataset):
    """Gives fields, one of which counts the samples."""

    def __init__(self):
        self.count = 0

    def __len__(self):
        return 8

    def __getitem__(self, index):
        self.count += 1
        return {"index": torch.tensor([index]), "count": self.count}


class Made(Dataset):
    """Makes each sample from its index.

    Args:
        make: makes it.
    """

    def __init__(self, make):
        self.make = make

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.make(index)


class Forgetful:
    """Saves its place, and not the buffer that it shuffles in."""

    keeps_place = True

    def __init__(self):
        self.place = 0
        self.buffer = []

    def __iter__(self):
        while self.place < 9:
            self.buffer.append(self.place)
            self.place += 1
            if len(self.buffer) > 3:
                yield self.buffer.pop(random.randrange(4))
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


class Behind:
    """Saves the place before the one where it is.

    Args:
        name: what it is called in the state.
    """

    def __init__(self, name):
        self.name, self.place = name, 0

    def __iter__(self):
        while self.place < 8:
            self.place += 1
            yield self.place
        self.place = 0

    def state_dict(self):
        return {self.name: max(0, self.place - 1)}

    def load_state_dict(self, state):
        self.place = state[self.name]


class OwnGenerator:
    """Draws from a generator of its own."""

    def __init__(self):
        self.rng = np.random.default_rng()

    def __iter__(self):
        return (float(self.rng.random()) for _ in range(5))


@pytest.mark.parametrize("name", ["shuffled", "regrouping loader", "keeping data", "iterable"])
def test_data_that_resumes_is_exact(name):
    report = check_resume(DATA[name], epoch_length=4, stops=4)
    assert report.is_exact, str(report)
    assert report.checked == 4


def test_each_number_of_workers_is_resumed_with_each():
    report = check_resume(lambda workers: loader(shuffle=True, num_workers=workers), workers=(0, 1), stops=2)
    assert report.is_exact, str(report)
    assert report.checked == 4
    refused = check_resume(
        lambda workers: loader(DATA["stream"]().dataset, num_workers=workers), workers=(0, 1), stops=2
    )
    assert not refused.is_exact
    assert not refused.is_silent
    assert "num_workers was" in str(refused)


def test_the_first_batch_field_and_sample_that_differ_are_named_with_the_reason():
    report = check_resume(lambda: DataLoader(Counting(), 2), stops=3)
    assert not report.is_silent
    assert all("fetched again" in each.refused for each in report.differences)
    assert report.differences[-1].where == "batch 1 of pass 2 at ['count'][0]"
    assert any("memory: Counting.count changes" in line for line in report.reasons)
    assert "set_sample_seed" in str(report)


class Cached(Dataset):
    """Keeps its samples, which are drawn at random.

    Args:
        length: how many there are.
    """

    def __init__(self, length):
        self.length, self.kept = length, {}

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index not in self.kept:
            self.kept[index] = torch.rand(1)
        return self.kept[index]


@pytest.mark.parametrize("length", [8, 40])
def test_a_cache_is_named_however_small_the_dataset_is(length):
    report = check_resume(lambda: DataLoader(Cached(length), 4), max_epochs=2, stops=1)
    assert "memory: Cached.kept changes while the data is drawn from" in report.reasons


class Curriculum(Sampler):
    """Gives its indices in another order from some pass on.

    What it remembers is in a module, which nobody saves as it may be trained; or in a cache, where nobody looks.
    """

    def __init__(self, easy, is_hidden):
        self.easy, self.is_hidden = easy, is_hidden
        self.module = torch.nn.Module()
        self.module.register_buffer("passes", torch.tensor(0))
        self.cached = lru_cache(lambda number: number)

    def __len__(self):
        return 6

    def __iter__(self):
        done = self.cached.cache_info().currsize if self.is_hidden else self.module.passes.item()
        self.cached(done)
        self.module.passes += not self.is_hidden
        return iter(range(6) if done < self.easy else range(5, -1, -1))


def test_three_passes_are_looked_at_and_the_report_says_so():
    def make(easy):
        return DataLoader(range(6), 3, sampler=Curriculum(easy, is_hidden=True))

    assert not check_resume(lambda: make(2)).is_exact
    report = check_resume(lambda: make(3))
    assert report.passes == 3
    assert str(report) == "exact: resumed 6 times in 3 passes over the data, it went on bit for bit each time"
    assert not check_resume(lambda: make(3), max_epochs=4).is_exact
    assert check_resume(lambda: [1, 2, 3], epoch_length=2).passes == 2
    assert "in 1 pass over the data" in str(check_resume(lambda: [1, 2, 3], max_epochs=1))


def test_what_is_remembered_otherwise_is_named_before_it_makes_a_difference():
    report = check_resume(lambda: DataLoader(range(6), 3, sampler=Curriculum(9, is_hidden=False)))
    assert report.is_exact
    assert report.not_restored == ("Curriculum.module['passes']",)
    assert str(report).endswith("made no difference there: Curriculum.module['passes']")


def test_what_a_state_lacks_is_named():
    report = check_resume(Forgetful, epoch_length=5, stops=3)
    assert not report.is_exact
    assert any(
        "buffer" in line and "the state_dict() of Forgetful has no entry of that name" in line
        for line in report.reasons
    )


@pytest.mark.parametrize(
    ("name", "told"), [("place", ""), ("offset", "; the state_dict() of Behind has no entry of that name")]
)
def test_what_a_state_names_is_not_said_to_be_lacking(name, told):
    report = check_resume(lambda: Behind(name), epoch_length=8, stops=3)
    memory = [line for line in report.reasons if line.startswith("memory")]
    assert memory == [f"memory: Behind.place changes while the data is drawn from{told}"]


def test_a_generator_of_its_own_is_named():
    report = check_resume(OwnGenerator, epoch_length=5, stops=3)
    assert not report.is_exact
    assert "a random generator of its own: OwnGenerator.rng" in report.reasons


@pytest.mark.parametrize(
    "make",
    [
        lambda index: torch.eye(3).to_sparse() * (index + 1.0),
        lambda index: torch.complex(torch.tensor(1.0), torch.tensor(float(index))).conj(),
        lambda index: np.array([{"index": index}], dtype=object),
        lambda index: torch.nested.nested_tensor([torch.ones(2) * index, torch.ones(3)], layout=torch.jagged),
    ],
    ids=["sparse", "conjugate", "objects in an array", "nested"],
)
def test_samples_of_any_kind_are_compared_by_their_numbers(make):
    report = check_resume(lambda: DataLoader(Made(make), batch_size=None), max_epochs=1, stops=2)
    assert report.is_exact, str(report)


def test_a_single_stop_comes_before_the_last_batch():
    report = check_resume(lambda: DataLoader(Counting(), batch_size=2), stops=1)
    assert report.checked == 1
    assert not report.is_exact
    assert str(check_resume(lambda: [1, 2, 3], stops=1)).startswith("exact: resumed once in ")


@pytest.mark.parametrize(
    ("make_data", "workers", "way"),
    [
        (DataLoader(range(4)), (), "lambda: DataLoader(dataset)"),
        (lambda workers: DataLoader(range(4)), (), "lambda: DataLoader(dataset)"),
        (lambda: DataLoader(range(4)), (0,), "lambda workers: DataLoader(dataset, num_workers=workers)"),
    ],
    ids=["data", "function of the workers", "function of nothing"],
)
def test_what_does_not_make_data_is_refused_with_how_to_write_it(make_data, workers, way):
    with pytest.raises(TypeError, match=re.escape(f"write `{way}`")):
        check_resume(make_data, workers=workers)


class Slotted:
    __slots__ = ("lock", "x")

    def __init__(self, x):
        self.x, self.lock = x, threading.Lock()


UNUSUAL = {
    "csr": lambda samples: torch.stack(samples).to_sparse_csr(),
    "slots": lambda samples: Slotted(torch.stack(samples)),
    "function": lambda samples: {"x": torch.stack(samples), "f": lambda: 1},
}


@pytest.mark.filterwarnings("ignore:Sparse CS:UserWarning")
@pytest.mark.parametrize("name", UNUSUAL)
def test_batches_that_cannot_be_pickled_or_copied_are_compared_by_their_tensors(name):
    class Worse(Made):
        count = 0

        def __getitem__(self, index):
            self.count += 1
            return super().__getitem__(index) + self.count / 1000

    def make(kind):
        return DataLoader(kind(lambda index: torch.rand(3) + index), 2, collate_fn=UNUSUAL[name])

    assert check_resume(lambda: make(Made), max_epochs=1, stops=3).is_exact
    assert check_purity(make(Made)).is_pure
    assert not check_resume(lambda: make(Worse), max_epochs=1, stops=3).is_exact
    assert not check_purity(make(Worse)).is_pure
