"""A loader that resumes exactly in any loop."""

from __future__ import annotations

import copy
import itertools
import pickle
import random
import threading

import numpy as np
import pytest
import torch
from every_kind import (
    DATA,
    ENDLESS,
    SIZE,
    Mixing,
    Noisy,
    loader,
    shuffling_nodes,
)
from looping import disturb, drawn, on_its_way, resumable, resume_everywhere, seeding_steps, texts
from torch.utils.data import DataLoader, DistributedSampler

from camshaft.deterministic import KeyedSampler, ResumableLoader
from camshaft.deterministic.testing import check_data
from camshaft.engine import ArgumentError, ArgumentTypeError


@pytest.mark.parametrize("name", DATA)
def test_every_kind_of_data_resumes_from_everywhere(name):
    assert resume_everywhere(seeding_steps(DATA[name])) > 6


@pytest.mark.parametrize("name", DATA)
def test_every_kind_of_data_resumes_in_loops_that_break(name):
    assert resume_everywhere(seeding_steps(DATA[name]), 3, most=2) > 6


@pytest.mark.parametrize("name", ENDLESS)
def test_data_without_an_end_resumes_in_loops_that_break(name):
    assert resume_everywhere(seeding_steps(ENDLESS[name]), 3, most=4) > 6


def test_a_pipeline_of_torchdata_resumes_from_everywhere():
    assert resume_everywhere(seeding_steps(shuffling_nodes)) > 6
    assert resume_everywhere(seeding_steps(shuffling_nodes), 3, most=2) > 6


def test_the_number_of_workers_may_change():
    alone = seeding_steps(lambda: loader(shuffle=True, collate_fn=Mixing()))
    helped = seeding_steps(
        lambda: loader(shuffle=True, collate_fn=Mixing(), num_workers=2, persistent_workers=True, prefetch_factor=3)
    )
    assert resume_everywhere(alone, resume_with=helped, every=5) > 1
    assert resume_everywhere(helped, resume_with=alone, every=3) > 1


def test_workers_that_persist_change_nothing_in_loops_that_break():
    def make():
        return loader(shuffle=True, num_workers=1, persistent_workers=True)

    assert resume_everywhere(seeding_steps(make), 3, most=2, every=3) > 1


def test_batches_do_not_depend_on_where_the_generators_stand():
    first = texts(resumable())
    disturb()
    assert first == texts(resumable())


def test_the_generators_of_the_process_are_left_alone():
    for make in DATA.values():
        made = resumable(make)
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        expected = drawn()
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        for _ in made:
            made.state_dict()
        made.load_state_dict(made.state_dict())
        assert drawn() == expected


def test_steps_have_numbers_of_their_own_when_they_are_seeded():
    made = resumable(seed_steps=True)
    numbers = [drawn() for _ in range(2) for _ in made]
    assert len(set(numbers)) == 2 * len(made)


def test_what_follows_an_epoch_has_the_same_numbers_when_the_last_batch_was_the_last_thing_saved():
    made = resumable(seed_steps=True)
    for _ in made:
        state = made.state_dict()
    expected = drawn()
    again = resumable(seed_steps=True)
    again.load_state_dict(state)
    disturb()
    assert list(again) == []
    assert drawn() == expected


@pytest.mark.parametrize("name", ["shuffled", "stream"])
def test_the_same_seed_gives_each_epoch_batches_of_its_own(name):
    made = resumable(DATA[name])
    assert len({repr(texts(made)) for _ in range(3)}) == 3


def test_another_seed_gives_other_batches():
    assert texts(resumable(seed=1)) != texts(resumable(seed=2))


def test_copies_stand_where_the_loader_stands():
    made, iterator = on_its_way(2)
    copies = [copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))]
    rest = texts(iterator)
    for each in copies:
        assert (each.epoch, each.index, each.seed) == (0, 2, 7)
        assert texts(each) == rest


def test_attributes_are_those_of_the_loader_inside():
    made = resumable()
    assert (made.batch_size, made.num_workers) == (3, 0)
    assert made.dataset is made.loader.dataset
    with pytest.raises(AttributeError, match="unknown"):
        _ = made.unknown


@pytest.mark.parametrize(
    ("name", "part"), [("shuffled", "batch_sampler"), ("stream", "batch_sampler"), ("stream", "dataset")]
)
def test_parts_of_which_another_library_would_make_a_loader_are_not_given_away(name, part):
    made = resumable(DATA[name])
    with pytest.raises(AttributeError, match=f"does not give away its {part}.*ignore_data_skip"):
        getattr(made, part)
    assert getattr(made.loader, part, None) is not None or part == "batch_sampler"


def test_a_seed_that_was_not_given_is_drawn_and_saved():
    torch.manual_seed(3)
    made = ResumableLoader(loader(shuffle=True))
    torch.manual_seed(3)
    assert made.seed == ResumableLoader(loader(shuffle=True)).seed
    again = ResumableLoader(loader(shuffle=True))
    assert again.seed != made.seed
    again.load_state_dict(made.state_dict())
    assert texts(again) == texts(made)


def test_an_engine_resumes_over_it():
    assert check_data(resumable, max_epochs=2, every=4) > 4
    assert check_data(resumable, max_epochs=3, epoch_length=3, ends_early=[2, 5], every=4) > 4


class Twelve(Noisy):
    size = 12


def ranked(kind, world_size, batch_size, rank, **options):
    sampler = kind(Twelve(), num_replicas=world_size, rank=rank)
    return ResumableLoader(DataLoader(Twelve(), batch_size, sampler=sampler), 7, **options)


def steps(loaders):
    """Return the samples of each step of all ranks together."""
    return [sorted(map(repr, itertools.chain(*batches))) for batches in zip(*loaders, strict=True)]


@pytest.mark.parametrize("kind", [DistributedSampler, KeyedSampler])
def test_the_number_of_ranks_may_change_with_the_same_global_batch(kind):
    whole = steps([ranked(kind, 1, 4, 0)])
    two = [ranked(kind, 2, 2, rank) for rank in range(2)]
    assert steps(two) == whole
    half = ranked(kind, 1, 4, 0)
    next(iter(half))
    state = half.state_dict()
    two = [ranked(kind, 2, 2, rank) for rank in range(2)]
    for each in two:
        each.load_state_dict(state)
    assert steps(two) == whole[1:]


def test_ranks_have_steps_of_their_own():
    numbers = []
    for rank in range(2):
        next(iter(ranked(KeyedSampler, 2, 2, rank, seed_steps=True)))
        numbers.append(drawn())
    assert numbers[0] != numbers[1]


def test_ranks_need_a_seed_that_they_share():
    sampler = KeyedSampler(SIZE, num_replicas=2, rank=0)
    with pytest.raises(ArgumentError, match="`seed` must be given where several ranks share the work"):
        next(iter(ResumableLoader(DataLoader(Noisy(), sampler=sampler))))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"seed": 1.5}, "`seed` must be an integer"),
        ({"seed": 2**64}, "`seed` must be in the range"),
        ({"on_mismatch": "shout"}, "`on_mismatch` must be one of"),
        ({"seeding": "worker"}, "`seeding` must be None or one of"),
        ({"skip": [3]}, "`skip` must hold pairs"),
        ({"skip": [(0, 1.5)]}, "`skip` must hold pairs"),
    ],
)
def test_options_are_refused_by_name(options, text):
    with pytest.raises(ArgumentError, match=text):
        ResumableLoader(loader(), **options)


@pytest.mark.parametrize("data", [None, 3, ResumableLoader([1], 0)])
def test_what_is_no_data_is_refused(data):
    with pytest.raises(ArgumentTypeError, match="`loader` must"):
        ResumableLoader(data)


def around(inner):
    """Return data of different kinds that has something inside."""

    class Wrapper:
        def __init__(self):
            self.inner = inner

        def __iter__(self):
            return iter(self.inner)

    return {
        "wrapper": Wrapper(),
        "generator": (batch for batch in inner),
        "zip": zip(inner, inner, strict=False),
        "iterator": iter(inner),
    }


@pytest.mark.parametrize("name", around([]))
def test_data_around_a_resumable_loader_is_refused(name):
    with pytest.raises(ArgumentError, match="must not have a ResumableLoader inside"):
        ResumableLoader(around(resumable())[name], 7)
    ResumableLoader(around(loader())[name], 7)


def test_attributes_of_the_loader_inside_are_not_set_beside_it():
    made = resumable()
    with pytest.raises(AttributeError, match="`batch_size` must be set on the loader inside"):
        made.batch_size = 7
    made.note = "my own"
    assert made.note == "my own"


def test_a_generator_that_makes_its_loader_when_it_begins_resumes():
    def twice():
        inside = loader(shuffle=True)
        for _ in range(2):
            yield from inside

    assert resume_everywhere(seeding_steps(twice), 1) > 6


@pytest.mark.parametrize("name", ["shuffled", "stream", "sampler with helpers"])
def test_threads_with_a_loader_each_do_not_disturb_each_other(name):
    expected = texts(resumable(DATA[name]))
    seen = []

    def iterate():
        seen.extend(texts(resumable(DATA[name])) for _ in range(10))

    threads = [threading.Thread(target=iterate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [expected] * 30


def test_an_iteration_that_ends_in_a_thread_for_which_the_data_waits_stops_nothing():
    other = ResumableLoader(loader(Noisy()), seed=3)
    held = [iter(other)]
    next(held[0])
    place = other.state_dict()

    asked, done = threading.Event(), threading.Event()

    def let_go():
        asked.wait()
        held.clear()
        done.set()

    class Waits(Noisy):
        def __getitem__(self, index):
            asked.set()
            return done.wait(timeout=60)

    threading.Thread(target=let_go, daemon=True).start()
    assert torch.cat(list(ResumableLoader(loader(Waits(), collate_fn=torch.tensor), seed=3))).all()
    assert texts([other.state_dict()]) == texts([place])
