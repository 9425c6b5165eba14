"""Runs that can be repeated and resumed exactly; see :mod:`camshaft.deterministic`."""

from camshaft.deterministic import (
    DeterministicEngine,
    ReproducibleBatchSampler,
    keep_random_state,
    update_dataloader,
)
from ignite.utils import manual_seed

__all__ = ["DeterministicEngine", "ReproducibleBatchSampler", "keep_random_state", "manual_seed", "update_dataloader"]
