"""Any one batch of a map-style dataset, fetched alone."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from torch.utils.data import DataLoader

from camshaft.deterministic._copy import copy_loader
from camshaft.deterministic._fetch import SeededDataset, choose_seeding
from camshaft.deterministic._kinds._kind import Setting
from camshaft.deterministic._kinds._request import requests
from camshaft.deterministic._order import IndexedOrder, Order, draw_order, sampler_chain, tell_pass
from camshaft.engine import ArgumentError, has_state


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
        if batch is None:
            known = "" if order.length is None else f"the {order.length} "
            raise IndexError(f"`index` must be less than {known}batches of epoch {data_pass}, got {number}")
        (request,) = requests((batch,), self._setting._replace(skip=frozenset()), data_pass, number)
        return self._dataset.__getitems__(request)

    def _draw(self, data_pass: int) -> Order:
        order = draw_order(self._loader, self._setting.seed, data_pass)
        if isinstance(order, IndexedOrder):
            return order
        for part in sampler_chain(self._loader):
            if has_state(part):
                raise ArgumentError(
                    f"`epoch` and `index` do not say which batch it is: the order of {type(part)} follows from its own "
                    "state; iterate up to the batch instead"
                )
        return draw_order(_with_own_samplers(self._loader), self._setting.seed, data_pass)


def _with_own_samplers(loader: DataLoader[Any]) -> DataLoader[Any]:
    """Return a copy whose samplers are copies; the dataset is the same."""
    memo = {id(loader.dataset): loader.dataset}
    return copy_loader(
        loader,
        DataLoader,
        batch_sampler=deepcopy(loader.batch_sampler, memo),
        sampler=deepcopy(loader.sampler, memo),
    )
