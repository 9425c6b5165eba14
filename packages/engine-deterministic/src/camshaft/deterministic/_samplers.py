"""What the samplers of a loader remember from one pass to the next."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from torch.utils.data import DataLoader

from camshaft.deterministic._counts import Counts, counts_by_itself
from camshaft.deterministic._order import sampler_chain
from camshaft.engine import has_state


class Samplers:
    """The samplers of one loader: saved through their `state_dict`, or by the numbers that they count.

    Args:
        loader: the user's loader.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        chain = sampler_chain(loader)
        self._saving = {str(depth): part for depth, part in enumerate(chain) if has_state(part)}
        self._counts = Counts([part for part in chain if counts_by_itself(part) and not has_state(part)])

    def state(self) -> dict[str, Any]:
        """Return what has to be put back for the next pass; an empty dict where that is nothing."""
        states = {depth: deepcopy(part.state_dict()) for depth, part in self._saving.items()}
        entries = {"states": states, "counts": self._counts.changed()}
        return {name: entry for name, entry in entries.items() if entry}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Put back what `state` returned."""
        entries = state or {}
        for depth, saved in entries.get("states", {}).items():
            if depth in self._saving:
                self._saving[depth].load_state_dict(deepcopy(saved))
        self._counts.restore(entries.get("counts", {}))
