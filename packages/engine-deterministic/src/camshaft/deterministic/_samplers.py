"""What the samplers of a loader remember from one pass to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from torch.utils.data import DataLoader

from camshaft.deterministic._counts import Counted, Counts, counts_by_itself
from camshaft.deterministic._order import sampler_chain
from camshaft.engine import has_state


class Samplers:
    """The samplers of one loader: saved through their `state_dict`, or by the numbers that they count.

    Args:
        loader: the user's loader.
        counting: further objects that count.
    """

    def __init__(self, loader: DataLoader[Any], counting: Sequence[Any] = ()) -> None:
        chain = sampler_chain(loader)
        self._saving = {str(depth): part for depth, part in enumerate(chain) if has_state(part)}
        self._counting = [part for part in chain if counts_by_itself(part) and not has_state(part)] + [*counting]
        self._counts = Counts(self._counting)
        self._at_start: dict[str, Any] = {}

    def begin_pass(self) -> None:
        """Note what the samplers remember as a pass begins."""
        self._at_start = self._states()
        self._counts.begin_pass()

    def at_start(self) -> dict[str, Any] | None:
        """Return what they remembered as the pass began; None for samplers that remember nothing."""
        return self._written(self._at_start, self._counts.at_start())

    def now(self) -> dict[str, Any] | None:
        """Return what they remember now; None for samplers that remember nothing."""
        return self._written(self._states(), self._counts.now())

    def restore(self, saved: Mapping[str, Any] | None) -> None:
        """Put back what `at_start` or `now` returned; None says that nothing was saved."""
        if saved is None:
            return
        for depth, state in saved["states"].items():
            if depth in self._saving:
                self._saving[depth].load_state_dict(deepcopy(state))
        self._counts.restore(saved["counts"])

    def read_counts(self) -> Counted | None:
        """Return what they count by themselves, now."""
        return self._counts.now()

    def put_counts_back(self, counts: Counted | None) -> None:
        """Put back what `read_counts` returned."""
        self._counts.restore(counts)

    def _written(self, states: dict[str, Any], counts: Counted | None) -> dict[str, Any] | None:
        return {"states": states, "counts": counts} if self._saving or self._counting else None

    def _states(self) -> dict[str, Any]:
        return {depth: deepcopy(part.state_dict()) for depth, part in self._saving.items()}
