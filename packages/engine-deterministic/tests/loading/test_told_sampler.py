"""The sampler of a loader, as training libraries see it."""

from __future__ import annotations

import itertools

import pytest
from every_kind import (
    Noisy,
    loader,
)
from looping import dumped, loaded, resumable
from torch.utils.data import DataLoader, DistributedSampler

from camshaft.deterministic import ResumableLoader, ResumeMismatch
from camshaft.engine import EngineWarning


def test_set_epoch_of_the_sampler_is_that_of_the_loader():
    made = resumable(lambda: loader(sampler=DistributedSampler(Noisy(), 2, 0)))
    made.sampler.set_epoch(4)
    assert made.epoch == 4
    assert len(made.sampler) == 6
    assert made.sampler.num_replicas == 2


def shuffled(size, **options):
    return ResumableLoader(DataLoader(range(size), 1, shuffle=True), seed=3, **options)


def epoch_of_two(long, short, epoch, *, cycles, saved):
    """Go through an epoch over two loaders, as a library does that tells them the epoch; save after each step."""
    for each in (long, short):
        each.sampler.set_epoch(epoch)
    seen, others = [], iter(short)
    for batch in long:
        other = next(others, None)
        if other is None and cycles:
            others = iter(short)
            other = next(others)
        seen.append((batch.item(), other if other is None else other.item()))
        saved.append((epoch, dumped(long.state_dict()), dumped(short.state_dict())))
    return seen


@pytest.mark.parametrize(("cycles", "size"), [*itertools.product([False, True], [2, 3, 4])])
def test_a_shorter_loader_of_two_goes_on_exactly_or_is_refused(cycles, size):
    long, short, saved = shuffled(4), shuffled(size), []
    whole = [epoch_of_two(long, short, epoch, cycles=cycles, saved=saved) for epoch in range(3)]
    refused = 0
    for count, (epoch, *states) in enumerate(saved[:8], 1):
        is_over = count % 4 == 0  # a library goes on with the next epoch then
        loaders = shuffled(4), shuffled(size)
        for each, state in zip(loaders, states, strict=True):
            each.load_state_dict(loaded(state))
        try:
            rest = epoch_of_two(*loaders, epoch + is_over, cycles=cycles, saved=[])
        except ResumeMismatch as mismatch:
            assert "epoch told" in mismatch.fields  # noqa: PT017  # refusing is as right as going on
            refused += 1
        else:
            assert rest == whole[epoch + is_over][count % 4 :]
    assert (refused > 0) == (size < 4 if cycles else size < 3)


def test_what_a_library_tells_before_a_state_is_loaded_and_later_is_no_alarm():
    stopped, resumed = shuffled(3), shuffled(3)
    stopped.sampler.set_epoch(2)
    next(iter(stopped))
    resumed.sampler.set_epoch(0)
    resumed.load_state_dict(stopped.state_dict())
    resumed.sampler.set_epoch(2)
    assert len(list(resumed)) == 2
    resumed.sampler.set_epoch(0)
    assert len(list(resumed)) == 3
    resumed.load_state_dict(stopped.state_dict())
    resumed.sampler.set_epoch(3)
    assert (resumed.epoch, resumed.index) == (3, 0)


def test_an_epoch_of_the_past_is_refused_right_after_loading_unless_it_is_allowed():
    stopped = shuffled(3)
    stopped.sampler.set_epoch(2)
    next(iter(stopped))
    resumed, allowing = shuffled(3), shuffled(3, on_mismatch="warn")
    for each in (resumed, allowing):
        each.load_state_dict(stopped.state_dict())
    with pytest.raises(ResumeMismatch, match="epoch told"):
        resumed.sampler.set_epoch(1)
    with pytest.warns(EngineWarning, match="epoch told"):
        allowing.sampler.set_epoch(1)
    assert (resumed.epoch, resumed.index, allowing.epoch, allowing.index) == (2, 1, 1, 0)
