"""Loaders of iterable-style datasets, whose samples have no index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, ClassVar

import torch
from torch.utils.data import DataLoader, IterableDataset, IterDataPipe

from camshaft.deterministic._describe import describe_loader
from camshaft.deterministic._kinds._isolated import IsolatedIterator
from camshaft.deterministic._kinds._kind import LAST, MEMORY, Setting, entries_of, without_empty
from camshaft.deterministic._kinds._pass import Early, Pass
from camshaft.deterministic._kinds._pipeline import (
    DrawWatch,
    Pipeline,
    ThreadWatch,
    functions_in,
    loses_samples,
    pipeline_of,
    remembering_in,
)
from camshaft.deterministic._kinds._redrawn import RedrawnPasses, Started, compare_last, skip_exactly
from camshaft.deterministic._kinds._stateful_passes import EARLY, ENDED, FRESH, begin_pass, read_place
from camshaft.deterministic._loading._copy import copy_loader, plain_class
from camshaft.deterministic._loading._fetch import Seeding
from camshaft.deterministic._loading._order import tell_pass
from camshaft.deterministic._memory._kept_iterator import KeptIterators
from camshaft.deterministic._memory._memory import ObjectMemory, Remembered
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.engine import Position, has_state


class IterableStyleLoader:
    """Opens a pass through the state of the dataset, where it has one and no workers; else by drawing it again.

    Without workers each fetch has streams of its own; with workers each worker has, decided by the pass, and its
    dataset is out of reach. Workers are started anew for each pass: those that persist would bring their past along.

    Args:
        data: the user's loader; it is not changed.
        setting: what the passes depend on beside it.
    """

    name: ClassVar[str] = "iterable-style"

    def __init__(self, data: DataLoader[Any], setting: Setting) -> None:
        self._passes: RedrawnPasses | _SavedPasses
        if data.num_workers == 0 and has_state(data.dataset) and not loses_samples(data.dataset):
            self._passes = _SavedPasses(data, setting)
        else:
            memory = ObjectMemory([data.dataset, *remembering_in(data.dataset)])
            threads = ThreadWatch(data.dataset)
            own = [] if data.num_workers else [data.dataset]  # that of a worker begins each pass as it was made
            self._passes = RedrawnPasses(
                lambda data_pass: _start(data, setting.seed, data_pass, watch=threads.begin()),
                memory,
                setting,
                threads,
                KeptIterators(own, setting.report),
            )

    @staticmethod
    def describe(data: DataLoader[Any], seeding: Seeding | None) -> dict[str, Any]:
        """Return the batch size and the number of workers, which decides what each of them gives."""
        del seeding
        return describe_loader(data)

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches behind `position`."""
        return self._passes.open(position)

    def recall(self, state: Any) -> None:
        """Put back what the dataset remembers between two passes."""
        if isinstance(self._passes, RedrawnPasses):
            self._passes.recall(state)

    def state(self, position: Position) -> Any:
        """Return the state of the dataset at the start of the pass and now, or a hash of the last batch."""
        return self._passes.state(position)

    def close(self) -> None:
        """End the pass, and its workers."""
        self._passes.close()


def _start(
    loader: DataLoader[Any], seed: int, data_pass: int, *, watch: DrawWatch | None = None, **changes: Any
) -> Started:
    """Begin a pass."""
    tell_pass(loader, data_pass)
    changes |= {"persistent_workers": False, "in_order": True}
    changes["generator"] = torch.Generator().manual_seed(derive_seed(seed, data_pass, "workers"))
    copy = copy_loader(loader, plain_class(loader), **changes)
    if loader.num_workers:
        iterator = iter(copy)
        return Started(iterator, iterator)
    private = loader.collate_fn, *functions_in(loader.dataset)
    return Started(IsolatedIterator(copy, derive_seed(seed, data_pass, "stream"), private_of=private, watch=watch))


class _SavedPasses:
    """The passes over a dataset that saves its place, in this process."""

    def __init__(self, loader: DataLoader[Any], setting: Setting) -> None:
        self._loader = loader
        self._setting = setting
        self._dataset: Any = loader.dataset
        self._watched: _EndNotingDataset | None = None
        self._opened: Pass | None = None
        self._before: Mapping[str, Any] | None = None  # between passes, after loading: where the data stands
        self._start: Mapping[str, Any] = {}  # where the data stood between the passes, as this one began
        self._loaded: Any = None
        self._pipeline = pipeline_of(self._dataset) or Pipeline()
        self._memory = ObjectMemory(remembering_in(self._dataset))  # which the state of the dataset lacks
        self._watch: DrawWatch | None = None

    def open(self, position: Position) -> Iterator[Any]:
        saved = entries_of(position.data_state)
        undrawn = self._undrawn_place()
        if position.pass_open or self._opened is None:
            self._memory.restore(saved.get(MEMORY))
        self._memory.begin_pass()
        self._loaded = position.data_state if position.pass_open else None
        is_inside = position.pass_open and "now" in saved and position.batch > 0
        loaded = saved.get("between") if self._opened is None else None
        place = saved.get("start") if position.pass_open else self._before or loaded or undrawn
        self._before = None
        self._start = place or read_place(self._dataset, self._how_left())
        tell_pass(self._loader, position.data_pass)
        if is_inside and saved.get("has_ended"):
            self._before = {"state": saved["now"], "left": ENDED}
            self._opened = Pass(iter(()), position, has_ended=True)
        elif is_inside:
            self._dataset.load_state_dict(deepcopy(saved["now"]))
            self._opened = self._give(self._iterate(position, position.batch), position)
        else:
            self._opened = self._give(self._begin(position, place), position._replace(batch=0))
            if position.pass_open:
                skip_exactly(self._opened, position.batch, self._setting.report)
                compare_last(self._opened, saved.get(LAST), self._setting.report)
        return self._opened

    def state(self, position: Position) -> Any:
        opened = self._opened
        if opened is None:
            return position.data_state
        if not position.pass_open:
            place = self._before or self._undrawn_place()
            place = place or read_place(self._dataset, self._how_left())
            return {"between": place, **entries_of(without_empty(memory=self._memory.now()))}
        if self._loaded is not None and not opened.has_drawn:  # a dataset may know its place only when it goes on
            return self._loaded
        at_start, learned = self._memory.inside()
        start = {"start": self._start, **entries_of(without_empty(memory=at_start))}
        if position.holds_batch:  # then the state now is of no use
            return start
        now, is_drained, memory = self._ended_place() if self._before else opened.place()
        has_ended = opened.has_ended or is_drained
        if self._watch is not None and (self._watch.has_drawn or learned is not None):
            if self._pipeline.threads:
                self._pipeline.warn_of_threads()
            if not has_ended:  # the numbers that it holds back come from the start of the pass only
                return {**start, **entries_of(without_empty(last=opened.last()))}
        return {"start": self._start, "now": now, **entries_of(without_empty(has_ended=has_ended, memory=memory))}

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def _undrawn_place(self) -> dict[str, Any] | None:
        """Return where the dataset stands if nothing was drawn since it was opened inside a pass."""
        now = entries_of(self._loaded).get("now")
        is_undrawn = self._opened is not None and not self._opened.has_drawn and not self._opened.has_ended
        return {"state": now, "left": EARLY} if is_undrawn and now is not None else None

    def _how_left(self) -> str:
        if self._opened is None:
            return FRESH
        return ENDED if self._opened.has_ended or self._is_drained() else EARLY

    def _is_drained(self) -> bool:
        return self._watched is not None and self._watched.has_ended

    def _read_now(self) -> tuple[Any, bool, Remembered | None]:
        """Return where the dataset stands, whether it has no more samples, and what its functions remember."""
        return deepcopy(self._dataset.state_dict()), self._is_drained(), self._memory.now()

    def _ended_place(self) -> tuple[Any, bool, Remembered | None]:
        return entries_of(self._before).get("state"), False, self._memory.now()

    def _give(self, batches: Iterator[Any], position: Position) -> Pass:
        early = Early(self._read_now, put_back=self._put_back)
        return Pass(batches, position, keeps_last_from=0 if self._pipeline.holds_back else None, early=early)

    def _put_back(self, place: tuple[Any, bool, Remembered | None]) -> None:
        self._memory.restore(place[2])
        # Others begin their next pass anew, unless a state was loaded right before.
        if getattr(self._dataset, "keeps_place", False):
            self._dataset.load_state_dict(deepcopy(place[0]))

    def _begin(self, position: Position, place: Mapping[str, Any] | None) -> Iterator[Any]:
        """Iterate from the start of the pass: from where the dataset stands, or from a saved place."""
        if place is None:
            return self._iterate(position, 0)
        return begin_pass(self._dataset, place, lambda: self._iterate(position, 0))

    def _iterate(self, position: Position, first: int) -> Iterator[Any]:
        """Iterate the loader from where the dataset stands."""
        changes: dict[str, Any] = {}
        self._watched = None
        if not isinstance(self._dataset, IterDataPipe):
            changes["dataset"] = self._watched = _EndNotingDataset(self._dataset)
        self._watch = self._pipeline.watch() if self._pipeline.holds_back else None
        iterator = _start(self._loader, self._setting.seed, position.data_pass, watch=self._watch, **changes).batches
        if isinstance(iterator, IsolatedIterator):
            iterator.number = first
        return iterator


class _EndNotingDataset(IterableDataset[Any]):
    """A dataset that notes when it has no more samples: its last batch may still be on its way."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.has_ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def __iter__(self) -> Iterator[Any]:
        yield from self.dataset
        self.has_ended = True
