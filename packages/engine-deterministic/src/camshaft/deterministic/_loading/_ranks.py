"""Which part of the work this process does."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.data import DataLoader

from camshaft.deterministic._loading._order import sampler_chain
from camshaft.engine import is_integer


class Ranks(NamedTuple):
    """This process among those that train together.

    Attributes:
        world_size: how many there are.
        rank: which of them this one is, from 0.
    """

    world_size: int = 1
    rank: int = 0


def ranks_of(data: object) -> Ranks:
    """Return the ranks that a sampler of the loader `data` names, else those of the process group."""
    found = Ranks()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        found = Ranks(torch.distributed.get_world_size(), torch.distributed.get_rank())
    for part in sampler_chain(data) if isinstance(data, DataLoader) else []:
        world_size, rank = getattr(part, "num_replicas", None), getattr(part, "rank", None)
        if is_integer(world_size) and is_integer(rank):
            found = Ranks(int(world_size), int(rank))  # type: ignore[arg-type]  # integers, asked above
    return found
