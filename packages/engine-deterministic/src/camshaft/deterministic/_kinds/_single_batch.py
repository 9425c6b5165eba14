"""Any one batch of a map-style dataset, fetched alone."""

from __future__ import annotations

from copy import deepcopy
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from camshaft.deterministic._kinds._kind import Setting
from camshaft.deterministic._kinds._request import requests
from camshaft.deterministic._loading._copy import copy_loader
from camshaft.deterministic._loading._fetch import SeededDataset, choose_seeding, nested_datasets
from camshaft.deterministic._loading._order import IndexedOrder, Order, draw_order, sampler_chain, tell_pass
from camshaft.deterministic._memory._memory import ObjectMemory
from camshaft.engine import ArgumentError, has_state

# An order is known to come again by so many of its batches, at least.
_COMPARED = 16


class SingleBatches:
    """Fetches batches by their pass and number, in this process.

    Keeps the order of the pass that was asked for last, so that the next batch of it is found at once.

    Args:
        loader: the user's loader; a sampler of the user's own is copied, so that nothing notices.
        setting: what the passes depend on beside it.
    """

    def __init__(self, loader: DataLoader[Any], setting: Setting) -> None:
        self._loader = loader
        self._setting = setting
        self._dataset = SeededDataset(
            loader.dataset,
            loader.collate_fn,
            choose_seeding(loader.dataset, setting.seeding),
            is_batched=loader.batch_sampler is not None,
        )
        self._order: tuple[int, Order] | None = None
        self._memory: ObjectMemory | None = None  # of the copied samplers of that order

    def fetch(self, data_pass: int, number: int) -> Any:
        """Return batch `number` of a pass; the dataset and the samplers are told this pass.

        Raises:
            ArgumentError: the order depends on what a sampler has drawn before.
            IndexError: the pass has no such batch.
        """
        if self._order is None or self._order[0] != data_pass:
            self._order = data_pass, self._draw(data_pass)
        else:
            tell_pass(self._loader, data_pass)
        order = self._order[1]
        batch = next(order.batches(number), None)
        if self._memory is not None and any((self._memory.now() or {}).values()) and not _comes_again(order, number):
            raise _unknown(self._loader)
        if batch is None:
            known = "" if order.length is None else f"the {order.length} "
            raise IndexError(f"`index` must be less than {known}batches of epoch {data_pass}, got {number}")
        (request,) = requests((batch,), self._setting._replace(skip=frozenset()), data_pass, number)
        return self._dataset.__getitems__(request)

    def _draw(self, data_pass: int) -> Order:
        self._memory = None
        order = draw_order(self._loader, self._setting.seed, data_pass)
        if isinstance(order, IndexedOrder):
            return order
        if any(has_state(part) for part in sampler_chain(self._loader)):
            raise _unknown(self._loader)
        copy = _with_own_samplers(self._loader)
        order = draw_order(copy, self._setting.seed, data_pass)
        # A sampler that changes when it is drawn from may remember something: then another order comes the next time.
        self._memory = ObjectMemory(sampler_chain(copy), closed=nested_datasets(self._loader.dataset))
        return order


def _comes_again(order: Order, number: int) -> bool:
    """Return whether an order comes out the same when it is drawn again: what has changed has no influence on it."""
    first, second = ([*islice(order.batches(0), max(number + 1, _COMPARED))] for _ in range(2))
    return first == second


def _unknown(loader: DataLoader[Any]) -> ArgumentError:
    names = " of ".join(type(part).__qualname__ for part in sampler_chain(loader))
    return ArgumentError(
        f"`epoch` and `index` must say which batch it is, but the order of {names} follows from what the sampler "
        "remembers; iterate up to the batch instead"
    )


def _with_own_samplers(loader: DataLoader[Any]) -> DataLoader[Any]:
    """Return a copy whose samplers are copies; the dataset is the same."""
    memo = {id(loader.dataset): loader.dataset}
    return copy_loader(
        loader,
        DataLoader,
        batch_sampler=deepcopy(loader.batch_sampler, memo),
        sampler=deepcopy(loader.sampler, memo),
    )
