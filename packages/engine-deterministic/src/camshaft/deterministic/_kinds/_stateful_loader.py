"""Loaders of iterable-style datasets whose workers save the places of their datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, ClassVar

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from camshaft.deterministic._describe import describe_loader
from camshaft.deterministic._kinds._kind import Setting, entries_of, warn_of_lost_batch
from camshaft.deterministic._kinds._pass import Early, Pass
from camshaft.deterministic._kinds._redrawn import skip_exactly
from camshaft.deterministic._loading._copy import copy_loader
from camshaft.deterministic._loading._fetch import Seeding, WorkerSetup
from camshaft.deterministic._loading._order import tell_pass
from camshaft.deterministic._random._rng import seed_generators
from camshaft.deterministic._random._seeds import ChildSeeds, derive_seed
from camshaft.engine import Position, has_state


class StatefulLoader:
    """Opens a pass through the state of the loader, such as torchdata's `StatefulDataLoader`.

    It does not save the generators of its workers, so each sample is seeded.

    Args:
        data: the user's loader; it is not changed.
        setting: what the passes depend on beside it.
    """

    name: ClassVar[str] = "stateful loader"

    def __init__(self, data: DataLoader[Any], setting: Setting) -> None:
        self._loader = data
        self._setting = setting
        self._copy: Any = None
        self._opened: Pass | None = None
        self._loaded: Any = None

    @staticmethod
    def describe(data: DataLoader[Any], seeding: Seeding | None) -> dict[str, Any]:
        """Return the batch size and the number of workers, which decides what each of them gives."""
        del seeding
        return describe_loader(data)

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches behind `position`."""
        self._loaded = position.data_state if position.pass_open else None
        if position.pass_open and entries_of(position.data_state).get("has_ended") is True:
            self._opened = Pass(iter(()), position, has_ended=True)
            return self._opened
        self._copy = self._make_copy(position.data_pass)
        first = 0
        if position.pass_open and position.data_state is not None:
            warn_of_lost_batch(position, self._loader)
            self._copy.load_state_dict(position.data_state)
            first = position.batch
        iterator = iter(self._copy)
        self._opened = Pass(
            iterator,
            position._replace(batch=first),
            loader_iterator=iterator,
            early=Early(self._read_place),
        )
        if position.pass_open:
            skip_exactly(self._opened, position.batch - first, self._setting.report)
        return self._opened

    def state(self, position: Position) -> Any:
        """Return what the loader saves."""
        if not position.pass_open:  # each pass begins with new workers, whose datasets are the user's own
            return None
        if self._opened is None or not self._opened.has_drawn:
            return position.data_state if self._opened is None else self._loaded
        return {"has_ended": True} if self._opened.has_ended else self._opened.place()

    def close(self) -> None:
        """End the workers."""
        if self._opened is not None:
            self._opened.close()

    def _read_place(self) -> Any:
        return deepcopy(self._copy.state_dict())

    def _make_copy(self, data_pass: int) -> Any:
        loader, seed = self._loader, self._setting.seed
        tell_pass(loader, data_pass)
        kind = _SeededStatefulDataset if has_state(loader.dataset) else _SeededDataset
        return copy_loader(
            loader,
            type(loader),
            dataset=kind(loader.dataset, derive_seed(seed, data_pass, "stream")),
            generator=torch.Generator().manual_seed(derive_seed(seed, data_pass, "workers")),
            worker_init_fn=WorkerSetup(loader.worker_init_fn),
            persistent_workers=False,
            in_order=True,
        )


class _SeededDataset(IterableDataset[Any]):
    """A dataset in a worker: sample number n of a worker is drawn under a seed that depends on both."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed
        self.count = 0
        self.has_ended = False

    def __iter__(self) -> Iterator[Any]:
        if self.has_ended:
            return
        info = get_worker_info()
        seeds = ChildSeeds(derive_seed(self.seed, 0 if info is None else info.id))
        seed_generators(seeds(self.count))
        for sample in self.dataset:
            self.count += 1
            yield sample
            seed_generators(seeds(self.count))
        self.has_ended = True


class _SeededStatefulDataset(_SeededDataset):
    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "has_ended": self.has_ended, "dataset": self.dataset.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count, self.has_ended = state["count"], state["has_ended"]
        self.dataset.load_state_dict(state["dataset"])
