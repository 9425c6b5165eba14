"""Loaders of a class that iterates in a way of its own: drawn again from the start of the pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from torch.utils.data import DataLoader

from camshaft.deterministic._describe import describe_loader, describe_map_style, inner_workers
from camshaft.deterministic._kinds._isolated import IsolatedIterator
from camshaft.deterministic._kinds._kind import Setting
from camshaft.deterministic._kinds._map_style import SeededLoader
from camshaft.deterministic._kinds._redrawn import RedrawnPasses, Started
from camshaft.deterministic._kinds._request import requests
from camshaft.deterministic._loading._copy import copy_loader, is_copyable, is_map_style
from camshaft.deterministic._loading._fetch import BatchRequest, Seeding, choose_seeding
from camshaft.deterministic._loading._order import draw_order, tell_pass
from camshaft.deterministic._loading._workers import end_workers
from camshaft.deterministic._memory._samplers import Samplers
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.engine import Position


class LoaderSubclass:
    """Iterates a loader whose `__iter__` is the user's: it may regroup, filter, repeat or number the batches.

    How many batches of the sampler are behind a batch that it gives, nobody knows. So a pass is drawn again from its
    start. What its `__iter__` draws comes from streams of its own; a map-style dataset is fetched from as ever,
    so that the number of workers may change.

    Args:
        data: the user's loader; it is not changed.
        setting: what the passes depend on beside it.
    """

    name: ClassVar[str] = "loader subclass"

    def __init__(self, data: DataLoader[Any], setting: Setting) -> None:
        self._loader = data
        self._setting = setting
        self._fetcher: SeededLoader | None = None
        self._iterated: Any = data
        if is_copyable(data) and is_map_style(data):
            self._fetcher = SeededLoader(data, choose_seeding(data.dataset, setting.seeding), type(data))
            self._iterated = self._fetcher.copy
        elif is_copyable(data):
            self._iterated = copy_loader(data, type(data), persistent_workers=False, in_order=True)
        self._passes = RedrawnPasses(self._start, Samplers(data, [self._iterated]), setting)

    @staticmethod
    def describe(data: DataLoader[Any], seeding: Seeding | None) -> dict[str, Any]:
        """Return what is known of the loader, and the workers of loaders inside it."""
        if not is_copyable(data):
            return {"num_workers": inner_workers(data)}
        entries = describe_map_style(data, seeding) if is_map_style(data) else describe_loader(data)
        return {**entries, "class": type(data).__qualname__}

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches behind `position`; those before are drawn again and dropped."""
        return self._passes.open(position)

    def recall(self, state: Any) -> None:
        """Put back what the loader and its samplers remember between two passes."""
        self._passes.recall(state)

    def state(self, position: Position) -> Any:
        """Return a hash of the last batch, and what the loader and its samplers count."""
        return self._passes.state(position)

    def close(self) -> None:
        """End the pass, and its workers."""
        self._passes.close()
        if self._iterated is not self._loader:
            end_workers(vars(self._iterated).get("_iterator"))  # persistent ones
            vars(self._iterated)["_iterator"] = None

    def _start(self, data_pass: int) -> Started:
        seed = self._setting.seed
        if self._fetcher is not None:
            self._fetcher.turn_to(
                lambda number: self._round(data_pass, number), derive_seed(seed, data_pass, "workers")
            )
        elif is_copyable(self._loader):
            tell_pass(self._loader, data_pass)
        return Started(
            IsolatedIterator(self._iterated, derive_seed(seed, data_pass, "stream"), private_of=self._loader)
        )

    def _round(self, data_pass: int, number: int) -> Iterator[BatchRequest]:
        """Return the requests of one iteration of torch's own loader, of which there may be several in a pass."""
        setting = self._setting._replace(skip=frozenset())  # the class may make other batches of these
        if number:
            setting = setting._replace(seed=derive_seed(setting.seed, "round", number))
        order = draw_order(self._loader, setting.seed, data_pass)
        return requests(order.batches(0), setting, data_pass, 0)
