"""Batches that are left out."""

from __future__ import annotations

import itertools
import re

import pytest
from every_kind import (
    DATA,
    Failing,
    loader,
)
from looping import dumped, epochs_of, loaded, resumable, resume_everywhere, seeding_steps, texts
from torch.utils.data import DataLoader

from camshaft.deterministic import DeterministicEngine, ResumableLoader
from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning

SKIP = {(0, 1), (0, 3), (1, 0)}


@pytest.mark.parametrize("name", DATA)
def test_batches_left_out_leave_all_others_as_they_are(name):
    whole = epochs_of(resumable(DATA[name]), 3)
    expected = [
        repr(batch) for epoch in range(3) for number, batch in enumerate(whole[epoch]) if (epoch, number) not in SKIP
    ]
    made = resumable(DATA[name], skip=SKIP)
    assert texts(itertools.chain(*epochs_of(made, 3))) == expected


@pytest.mark.parametrize("name", DATA)
def test_every_kind_of_data_resumes_with_batches_left_out(name):
    assert resume_everywhere(seeding_steps(DATA[name]), skip=SKIP) > 4


def test_a_batch_left_out_of_a_map_style_dataset_is_not_fetched():
    made = resumable(lambda: loader(Failing(4)), skip=[(0, 1)])
    assert len(list(made)) == 3


def test_places_left_out_are_kept_in_the_state_together_with_new_ones():
    made = resumable(skip=[(0, 1)])
    again = resumable(skip=[(0, 2)])
    again.load_state_dict(loaded(dumped(made.state_dict())))
    assert again.skip == {(0, 1), (0, 2)}
    assert len(list(again)) == 2
    third = resumable()
    third.load_state_dict(again.state_dict())
    assert third.skip == {(0, 1), (0, 2)}


def test_batches_left_out_can_be_looked_at():
    made = resumable(skip=[(0, 1)])
    assert repr(made.batch_at(0, 1)) == texts(resumable())[1]


def test_a_collection_that_is_none_is_refused_as_skip():
    with pytest.raises(ArgumentTypeError, match="`skip` must be a collection"):
        ResumableLoader(loader(), skip=3)


@pytest.mark.parametrize("pair", [(0, 3), [0, 3]])
def test_a_single_place_is_refused_with_how_to_write_it(pair):
    with pytest.raises(ArgumentError, match=re.escape(f"got {pair!r}; write [(0, 3)]")):
        ResumableLoader(loader(), skip=pair)


@pytest.mark.parametrize("kind", [Engine, DeterministicEngine])
@pytest.mark.parametrize("skip", [[(0, 1)], [(1, 3)], [(0, 0), (0, 9), (1, 2), (1, 3)]], ids=str)
def test_an_engine_does_not_warn_of_batches_left_out(kind, skip, recwarn):
    made = ResumableLoader(DataLoader(range(8), batch_size=2), seed=3, skip=skip)
    kind(lambda engine, batch: None).run(made, max_epochs=3)
    assert not recwarn.list


class Shorter(DataLoader):
    """Gives a batch less than it says."""

    def __iter__(self):
        return itertools.islice(super().__iter__(), len(self) - 1)


def test_an_engine_warns_of_batches_that_are_missing_beside_those_left_out():
    made = ResumableLoader(Shorter(range(8), batch_size=2), seed=3, skip=[(0, 1)])
    with pytest.warns(EngineWarning, match=r"gave 2 batches though its len\(\) is 4 and it leaves out 1"):
        DeterministicEngine(lambda engine, batch: None).run(made, max_epochs=2)
