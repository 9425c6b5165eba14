"""Every kind of data, resumed from everywhere: one contract for all of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from every_kind import (
    DATA,
    ENDLESS,
    SIZE,
    Mixing,
    Noisy,
    Regrouping,
    Restarting,
    SecretSampler,
    Standing,
    Told,
    loader,
    shuffling_nodes,
    unseen_number,
)
from torch.utils.data import (
    DataLoader,
    IterableDataset,
)

from camshaft.deterministic import DeterministicEngine, ResumeMismatch, manual_seed
from camshaft.deterministic._checks._difference import find_difference
from camshaft.deterministic._inside import find_loaders
from camshaft.deterministic._loading._workers import end_workers
from camshaft.deterministic.testing import check_data
from camshaft.engine import EngineWarning, Events


@pytest.mark.parametrize("name", DATA)
def test_every_kind_of_data_resumes_from_everywhere(name):
    assert check_data(DATA[name], max_epochs=2, epoch_length=4, every=2) > 10


@pytest.mark.parametrize("name", [name for name in DATA if name != "list"])
def test_every_kind_of_data_resumes_after_epochs_that_were_ended_early(name):
    assert check_data(DATA[name], max_epochs=3, epoch_length=3, ends_early=[2, 5], every=3) > 5


@pytest.mark.parametrize(
    "name", ["stream", "keeping stream", "restarting data", "iterable", "regrouping loader of a stream"]
)
def test_data_without_a_length_resumes_where_it_was_found(name):
    assert check_data(DATA[name], max_epochs=2, every=3) > 5


@pytest.mark.parametrize("name", ENDLESS)
def test_iterators_resume_beyond_where_their_data_begins_again(name):
    assert check_data(ENDLESS[name], max_epochs=2, epoch_length=6, every=4) > 5


@pytest.mark.parametrize("name", ["told dataset", "regrouping loader", "collating with a generator"])
def test_workers_that_persist_change_nothing(name):
    def with_workers():
        kind, dataset = (Regrouping, Noisy()) if name == "regrouping loader" else (DataLoader, Noisy())
        dataset = Told() if name == "told dataset" else dataset
        collate = Mixing() if name == "collating with a generator" else None
        return loader(dataset, kind, shuffle=True, num_workers=2, persistent_workers=True, collate_fn=collate)

    assert check_data(DATA[name], max_epochs=2, every=9, resume_with=with_workers) > 2
    assert check_data(with_workers, max_epochs=2, every=9, resume_with=DATA[name]) > 2


@pytest.mark.parametrize("ends_early", [(), (2, 5)])
def test_a_pipeline_of_torchdata_resumes_from_everywhere(ends_early):
    assert check_data(shuffling_nodes, max_epochs=2, epoch_length=4, ends_early=ends_early, every=2) > 5


# ---------------------------------------------------------------------- what cannot be exact says so


def test_data_that_does_not_say_what_iterating_it_again_does_is_warned_of():
    class Silent(Restarting):
        keeps_place = None

    with pytest.warns(EngineWarning, match="keeps_place"):
        check_data(Silent, max_epochs=2, epoch_length=3, ends_early=[2])


def test_a_wrapper_around_a_loader_with_another_number_of_workers_is_refused():
    def make(workers):
        return Standing(loader(num_workers=workers))

    with pytest.raises(ResumeMismatch, match="num_workers"):
        check_data(lambda: make(0), max_epochs=1, resume_with=lambda: make(1))


@pytest.fixture
def cycled():
    """Make cycles over loaders; end their workers, for which the garbage collector would wait."""
    made = []

    def make(seed=3, workers=1):
        manual_seed(seed)
        data = itertools.cycle(loader(shuffle=True, num_workers=workers))
        made.extend(find_loaders(data))
        return data

    yield make
    for each in made:
        end_workers(each)


def test_workers_that_were_started_before_the_run_resume_if_they_were_seeded_alike(cycled):
    assert check_data(cycled, max_epochs=2, epoch_length=6, every=9) > 1


@pytest.mark.parametrize(("changes", "name"), [({"seed": 4}, "worker_seeds"), ({"workers": 2}, "num_workers")])
def test_workers_that_were_started_otherwise_before_the_run_are_refused_before_anything_is_drawn(changes, name, cycled):
    first, second = (DeterministicEngine(lambda engine, batch: None) for _ in range(2))
    first.add_event_handler(Events.STARTED, first.terminate)
    first.run(cycled(), epoch_length=6)
    second.load_state_dict(first.state_dict())
    with pytest.raises(ResumeMismatch, match=f"{name} was") as refusal:
        second.run(cycled(**changes), epoch_length=6)
    assert ("before the run" in str(refusal.value)) == (name == "worker_seeds")


def test_a_generator_over_a_loader_resumes_at_its_end():
    def once(data):
        yield from data

    assert check_data(lambda: once(loader(shuffle=True)), max_epochs=1) > 5


def resume_behind(make, iterations, limits):
    """Stop a run and go on with new data in a new engine."""
    first, second = (DeterministicEngine(lambda engine, batch: torch.rand(1)) for _ in range(2))
    first.add_event_handler(Events.ITERATION_COMPLETED(once=iterations), first.terminate)
    first.run(make(), **limits)
    second.load_state_dict(first.state_dict())
    second.run(make())


def test_workers_that_persist_inside_a_wrapper_remember_the_pass_before_so_a_later_pass_is_refused():
    def make():
        return Standing(loader(num_workers=1, persistent_workers=True))

    with pytest.raises(ResumeMismatch, match="drawn again"):
        resume_behind(make, len(make()) + 2, {"max_epochs": 2})


class Secret(Noisy):
    def __getitem__(self, index):
        return torch.tensor(unseen_number())


class SecretStream(IterableDataset):
    def __iter__(self):
        return (torch.tensor(unseen_number()) for _ in range(SIZE))


def secret_arrays():
    return (np.array([unseen_number()]) for _ in range(5))


def rounds():
    while True:
        yield from torch.rand(40)


@pytest.mark.parametrize("iterations", [41, 42, 81])
def test_a_generator_that_draws_an_order_in_its_middle_is_never_continued_with_another_one(iterations):
    whole = []
    DeterministicEngine(lambda engine, batch: whole.append((batch, torch.rand(1)))).run(
        rounds(), epoch_length=90, seed=3
    )
    rest = []
    first = DeterministicEngine(lambda engine, batch: torch.rand(1))
    second = DeterministicEngine(lambda engine, batch: rest.append((batch, torch.rand(1))))
    first.add_event_handler(Events.ITERATION_COMPLETED(once=iterations), first.terminate)
    first.run(rounds(), epoch_length=90, seed=3)
    second.load_state_dict(first.state_dict())
    if iterations % 40 != 1:
        with pytest.raises(ResumeMismatch, match="drawn again"):
            second.run(rounds())
        return
    second.run(rounds())  # right behind the batch with which the order was drawn
    assert find_difference(whole[iterations:], rest, "") is None


DIFFERENT = {
    "sampler": (lambda: loader(sampler=SecretSampler()), "order of the sampler"),
    "loader subclass": (lambda: loader(Secret(), Regrouping), "drawn again"),
    "stream": (lambda: loader(SecretStream()), "drawn again"),
    "wrapper": (lambda: Standing(loader(Secret())), "drawn again"),
    "generator of arrays": (secret_arrays, "drawn again"),
    "generator that draws an order in its middle": (rounds, "drawn again"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_data_that_comes_out_differently_when_drawn_again_is_refused(name):
    make, text = DIFFERENT[name]
    iterations = 50 if make is rounds else 2
    with pytest.raises(ResumeMismatch, match=text):
        resume_behind(make, iterations, {"epoch_length": 60 if make is rounds else 3})


def test_a_batch_that_the_step_has_changed_is_no_difference():
    def step(engine, batch):
        batch[1].zero_()

    first, second = DeterministicEngine(step), DeterministicEngine(step)
    first.add_event_handler(Events.ITERATION_COMPLETED(once=2), first.terminate)
    first.run(loader(kind=Regrouping), epoch_length=3)
    second.load_state_dict(first.state_dict())
    assert second.run(loader(kind=Regrouping)).iteration == 3
