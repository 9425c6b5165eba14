"""What the samplers and the dataset of a loader remember from one pass to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, SubsetRandomSampler, WeightedRandomSampler

from camshaft.deterministic._loading._fetch import nested_datasets
from camshaft.deterministic._loading._order import sampler_chain
from camshaft.deterministic._memory._kept_value import token_of
from camshaft.deterministic._memory._memory import Differing, ObjectMemory, Remembered, remembers_by_itself
from camshaft.engine import has_state

UNSAVED = "unsaved"  # the entry of what can only be compared
# Samplers of torch's with indices or weights that a program may change as it trains.
_GIVEN_ORDERS = (SubsetRandomSampler, WeightedRandomSampler)


class Samplers:
    """The samplers of one loader: saved through their `state_dict`, or by what they are seen to remember.

    Of a dataset that is told the epoch, what changes when it is told is remembered as well.

    Args:
        loader: the user's loader.
        others: further objects that may remember something.
        compares: whether of what cannot be saved a hash is taken, for `differing`.
    """

    def __init__(self, loader: DataLoader[Any], others: Sequence[Any] = (), *, compares: bool = False) -> None:
        chain = sampler_chain(loader)
        datasets = nested_datasets(getattr(loader, "dataset", None))
        self._saving = {str(depth): part for depth, part in enumerate(chain) if has_state(part)}
        remembering = [owner for part in chain if not has_state(part) for owner in _owners_in(part)]
        self._owners = [*remembering, *others]
        self._memory = ObjectMemory(self._owners, closed=datasets, compares=compares)
        is_told = any(callable(getattr(part, "set_epoch", None)) for part in datasets)
        self._told = ObjectMemory(datasets if is_told else [], is_watching=False)
        self._at_start: dict[str, Any] = {}

    @property
    def saves_itself(self) -> bool:
        """Whether a sampler has a state of its own."""
        return bool(self._saving)

    def begin_pass(self) -> None:
        """Note what is remembered as a pass begins."""
        self._at_start = self._states()
        self._memory.begin_pass()
        self._told.begin_pass()

    def end_pass(self) -> None:
        """Note what samplers remember as a pass has been drawn to its end."""
        self._memory.end_pass()

    def telling(self) -> AbstractContextManager[None]:
        """Note what the dataset remembers of a block in which it is told the epoch."""
        return self._told.watching()

    def undisturbed(self) -> AbstractContextManager[None]:
        """Put back what samplers remember, in datasets too, after a block in which batches are fetched once more."""
        return self._memory.undisturbed()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Put back what the dataset remembers after a block in which it is told some epoch."""
        with self._told.watching():
            before = self._told.now()
            try:
                yield
            finally:
                self._told.now()
                self._told.restore(before)

    def at_start(self) -> dict[str, Any] | None:
        """Return what was remembered as the pass began; None where nothing ever is."""
        return self._written(self._at_start, self._memory.at_start(), self._told.at_start())

    def inside(self) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Return what `at_start` does, and what is remembered otherwise by now; None where that is nothing."""
        at_start, learned = self._memory.inside()
        states = self._changed_states()
        return (
            self._written(self._at_start, at_start, self._told.at_start()),
            {"states": states, "counts": learned} if states or learned else None,
        )

    def now(self) -> dict[str, Any] | None:
        """Return what is remembered now; None where nothing ever is."""
        return self._written(self._states(), self._memory.now(), self._told.now())

    def differing(self, saved: Mapping[str, Any] | None) -> Differing:
        """Return what could not be saved by `at_start`, `inside` or `now`, and is otherwise now: (saved, present)."""
        unsaved = None if saved is None else saved.get(UNSAVED)
        return {} if unsaved is None else self._memory.differing(unsaved)

    def restore(self, saved: Mapping[str, Any] | None) -> None:
        """Put back what `at_start` or `now` returned; None says that nothing was saved."""
        if saved is None:
            return
        for depth, state in saved["states"].items():
            if depth in self._saving:
                self._saving[depth].load_state_dict(deepcopy(state))
        self._memory.restore(saved["counts"])
        self._told.restore(saved.get("told"))

    def restore_learned(self, saved: Mapping[str, Any] | None) -> None:
        """Put back what `inside` returned as learned, where the pass is drawn again as far as it was.

        A state that drawing changes says where in the pass a sampler stands: to take that up is for its next pass.
        """
        if saved is None:
            return
        drawn = self._changed_states()
        for depth, state in saved["states"].items():
            if depth in self._saving and depth not in drawn:
                self._saving[depth].load_state_dict(deepcopy(state))
        self._memory.restore_learned(saved["counts"])

    def _changed_states(self) -> dict[str, Any]:
        start = {depth: token_of(state) for depth, state in self._at_start.items()}
        return {depth: state for depth, state in self._states().items() if token_of(state) != start.get(depth)}

    @property
    def counter(self) -> ObjectMemory:
        """What takes back what an early fetch has counted."""
        return self._memory

    def _written(
        self, states: dict[str, Any], counts: Remembered | None, told: Remembered | None
    ) -> dict[str, Any] | None:
        if not self._saving and not self._owners and told is None:
            return None
        unsaved = self._memory.unsaved()
        further = {"told": told, UNSAVED: unsaved or None}
        return {
            "states": states,
            "counts": counts,
            **{name: each for name, each in further.items() if each is not None},
        }

    def _states(self) -> dict[str, Any]:
        return {depth: deepcopy(part.state_dict()) for depth, part in self._saving.items()}


def _owners_in(sampler: Any) -> list[Any]:
    """Return the object whose variables are what a sampler remembers, as a list; an empty one for nothing."""
    if isinstance(sampler, list | torch.Tensor | np.ndarray):
        return [SimpleNamespace(order=sampler)]  # which a program may shuffle
    return [sampler] if remembers_by_itself(sampler) or type(sampler) in _GIVEN_ORDERS else []
