"""The sampler of a loader, as training libraries see it."""

from __future__ import annotations

from every_kind import (
    Noisy,
    loader,
)
from looping import resumable
from torch.utils.data import DistributedSampler


def test_set_epoch_of_the_sampler_is_that_of_the_loader():
    made = resumable(lambda: loader(sampler=DistributedSampler(Noisy(), 2, 0)))
    made.sampler.set_epoch(4)
    assert made.epoch == 4
    assert len(made.sampler) == 6
    assert made.sampler.num_replicas == 2
