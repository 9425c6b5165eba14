"""A loader opened at a position: any batch of any pass, without the ones before it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.utils.data import DataLoader

from camshaft.deterministic._copy import copy_loader, plain_kind
from camshaft.deterministic._fetch import SeededDataset, Seeding, Token, WorkerSetup, fetches_at_once, identity
from camshaft.deterministic._order import Batch, draw_order, is_drawn_twice, sampler_chain
from camshaft.deterministic._seeds import derive_seed


def choose_seeding(dataset: Any, seeding: Seeding | None) -> Seeding:
    """Return how fetches are seeded: as asked for, else by what the data set can do."""
    if seeding is not None:
        return seeding
    return "batch" if fetches_at_once(dataset) else "sample"


class Share:
    """This process's share of the work: its rank among how many, as a sampler says, else the process group."""

    def __init__(self, data: object) -> None:
        self.world_size, self.rank = 1, 0
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self.world_size, self.rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
        for part in sampler_chain(data) if isinstance(data, DataLoader) else []:
            world_size, rank = getattr(part, "num_replicas", None), getattr(part, "rank", None)
            if isinstance(world_size, int) and isinstance(rank, int):
                self.world_size, self.rank = world_size, rank


class IndexedSource:
    """Opens the passes of one loader with indices, through a twin of it that fetches with seeds.

    Args:
        loader: the user's loader; it is not changed.
        seeding: how fetches are seeded.
    """

    def __init__(self, loader: DataLoader[Any], seeding: Seeding) -> None:
        self._tokens = TokenSource(len_of=loader)
        self._generator = torch.Generator()
        is_batched = loader.batch_sampler is not None
        self._twin = copy_loader(
            loader,
            plain_kind(loader),
            dataset=SeededDataset(loader.dataset, loader.collate_fn, seeding, is_batched),
            batch_sampler=self._tokens,
            collate_fn=identity,
            worker_init_fn=WorkerSetup(loader.worker_init_fn),
            generator=self._generator,
            in_order=True,  # an order that depends on which worker is faster could not be repeated
        )

    def open(self, loader: DataLoader[Any], seed: int, data_pass: int, first: int) -> Iterator[Any]:
        """Return the batches of a pass from number `first` on; nothing before is fetched.

        The generators of the process are left as they were. At the end of a pass no worker is started.
        """
        order = draw_order(loader, seed, data_pass)
        batches = order.batches(first)
        if first and (order.length is None or first >= order.length):
            head = next(batches, None)
            if head is None:
                return iter(())
            batches = chain((head,), batches)
        share = Share(loader)
        self._tokens.turn_to(tokens(batches, seed, data_pass, first, share.rank, is_drawn_twice(loader)))
        self._generator.manual_seed(derive_seed(seed, data_pass, "workers"))
        return iter(self._twin)


class TokenSource:
    """The batch sampler of a twin loader: gives out the tokens that it was turned to last.

    Args:
        len_of: the loader whose length it has.
    """

    def __init__(self, len_of: DataLoader[Any]) -> None:
        self._sampler: Any = len_of.sampler if len_of.batch_sampler is None else len_of.batch_sampler
        self._tokens: Iterator[Token] = iter(())

    def turn_to(self, tokens: Iterator[Token]) -> None:
        """Give out these tokens in the next iteration."""
        self._tokens = tokens

    def __iter__(self) -> Iterator[Token]:
        return self._tokens

    def __len__(self) -> int:
        return len(self._sampler)


def tokens(
    batches: Iterable[Batch], seed: int, data_pass: int, first: int, rank: int, is_by_position: bool
) -> Iterator[Token]:
    """Yield the tokens of batches, the first of which has the number `first` in its pass.

    Samples are seeded by their index; where an index may be drawn twice, by their place in the order.
    """
    key = derive_seed(seed, data_pass)
    for number, batch in enumerate(batches, first):
        batch_key = derive_seed(key, "batch", number, rank)
        yield Token(batch.indices, data_pass, number, key, batch_key, batch.start if is_by_position else None)


class SourceCache:
    """The sources of an engine: those of loaders with persistent workers keep them from pass to pass."""

    def __init__(self) -> None:
        self._sources: WeakKeyDictionary[DataLoader[Any], IndexedSource] = WeakKeyDictionary()

    def get(self, loader: DataLoader[Any], seeding: Seeding) -> IndexedSource:
        """Return the source of a loader; with persistent workers it lives as long as the loader."""
        if not (loader.persistent_workers and loader.num_workers > 0):
            return IndexedSource(loader, seeding)
        if loader not in self._sources:
            self._sources[loader] = IndexedSource(loader, seeding)
        return self._sources[loader]

    def clear(self) -> None:
        """Let go of all workers."""
        self._sources.clear()


def end_workers(iterator: Iterator[Any] | None) -> None:
    """End the workers of a loader's iterator now, whoever still refers to it: a traceback, say.

    Left to the garbage collector, torch waits five seconds for each of them.
    """
    if isinstance(iterator, Generator):  # the iteration of a subclass
        iterator.close()
    shut_down = getattr(iterator, "_shutdown_workers", None)  # torch has no public name for it
    if callable(shut_down):
        # Torch tells of a killed worker by raising anywhere; the run has been told, or has no need of it any more.
        with suppress(RuntimeError):
            shut_down()
