"""The saved form of a loader."""

from __future__ import annotations

import pytest
import torch
import torch.distributed.checkpoint as distributed
from every_kind import (
    DATA,
    SecretSampler,
    loader,
)
from looping import dumped, on_its_way, resumable, texts

from camshaft.deterministic import ResumeMismatch
from camshaft.engine import ArgumentTypeError, EngineWarning, StateDictError


def test_a_state_does_not_change_when_the_loop_goes_on():
    for name in ("keeping data", "sampler that saves", "keeping stream", "iterable that counts epochs"):
        made = resumable(DATA[name])
        iterator = iter(made)
        next(iterator)
        state = made.state_dict()
        before = dumped(state)
        next(iterator)
        assert dumped(state) == before
        made.load_state_dict(state)
        list(made)
        assert dumped(state) == before


def test_another_seed_than_the_one_saved_is_refused():
    state = resumable().state_dict()
    made = resumable(seed=8)
    with pytest.raises(ResumeMismatch, match="seed was 7 and is 8"):
        made.load_state_dict(state)
    assert (made.seed, made.epoch, made.index) == (8, 0, 0)


def test_other_data_than_that_of_the_state_is_refused():
    made, _ = on_its_way(2)
    other = resumable(lambda: loader(batch_size=4))
    with pytest.raises(ResumeMismatch, match="batch_size was 3 and is 4; sampler was"):
        other.load_state_dict(made.state_dict())
    assert other.index == 0


def test_steps_seeded_in_one_run_and_not_in_the_other_are_refused():
    with pytest.raises(ResumeMismatch, match="seed_steps was True and is False"):
        resumable().load_state_dict(resumable(seed_steps=True).state_dict())


def test_a_difference_may_be_allowed():
    state = on_its_way(1)[0].state_dict()
    made = resumable(lambda: loader(batch_size=4), on_mismatch="warn")
    with pytest.warns(EngineWarning, match="batch_size was 3 and is 4"):
        made.load_state_dict(state)
    with pytest.warns(EngineWarning, match="batch 0, fetched again"):
        assert len(list(made)) == 2


def test_a_sampler_that_draws_otherwise_is_told_by_the_first_batch():
    made, _ = on_its_way(2, make=lambda: loader(sampler=SecretSampler(), batch_size=1))
    again = resumable(lambda: loader(sampler=SecretSampler(), batch_size=1))
    again.load_state_dict(made.state_dict())
    with pytest.raises(ResumeMismatch, match="order of the sampler"):
        next(iter(again))
    assert (again.epoch, again.index) == (0, 2)


def test_epoch_and_index_alone_are_a_state():
    made = resumable()
    made.load_state_dict({"epoch": 0, "index": 3})
    assert texts(made) == texts(resumable())[3:]


MALFORMED = {
    "epoch": [-1, 1.5, None, True, "1"],
    "index": [-1, 1.5, None, True],
    "is_open": [1, None, False],
    "seed": [1.5, 2**64, "7"],
    "skip": [3, [1], [(1, -1)], [(1, 2, 3)]],
    "deterministic": [3, "x"],
    "data": [3, None, (1, 2)],
    "unknown": [0],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in MALFORMED.items() for value in values])
def test_a_malformed_state_is_refused_by_the_name_of_its_entry(key, value):
    state = on_its_way(2)[0].state_dict()
    made, iterator = on_its_way(1)
    with pytest.raises(StateDictError, match=key):
        made.load_state_dict({**state, key: value})
    assert (made.epoch, made.index) == (0, 1)
    assert len(list(iterator)) == 3


def test_a_state_that_is_no_mapping_is_refused():
    with pytest.raises(ArgumentTypeError, match="`state_dict` must be a mapping"):
        resumable().load_state_dict([1])


def test_a_state_of_something_else_is_refused():
    with pytest.raises(StateDictError, match="got 'weight'"):
        resumable().load_state_dict(torch.nn.Linear(1, 1).state_dict())


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
@pytest.mark.parametrize("name", ["shuffled", "sampler that saves", "keeping data", "iterable that counts epochs"])
def test_it_may_be_among_the_objects_of_a_distributed_checkpoint(name, tmp_path):
    made, iterator = on_its_way(1, make=DATA[name], skip=[(0, 2)])
    distributed.save({"loader": made}, checkpoint_id=tmp_path)
    again = resumable(DATA[name])
    distributed.load({"loader": again}, checkpoint_id=tmp_path)
    assert (again.epoch, again.index, again.skip) == (0, 1, {(0, 2)})
    assert texts(again) == texts(iterator)


@pytest.mark.parametrize("name", ["shuffled", "list"])
def test_a_place_behind_the_end_of_an_epoch_is_a_mismatch(name):
    made = resumable(DATA[name])
    made.load_state_dict({"epoch": 0, "index": 99})
    with pytest.raises(ResumeMismatch, match="batches was 'at least 99'"):
        next(iter(made))
