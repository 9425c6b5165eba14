"""The last batch of a pass that has ended: fetched again as the next pass is opened, to compare it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from camshaft.deterministic._fingerprint import Fingerprint
from camshaft.deterministic._kinds._kind import Setting
from camshaft.deterministic._kinds._pass import Pass
from camshaft.deterministic._kinds._request import requests
from camshaft.deterministic._loading._fetch import BatchRequest, nested_datasets
from camshaft.deterministic._loading._order import Batch
from camshaft.deterministic._memory._kept_array import PLAIN
from camshaft.deterministic._memory._variable import holders_of, variables_of
from camshaft.engine import length_of

_READ_ITEMS = 64


class EndedBatch(NamedTuple):
    """The last batch of a pass that has ended.

    Attributes:
        data_pass: the pass.
        number: its number there.
        start: how many samples come before it.
        indices: its samples.
        size: samples of the dataset.
        last: a hash of it.
    """

    data_pass: int
    number: int
    start: int
    indices: list[Any]
    size: int | None
    last: str

    def request(self, setting: Setting) -> BatchRequest:
        """Return what it is fetched by."""
        batch, everything = Batch(self.start, self.indices), setting._replace(skip=frozenset())
        return next(requests((batch,), everything, self.data_pass, self.number))

    @property
    def name(self) -> str:
        """What it is called in errors."""
        return f"batch {self.number} of epoch {self.data_pass}"


class PassEnd:
    """Notes how the passes over a loader end, and whether the program changes the data between two of them.

    What the program sets for an epoch, such as the size of its pictures, is not known to a new process. So a batch of
    such an epoch cannot be had again before the program has set it. That of a dataset that is told the epoch cannot
    either.

    Args:
        loader: the user's loader.
        setting: what its passes depend on beside it.
        at_end: called when all batches of a pass were asked for.
    """

    def __init__(self, loader: DataLoader[Any], setting: Setting, at_end: Callable[[], object]) -> None:
        self._loader = loader
        self._at_end = at_end
        self._setting = setting
        self._request: BatchRequest | None = None
        datasets = nested_datasets(loader.dataset)
        self._is_known = not any(callable(getattr(part, "set_epoch", None)) for part in datasets)
        self._owners = [*datasets, loader.collate_fn] if self._is_known else []
        self._seen = self._look()

    def begin(self) -> None:
        """Note what the program has changed since the pass before."""
        self._is_known = self._is_known and self._look() == self._seen
        self._request = None

    def follow(self, wanted: Iterator[BatchRequest]) -> Iterator[BatchRequest]:
        """Yield the requests of a pass, and note the last one."""
        for request in wanted:
            self._request = request
            yield request
        self._at_end()
        self._seen = self._look()

    def saved(self, opened: Pass, last: str | None) -> dict[str, Any] | None:
        """Return what is known of the last batch of a pass, None where it cannot be had again."""
        request = self._request
        if request is None or last is None or not opened.has_ended:
            return None
        if not self._is_known or self._look() != self._seen or not _is_plain(list(request)):
            return None
        ranks = self._setting.ranks
        start = (request.first_place - ranks.rank) // ranks.world_size
        size = length_of(self._loader.dataset)
        return EndedBatch(request.data_pass, request.number, start, list(request), size, last)._asdict()

    def to_compare(self, saved: Mapping[str, Any] | None) -> EndedBatch | None:
        """Return the batch of `saved` if the dataset still has it."""
        ended = EndedBatch(**saved) if saved is not None and self._is_known else None
        return ended if ended is not None and ended.size == length_of(self._loader.dataset) else None

    def _look(self) -> list[dict[str, Any]]:
        """Return what the variables of the data hold: values, and which objects."""
        return [
            {name: _token(variable.read()) for name, variable in variables_of(holders_of(owner)).items()}
            for owner in self._owners
        ]


def _is_plain(value: Any) -> bool:
    """Return whether indices are of types that load safely; a sampler of batches may give lists of them."""
    return all(map(_is_plain, value)) if type(value) in (list, tuple) else type(value) in PLAIN


def _token(value: Any) -> Any:
    """Return what changes with a value; of long ones a few parts are read."""
    if type(value) in PLAIN:
        return type(value), value
    if isinstance(value, torch.Tensor | np.ndarray):
        return type(value), Fingerprint(value).text()
    if isinstance(value, list | tuple | deque | dict):
        items = value.values() if isinstance(value, dict) else value
        chosen = islice(items, None, None, max(1, len(value) // _READ_ITEMS))
        return type(value), len(value), [each if type(each) in PLAIN else id(each) for each in chosen]
    return type(value), id(value)
