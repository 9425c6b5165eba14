"""A pass over a loader of an `IterableDataset`, whose samples have no index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, IterDataPipe, get_worker_info

from camshaft.deterministic._copy import copy_loader, plain_kind
from camshaft.deterministic._data import has_state, restore_between
from camshaft.deterministic._fetch import WorkerSetup
from camshaft.deterministic._order import tell_pass
from camshaft.deterministic._rng import isolated, seed_generators
from camshaft.deterministic._seeds import ChildSeeds, derive_seed
from camshaft.engine import Position


def entries_of(state: object) -> Mapping[str, Any]:
    """Return a saved state as a mapping, an empty one when it is none."""
    return state if isinstance(state, Mapping) else {}


class IsolatedIterator(Iterator[Any]):
    """Iterates on streams of its own: batch number n is drawn under a seed that depends on n only.

    Attributes:
        number: number of the next batch.

    Args:
        data: what to iterate over.
        seed: seed of the streams.
        number: as the attribute, at the beginning.
    """

    def __init__(self, data: Iterable[Any], seed: int, number: int) -> None:
        self.number = number
        self._data = data
        self._seed = seed
        self._iterator: Iterator[Any] | None = None

    def __next__(self) -> Any:
        with isolated(derive_seed(self._seed, self.number)):
            if self._iterator is None:
                self._iterator = iter(self._data)
            batch = next(self._iterator)
        self.number += 1
        return batch


class OpenedStream(Iterator[Any]):
    """The batches of a pass, from its beginning, or from where the state of the data set leads.

    Without workers each fetch has streams of its own; with workers each worker has, decided by the
    pass, and its data set is out of reach. Workers are started anew for each pass: those that
    persist would bring their past along.

    Attributes:
        number: number of the first batch that will come.
        iterator: the loader's own.

    Args:
        loader: the user's loader; it is not changed.
        seed: base seed.
        position: where to open it; its data state is what `state_dict` returned in the same pass.
    """

    def __init__(self, loader: DataLoader[Any], seed: int, position: Position) -> None:
        state = entries_of(position.data_state) if position.pass_open else {}
        data_pass = position.data_pass
        self._dataset: Any = loader.dataset
        self._saves = loader.num_workers == 0 and has_state(loader.dataset)
        self._start = state.get("start")
        self._is_over = bool(state.get("has_ended", False))
        self._restored: Mapping[str, Any] | None = state if "now" in state else None
        self._watched: _Watched | None = None
        tell_pass(loader, data_pass)
        self.number = self._restore(state, position.batch) if self._saves else 0
        changes: dict[str, Any] = {"persistent_workers": False, "in_order": True}
        changes["generator"] = torch.Generator().manual_seed(derive_seed(seed, data_pass, "workers"))
        if self._saves and not isinstance(loader.dataset, IterDataPipe):
            changes["dataset"] = self._watched = _Watched(loader.dataset)
        twin = copy_loader(loader, plain_kind(loader), **changes)
        stream_seed = derive_seed(seed, data_pass, "stream")
        self.iterator: Iterator[Any] = (
            iter(twin) if loader.num_workers else IsolatedIterator(twin, stream_seed, self.number)
        )

    def __next__(self) -> Any:
        if self._is_over:
            raise StopIteration
        self._restored = None
        return next(self.iterator)

    def state_dict(self, *, holds_batch: bool) -> dict[str, Any] | None:
        """Return the state of the data set at the pass's start and now; None when it saves none.

        Args:
            holds_batch: whether the last batch does not count yet: then the state now is of no use.
        """
        if not self._saves:
            return None
        if self._restored is not None:  # a data set may know its place again only when it goes on
            return dict(self._restored)
        if holds_batch:
            return {"start": self._start}
        has_ended = self._is_over or (self._watched is not None and self._watched.has_ended)
        return {"start": self._start, "now": deepcopy(self._dataset.state_dict()), "has_ended": has_ended}

    def _restore(self, state: Mapping[str, Any], batch: int) -> int:
        """Put the data set where it was; return the number of the batch that it will give next."""
        if "now" in state and batch:
            if self._is_over:
                restore_between(self._dataset, state["now"])
            else:
                self._dataset.load_state_dict(deepcopy(state["now"]))
            return batch
        if "start" in state:
            restore_between(self._dataset, state["start"])
        else:
            self._start = deepcopy(self._dataset.state_dict())
        return 0


class _Watched(IterableDataset[Any]):
    """A data set that tells when it has no more samples: its last batch may still be on its way."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.has_ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def __iter__(self) -> Iterator[Any]:
        yield from self.dataset
        self.has_ended = True


class SavingStream(Iterator[Any]):
    """The batches of a pass from a loader whose workers save the state of their data sets.

    Such a loader does not save the generators of its workers, so each sample is seeded.

    Attributes:
        number: number of the first batch that will come.
        iterator: the loader's own.

    Args:
        loader: the user's loader; it is not changed.
        seed: base seed.
        position: where to open it; its data state is what `state_dict` returned in the same pass.
    """

    def __init__(self, loader: DataLoader[Any], seed: int, position: Position) -> None:
        data_pass = position.data_pass
        tell_pass(loader, data_pass)
        kind = _SeededStatefulStream if has_state(loader.dataset) else _SeededStream
        twin: Any = copy_loader(
            loader,
            type(loader),
            dataset=kind(loader.dataset, derive_seed(seed, data_pass, "stream")),
            generator=torch.Generator().manual_seed(derive_seed(seed, data_pass, "workers")),
            worker_init_fn=WorkerSetup(loader.worker_init_fn),
            persistent_workers=False,
            in_order=True,
        )
        self.number = 0
        if position.pass_open and position.data_state is not None:
            twin.load_state_dict(position.data_state)
            self.number = position.batch
        self._twin = twin
        self.iterator = iter(twin)

    def __next__(self) -> Any:
        return next(self.iterator)

    def state_dict(self, *, holds_batch: bool) -> Any:  # the loader knows what it has given out
        """Return what the loader saves."""
        return self._twin.state_dict()


class _SeededStream(IterableDataset[Any]):
    """A data set in a worker: sample number n of a worker is drawn under a seed that depends on both."""

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


class _SeededStatefulStream(_SeededStream):
    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "has_ended": self.has_ended, "dataset": self.dataset.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count, self.has_ended = state["count"], state["has_ended"]
        self.dataset.load_state_dict(state["dataset"])
