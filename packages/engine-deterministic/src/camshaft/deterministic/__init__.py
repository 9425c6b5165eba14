"""Runs that continue bit for bit: the same data and the same random numbers wherever they were started."""

from camshaft.deterministic.__about__ import __version__
from camshaft.deterministic._checks._purity import Impurity, PurityReport, check_purity
from camshaft.deterministic._engine import DeterministicEngine
from camshaft.deterministic._loading._copy import ReproducibleBatchSampler, update_dataloader
from camshaft.deterministic._loading._keyed_sampler import KeyedSampler
from camshaft.deterministic._mismatch import ResumeMismatch
from camshaft.deterministic._random._kept_random_state import keep_random_state
from camshaft.deterministic._random._rng import manual_seed
from camshaft.deterministic._resumable_loader import ResumableLoader

__all__ = [
    "DeterministicEngine",
    "Impurity",
    "KeyedSampler",
    "PurityReport",
    "ReproducibleBatchSampler",
    "ResumableLoader",
    "ResumeMismatch",
    "__version__",
    "check_purity",
    "keep_random_state",
    "manual_seed",
    "update_dataloader",
]
