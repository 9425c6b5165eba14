"""The random numbers of the step: where the generators of the process begin."""

from __future__ import annotations

from camshaft.deterministic._loading._ranks import Ranks
from camshaft.deterministic._random._accelerator import seed_accelerators
from camshaft.deterministic._random._rng import seed_everything, seed_generators
from camshaft.deterministic._random._seeds import derive_seed


def seed_pass(seed: int, ranks: Ranks, data_pass: int, batch: int = 0) -> None:
    """Seed the generators that the step draws from.

    Each pass and each rank has a stream of its own. Inside a pass, where nothing is known about the
    generators, they do not begin again with the first numbers of the pass.
    """
    seed_everything(_main_seed(seed, ranks, data_pass, batch))


def seed_step(seed: int, ranks: Ranks, data_pass: int, batch: int) -> None:
    """Do the same for the step of one batch, at a tenth of the price."""
    step_seed = _main_seed(seed, ranks, data_pass, batch)
    seed_generators(step_seed)
    seed_accelerators(step_seed)


def _main_seed(seed: int, ranks: Ranks, data_pass: int, batch: int) -> int:
    return derive_seed(seed, data_pass, "main", ranks.rank, batch)
