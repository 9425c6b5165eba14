"""A shuffled order without a list of indices: a permutation computed from a key, index by index."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from camshaft.deterministic._random._seeds import derive_seed
from camshaft.engine import ArgumentError, ArgumentTypeError, as_integer, is_integer, length_of

# Up to here a table takes less than the rounds do, and the halves of an index would be too narrow to mix well.
TABLE_SIZE = 1 << 10
_ROUNDS = 10
_BLOCK = 1 << 12
_MIX_1 = np.uint64(0xFF51_AFD7_ED55_8CCD)
_MIX_2 = np.uint64(0xC4CE_B9FE_1A85_EC53)
_SHIFT = np.uint64(32)


class KeyedPermutation:
    """A permutation of `0 .. size - 1` that a key decides; any part of it is computed on its own.

    A network of `_ROUNDS` Feistel rounds permutes the smallest power of two that holds `size`;
    what falls outside is sent through again until it falls inside.

    Args:
        size: how many indices there are.
        key: 64-bit number.

    Examples:
        >>> order = KeyedPermutation(10**9, key=1)
        >>> order[0:3] == order[0:10][:3]
        True
        >>> sorted(KeyedPermutation(5, key=1)[0:5])
        [0, 1, 2, 3, 4]
    """

    def __init__(self, size: int, key: int) -> None:
        self.size = size
        bits = max(1, (size - 1).bit_length())
        self._low_bits = np.uint64(bits // 2)
        self._low_mask = np.uint64((1 << (bits // 2)) - 1)
        self._high_mask = np.uint64((1 << (bits - bits // 2)) - 1)
        self._keys = [np.uint64(derive_seed(key, size, number)) for number in range(_ROUNDS)]
        self._table: NDArray[np.int64] | None = None
        if size <= TABLE_SIZE:
            ranks = np.array([derive_seed(key, size, number) for number in range(size)], dtype=np.uint64)
            self._table = np.argsort(ranks, kind="stable").astype(np.int64)

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, where: slice) -> list[int]: ...
    @overload
    def __getitem__(self, where: int) -> int: ...
    def __getitem__(self, where: slice | int) -> list[int] | int:
        if isinstance(where, slice):
            return [*self.at(np.arange(*where.indices(self.size), dtype=np.int64)).tolist()]
        if not -self.size <= where < self.size:
            raise IndexError(f"position {where} is outside a permutation of {self.size}")
        return int(self.at(np.array([where % self.size], dtype=np.int64))[0])

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what stands at `positions`, all of them from 0 to size - 1."""
        if self._table is not None:
            return self._table[positions]
        values = self._permute(positions.astype(np.uint64))
        outside = np.flatnonzero(values >= self.size)
        while outside.size:
            values[outside] = self._permute(values[outside])
            outside = outside[values[outside] >= self.size]
        return values.astype(np.int64)

    def _permute(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        high, low = values >> self._low_bits, values & self._low_mask
        for number, key in enumerate(self._keys):
            if number % 2 == 0:
                high = high ^ (_mix(low, key) & self._high_mask)
            else:
                low = low ^ (_mix(high, key) & self._low_mask)
        return (high << self._low_bits) | low


def _mix(values: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """Scatter `values` over 64 bits; the upper half, which depends on all of them, is returned."""
    mixed = (values ^ key) * _MIX_1
    mixed ^= mixed >> _SHIFT
    mixed *= _MIX_2
    return mixed >> _SHIFT


class KeyedSampler(Sampler[int]):
    """Sample every index once, in an order that is computed and never stored.

    It is for datasets that are so large that a list of their indices hurts. The memory that it takes does not
    grow with the dataset, and iteration can begin anywhere in the order without delay. With a seed, the order is a
    function of seed and epoch. Several ranks share one order and take turns.

    Args:
        data_source: the dataset, or the number of its samples.
        seed: decides the orders. None draws a new order from torch's generator at each iteration; within a
            `DeterministicEngine` its base seed and the pass decide the order.
        num_replicas, rank: how many ranks share the order, and which of them this one is.
        drop_last: leave out the last indices, where they do not divide evenly among the ranks;
            else the first ones of the order are given again to fill up.
        global_batch_size: fill up, or leave out, whole batches of all ranks together. Then each step has the same
            samples for any number of ranks that divides it, whatever the length; loaders have a batch size of
            ``global_batch_size // num_replicas``. None: only up to what divides among the ranks.

    Raises:
        ArgumentTypeError: `data_source` has no length and is not an integer.
        ArgumentError: a size, `num_replicas` or `rank` is out of range, or `global_batch_size` is no multiple of
            `num_replicas`.

    Examples:
        >>> sampler = KeyedSampler(10, seed=3)
        >>> sorted(sampler) == list(range(10)), list(sampler) == list(sampler)
        (True, True)
        >>> sampler.set_epoch(1)

    Sources:
        Luby and Rackoff, How to construct pseudorandom permutations (1988); Black and Rogaway,
        Ciphers with arbitrary finite domains (2002), for the walk back into the range.
    """

    def __init__(
        self,
        data_source: Sized | int,
        *,
        seed: int | None = None,
        num_replicas: int = 1,
        rank: int = 0,
        drop_last: bool = False,
        global_batch_size: int | None = None,
    ) -> None:
        if length_of(data_source) is None:
            if not is_integer(data_source):
                raise ArgumentTypeError(f"`data_source` must have a length or be an integer, got {data_source!r}")
            data_source = as_integer("data_source", data_source)
        self.data_source = data_source
        self.seed = None if seed is None else as_integer("seed", seed)
        self.num_replicas = as_integer("num_replicas", num_replicas, least=1)
        self.rank = as_integer("rank", rank, least=0)
        self.drop_last = drop_last
        unit = self.num_replicas if global_batch_size is None else global_batch_size
        self.global_batch_size = as_integer("global_batch_size", unit, least=1)
        self.epoch = 0
        if self.size < 1:
            raise ArgumentError(f"`data_source` must have at least one sample, got {self.size}")
        if self.global_batch_size % self.num_replicas:
            raise ArgumentError(
                f"`global_batch_size` must be a multiple of `num_replicas`, {self.num_replicas}, got "
                f"{global_batch_size!r}; each rank takes the same share of it"
            )
        if self.rank >= self.num_replicas:
            raise ArgumentError(f"`rank` must be from 0 to {self.num_replicas - 1}, got {rank!r}")

    @property
    def size(self) -> int:
        """How many samples the dataset has now."""
        return self.data_source if isinstance(self.data_source, int) else len(self.data_source)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration, for a sampler with a seed.

        Args:
            epoch: number of the epoch; each has an order of its own.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        unit = self.global_batch_size
        batches = self.size // unit if self.drop_last else -(-self.size // unit)
        return batches * unit // self.num_replicas

    def __iter__(self) -> Iterator[int]:
        order = self.order(int(torch.empty((), dtype=torch.int64).random_().item()))
        for start in range(0, len(order), _BLOCK):
            yield from order[start : start + _BLOCK]

    def order(self, key: int) -> KeyedOrder:
        """Return this rank's order of the present epoch; `key` decides it where there is no seed."""
        if self.seed is not None:
            key = derive_seed(self.seed, "keyed", self.epoch)
        return KeyedOrder(KeyedPermutation(self.size, key), len(self), self.num_replicas, self.rank)


class KeyedOrder:
    """One rank's share of a keyed permutation, sliced like a list."""

    def __init__(self, permutation: KeyedPermutation, length: int, num_replicas: int, rank: int) -> None:
        self._permutation = permutation
        self._length = length
        self._num_replicas = num_replicas
        self._rank = rank

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, where: slice) -> list[int]:
        turns = np.arange(*where.indices(self._length), dtype=np.int64)
        positions = (turns * self._num_replicas + self._rank) % self._permutation.size
        return [*self._permutation.at(positions).tolist()]
