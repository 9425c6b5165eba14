"""Loaders made from loaders, and a batch sampler that can begin later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar, cast

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
    default_convert,
)
from torch.utils.data.dataloader import _BaseDataLoaderIter
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic._loading._keyed_sampler import KeyedSampler
from camshaft.engine import ArgumentError, ArgumentTypeError, as_integer

L = TypeVar("L", bound="DataLoader[Any]")

# Samplers of torch that give single indices.
_SINGLE = (
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    DistributedSampler,
    KeyedSampler,
)


def is_map_style(data: object) -> bool:
    """Return whether `data` is a loader of a map-style dataset, which is asked for samples by index."""
    return isinstance(data, DataLoader) and not isinstance(data.dataset, IterableDataset)


def is_iterable_style(data: object) -> bool:
    """Return whether `data` is a loader of an iterable-style dataset, which decides itself what comes next."""
    return isinstance(data, DataLoader) and isinstance(data.dataset, IterableDataset)


def iterates_as_torch(loader: DataLoader[Any]) -> bool:
    """Return whether a loader's class gives the batches of its batch sampler, one by one, as torch's own does.

    The `StatefulDataLoader` of torchdata does, too.
    """
    for kind in type(loader).__mro__:
        if kind is DataLoader or kind.__module__.startswith("torchdata.stateful_dataloader"):
            return True
        if {"__iter__", "__next__", "_get_iterator"} & set(vars(kind)):
            return False
    return True


def is_copyable(loader: DataLoader[Any]) -> bool:
    """Return whether a loader is what torch's constructor made of it: not one that only stands in for another."""
    return {"dataset", "sampler", "batch_sampler", "collate_fn", "num_workers"} <= set(vars(loader))


def require_copyable(loader: DataLoader[Any]) -> None:
    """Refuse a loader that cannot be copied attribute by attribute.

    Raises:
        ArgumentError: it holds an iterator of its own, made when it was constructed.
    """
    for name, value in vars(loader).items():
        if name != "_iterator" and isinstance(value, _BaseDataLoaderIter):
            raise ArgumentError(
                f"`{name}` of a {type(loader).__name__} must not be an iterator made with the loader, got {value!r}; "
                "it would go on with its own batches: use a plain DataLoader"
            )


def plain_class(loader: DataLoader[Any]) -> type[DataLoader[Any]]:
    """Return the class of a copy that fetches in a way of our own: a loader that saves its position must not."""
    return DataLoader if hasattr(loader, "load_state_dict") else type(loader)


def copy_loader(loader: DataLoader[Any], kind: type[L], **changes: Any) -> L:
    """Return a loader of class `kind` with every attribute of the old one but those in `changes`.

    No constructor is called, so a subclass may have any.
    """
    copy = object.__new__(kind)
    attributes = vars(copy)
    attributes.update(vars(loader))
    if kind is not type(loader):  # the plain class keeps the context under a name of its own
        attributes["_DataLoader__multiprocessing_context"] = loader.multiprocessing_context
    attributes.update(_iterator=None, _IterableDataset_len_called=None, **changes)
    return copy


def update_dataloader(dataloader: L, new_batch_sampler: Iterable[Any]) -> L:
    """Return a loader like `dataloader` that takes its batches from another batch sampler.

    Class and every option stay: workers, pinning, prefetching, persistence, multiprocessing
    context, generator, collating, worker_init_fn, timeout. The old loader is not changed.

    Args:
        dataloader: loader of a dataset with indices.
        new_batch_sampler: gives lists of indices.

    Raises:
        ArgumentTypeError: `dataloader` is no DataLoader, or `new_batch_sampler` cannot be iterated.
        ArgumentError: the loader has no indices to give out, or cannot be copied.

    Examples:
        >>> from torch.utils.data import BatchSampler, DataLoader
        >>> loader = DataLoader(range(6), batch_size=4)
        >>> [batch.tolist() for batch in update_dataloader(loader, BatchSampler(range(6), 3, False))]
        [[0, 1, 2], [3, 4, 5]]
    """
    if not isinstance(dataloader, DataLoader):
        raise ArgumentTypeError(f"`dataloader` must be a torch DataLoader, got {dataloader!r}")
    if not _is_iterable(new_batch_sampler):
        raise ArgumentTypeError(f"`new_batch_sampler` must give lists of indices, got {new_batch_sampler!r}")
    if is_iterable_style(dataloader):
        raise ArgumentError(f"`dataloader` must have a dataset with indices, got one of {type(dataloader.dataset)}")
    require_copyable(dataloader)
    sampler = getattr(new_batch_sampler, "sampler", None)
    collate_fn = dataloader.collate_fn
    if dataloader.batch_sampler is None and collate_fn is default_convert:
        collate_fn = default_collate  # the default for single samples makes no batches
    return copy_loader(
        dataloader,
        type(dataloader),
        batch_sampler=new_batch_sampler,
        sampler=SequentialSampler(cast("Any", dataloader.dataset)) if sampler is None else sampler,
        batch_size=None,
        drop_last=False,
        collate_fn=collate_fn,
    )


class ReproducibleBatchSampler(BatchSampler):
    """A batch sampler that can begin at a later batch, once.

    Each iteration draws anew from `batch_sampler`. The batches before `start_iteration` are drawn
    and dropped, which fetches no sample. `DeterministicEngine` needs none of this: it is for loops
    that position a loader themselves.

    Attributes:
        batch_sampler: the sampler inside.
        start_iteration: where the next iteration begins; used once, then None.

    Args:
        batch_sampler: gives lists of indices; anything that can be iterated again and again.
        start_iteration: batches to leave out at the next iteration.

    Raises:
        ArgumentTypeError: `batch_sampler` gives single indices, or can be iterated once only.
        ArgumentError: `start_iteration` is not an integer of at least 0.

    Examples:
        >>> from torch.utils.data import BatchSampler
        >>> sampler = ReproducibleBatchSampler(BatchSampler(range(6), 2, False), start_iteration=2)
        >>> list(sampler), list(sampler), len(sampler)
        ([[4, 5]], [[0, 1], [2, 3], [4, 5]], 3)
    """

    def __init__(self, batch_sampler: Any, start_iteration: int | None = None) -> None:
        is_once = isinstance(batch_sampler, Iterator)
        if not _is_iterable(batch_sampler) or is_once or isinstance(batch_sampler, (str, bytes, DataLoader, *_SINGLE)):
            raise ArgumentTypeError(
                f"`batch_sampler` must give lists of indices at each iteration, got {batch_sampler!r}"
            )
        self.batch_sampler = batch_sampler
        self.sampler = getattr(batch_sampler, "sampler", None)  # type: ignore[assignment]  # may be without one
        self.batch_size = getattr(batch_sampler, "batch_size", None)  # type: ignore[assignment]  # as above
        self.drop_last = getattr(batch_sampler, "drop_last", False)
        self.start_iteration = start_iteration

    @property
    def start_iteration(self) -> int | None:
        """Where the next iteration begins; used once, then None."""
        return self._start_iteration

    @start_iteration.setter
    def start_iteration(self, value: int | None) -> None:
        self._start_iteration = None if value is None else as_integer("start_iteration", value, least=0)

    def __iter__(self) -> Iterator[list[int]]:
        # Runs at the first batch: a DataLoader with workers makes two iterators and uses the second one.
        start, self.start_iteration = self.start_iteration or 0, None
        yield from islice(self.batch_sampler, start, None)

    def __len__(self) -> int:
        return len(self.batch_sampler)


def _is_iterable(value: object) -> bool:
    """Return whether `iter()` takes `value`: torch's samplers may have the older protocol."""
    return isinstance(value, Iterable) or hasattr(type(value), "__getitem__")
