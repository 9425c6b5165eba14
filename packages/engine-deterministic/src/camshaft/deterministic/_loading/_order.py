"""Which samples each batch of a pass is made of."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import count
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic._inside import find_generators
from camshaft.deterministic._loading._keyed_sampler import KeyedSampler
from camshaft.deterministic._random._rng import isolated
from camshaft.deterministic._random._seeds import derive_seed

# How many indices are made numbers of Python at a time.
_BLOCK = 1 << 12
# For so many of the latest batches it is known what was drawn before them: workers fetch ahead.
_REMEMBERED = 1 << 10


class Batch(NamedTuple):
    """The samples of one batch.

    Attributes:
        start: how many samples the order has before them.
        indices: what the dataset is asked for.
    """

    start: int
    indices: Sequence[Any]


class Order(Protocol):
    """The batches of one pass."""

    @property
    def length(self) -> int | None:
        """How many batches there are, None when only drawing them all would tell."""

    def batches(self, first: int) -> Iterator[Batch]:
        """Return the batches from number `first` on, 0-based."""

    drawn: int | None  # how many batches were drawn; of a streamed order the end counts as one

    def drawn_hash(self, number: int) -> str | None:
        """Return a hash of what was drawn before batch `number`; None where the order cannot come out differently."""


class IndexedOrder:
    """An order whose every position can be looked up: any batch is reached without the ones before it.

    Args:
        positions: indices in their order, sliced with numbers: 8 bytes each, or computed.
        lookup: where an index is found under its position; None: the position is the index.
        batch_size: samples in a batch.
        drop_last: leave out a last batch that is not full.
    """

    drawn: int | None = 0

    def __init__(self, positions: Any, lookup: Sequence[Any] | None, batch_size: int, drop_last: bool) -> None:
        self._positions = positions
        self._lookup = lookup
        self._batch_size = batch_size
        self._drop_last = drop_last

    @property
    def length(self) -> int:
        """How many batches there are."""
        size = len(self._positions)
        return size // self._batch_size if self._drop_last else -(-size // self._batch_size)

    def batches(self, first: int) -> Iterator[Batch]:
        """Return the batches from number `first` on, 0-based."""
        step = self._batch_size
        end = self.length * step
        # A list may be changed while it is used: each batch has what is there when it is drawn, as with torch's loader.
        block = step if isinstance(self._positions, list) else max(1, _BLOCK // step) * step
        for block_start in range(first * step, end, block):
            numbers = self._positions[block_start : min(block_start + block, end)]
            if isinstance(numbers, torch.Tensor):
                numbers = numbers.tolist()
            for offset in range(0, len(numbers), step):
                chosen = numbers[offset : offset + step]
                indices = list(chosen) if self._lookup is None else [self._lookup[number] for number in chosen]
                self.drawn = (block_start + offset) // step + 1
                yield Batch(block_start + offset, indices)

    def drawn_hash(self, number: int) -> str | None:
        """Return None: the order follows from the seed."""
        del number
        return None


class StreamedOrder:
    """An order that only its sampler knows: drawn batch by batch, each on streams of its own.

    Nothing is drawn before it is needed, so endless samplers, and those that look at the training,
    work as with a plain loader.

    Args:
        sampler: what yields batches, or indices when `is_batched` is False.
        seed: seed of the pass's order.
        is_batched: whether the sampler yields batches.
    """

    length = None
    drawn: int | None = 0

    def __init__(self, sampler: Any, seed: int, is_batched: bool) -> None:
        self._sampler = sampler
        self._seed = seed
        self._is_batched = is_batched
        self._hasher = blake2b(digest_size=8)
        self._hashes: deque[tuple[int, str]] = deque([(0, self._hasher.hexdigest())], maxlen=_REMEMBERED)

    def batches(self, first: int) -> Iterator[Batch]:
        """Return the batches from number `first` on, 0-based; those before are drawn and dropped."""
        private = find_generators(self._sampler)
        start = 0
        with isolated(self._seed, private) as reseed:
            reseed(self._draw_seed(0))
            iterator = iter(self._sampler)
            for number in range(first):
                if number:
                    reseed(self._draw_seed(number))
                indices = self._draw(iterator, number)
                if indices is None:
                    return
                start += len(indices)
        for number in count(first):
            with isolated(self._draw_seed(number), private):
                indices = self._draw(iterator, number)
            if indices is None:
                return
            yield Batch(start, indices)
            start += len(indices)

    def drawn_hash(self, number: int) -> str | None:
        """Return a hash of the indices of all batches before `number`, None when that is not remembered."""
        return dict(self._hashes).get(number)

    def _draw_seed(self, number: int) -> int:
        return derive_seed(self._seed, number)

    def _draw(self, iterator: Iterator[Any], number: int) -> list[Any] | None:
        """Return the indices of the next batch, None at the end."""
        drawn: Any = next(iterator, _END)
        self.drawn = number + 1
        if drawn is _END:
            return None
        indices = list(drawn) if self._is_batched else [drawn]  # here: a batch may be a generator that draws only now
        if indices and isinstance(indices[0], torch.Tensor):  # parts of one tensor, which may be changed later
            indices = [each.clone() if isinstance(each, torch.Tensor) else each for each in indices]
        self._hasher.update(repr(indices).encode())
        self._hashes.append((number + 1, self._hasher.hexdigest()))
        return indices


_END = object()


def draw_order(loader: DataLoader[Any], seed: int, data_pass: int) -> Order:
    """Return the order of a pass over a loader with indices: a function of (seed, pass) alone.

    The generators of the process and of the samplers are left as they were; `set_epoch(data_pass)`
    is called on the dataset and on the samplers where they have it.
    """
    tell_pass(loader, data_pass)
    order_seed = derive_seed(seed, data_pass, "order")
    outer = loader.batch_sampler
    if outer is None:
        return _known_order(loader.sampler, order_seed, 1, False) or StreamedOrder(loader.sampler, order_seed, False)
    if type(outer) is BatchSampler:
        known = _known_order(outer.sampler, order_seed, outer.batch_size, outer.drop_last)
        if known is not None:
            return known
    return StreamedOrder(outer, order_seed, True)


def tell_pass(loader: DataLoader[Any], data_pass: int) -> None:
    """Call `set_epoch` of the dataset and of the samplers, where they have it."""
    for part in (loader.dataset, *sampler_chain(loader)):
        tell_epoch(part, data_pass)


def tell_epoch(part: Any, epoch: int) -> None:
    """Call `set_epoch(epoch)` of an object, if it has that."""
    set_epoch = getattr(part, "set_epoch", None)
    if callable(set_epoch):
        set_epoch(epoch)


def sampler_chain(loader: DataLoader[Any]) -> list[Any]:
    """Return the samplers of a loader, from the outermost to the innermost."""
    chain: list[Any] = []
    outer = getattr(loader, "batch_sampler", None)
    part: Any = getattr(loader, "sampler", None) if outer is None else outer
    while part is not None and not any(part is known for known in chain):
        chain.append(part)
        inner = getattr(part, "batch_sampler", None)
        part = getattr(part, "sampler", None) if inner is None else inner
    return chain


def _known_order(sampler: Any, seed: int, batch_size: int, drop_last: bool) -> IndexedOrder | None:
    """Return the order of one of torch's own samplers, or of a keyed one, None for any other.

    Subclasses are any other: they may iterate differently.
    """
    generator = torch.Generator().manual_seed(seed)
    kind = type(sampler)
    lookup = None
    positions: Any
    if kind is SequentialSampler:
        positions = range(len(sampler.data_source))
    elif kind in (range, list, tuple):
        positions = sampler
    elif kind is RandomSampler:
        positions = _shuffled(sampler, generator)
    elif kind is SubsetRandomSampler:
        positions, lookup = torch.randperm(len(sampler.indices), generator=generator), sampler.indices
    elif kind is WeightedRandomSampler:
        positions = torch.multinomial(sampler.weights, sampler.num_samples, sampler.replacement, generator=generator)
    elif kind is DistributedSampler:
        positions = torch.tensor(list(sampler))
    elif kind is KeyedSampler:
        positions = sampler.order(seed)
    else:
        return None
    return IndexedOrder(positions, lookup, batch_size, drop_last)


def _shuffled(sampler: RandomSampler, generator: torch.Generator) -> torch.Tensor:
    size, count = len(sampler.data_source), sampler.num_samples
    if sampler.replacement:
        return torch.randint(size, (count,), generator=generator)
    if count <= size:
        return torch.randperm(size, generator=generator)[:count]
    rounds = [torch.randperm(size, generator=generator) for _ in range(-(-count // size))]
    return torch.cat(rounds)[:count]
