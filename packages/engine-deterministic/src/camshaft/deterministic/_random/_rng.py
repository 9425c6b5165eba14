"""The random number generators of this process: seed them, keep them, put them back."""

from __future__ import annotations

import operator
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch

from camshaft.deterministic._random._accelerator import seed_accelerators
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.engine import ArgumentError, ArgumentTypeError, is_integer

Undo: TypeAlias = Callable[[], None]

_MASK_32 = 0xFFFF_FFFF


def seed_generators(seed: int) -> None:
    """Seed `random`, `numpy.random` and torch's CPU generator with one 64-bit seed, within 7 us.

    Torch and numpy run the same algorithm and take 32 bits: each gets its own half of the seed,
    else both would draw the same numbers.
    """
    random.seed(seed)
    _seed_numpy(seed >> 32)
    torch.default_generator.manual_seed(seed)


def seed_everything(seed: int) -> None:
    """Seed the generators of `seed_generators` and those of all accelerators."""
    torch.manual_seed(seed)
    seed_accelerators(seed)
    seed_generators(seed)


def _seed_numpy(seed: int) -> None:
    try:
        np.random.seed(seed)
    except TypeError:  # the process put another bit generator in the place of the Mersenne Twister
        bit_generator = np.random.get_bit_generator()  # type: ignore[attr-defined]  # public, but not in the stubs
        bit_generator.state = type(bit_generator)(seed).state


def read_numpy() -> dict[str, Any]:
    """Return the state of `numpy.random` in a form that is quick to put back.

    Putting a state back takes 2 us with a list of numbers and 35 us with an array of them.
    """
    state: dict[str, Any] = np.random.get_state(legacy=False)
    key = state["state"].get("key")
    if isinstance(key, np.ndarray):
        state["state"]["key"] = key.tolist()
    return state


def remember_generators() -> Undo:
    """Return a call that puts `random`, `numpy.random` and torch's CPU generator back."""
    python_state = random.getstate()
    numpy_state = read_numpy()
    torch_state = torch.default_generator.get_state()

    def put_back() -> None:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.default_generator.set_state(torch_state)

    return put_back


# The generators belong to the process: one thread at a time has its own streams on them.
_locks = [threading.RLock()]


def _renew_lock() -> None:
    """Forget, in a forked process, which thread of the old one had the generators."""
    _locks[0] = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def only_thread() -> AbstractContextManager[Any]:
    """Return what keeps other threads from isolating, or fetching, until this one has put the generators back."""
    return _locks[0]


@contextmanager
def unless_another_thread_isolates() -> Iterator[bool]:
    """Give whether no other thread is isolating; if so, none does in this block. It waits for nobody."""
    lock = _locks[0]
    is_free = lock.acquire(blocking=False)
    try:
        yield is_free
    finally:
        if is_free:
            lock.release()


@contextmanager
def isolated(seed: int, private: Sequence[Any] = ()) -> Iterator[Callable[[int], None]]:
    """Run a block on streams of its own: seeded before it, put back after it.

    Args:
        seed: seed of the block's streams.
        private: further generators to seed and put back: torch's, numpy's and python's objects.

    Returns:
        Context manager; its value seeds the block's streams anew.
    """
    with only_thread():
        yield from _isolate(seed, private)


def _isolate(seed: int, private: Sequence[Any]) -> Iterator[Callable[[int], None]]:
    put_back = [remember_generators(), *map(remember_private, private)]

    def reseed(seed: int) -> None:
        seed_generators(seed)
        for number, generator in enumerate(private):
            seed_private(generator, derive_seed(seed, "private", number))

    reseed(seed)
    try:
        yield reseed
    finally:
        for undo in put_back:
            undo()


def remember_private(generator: Any) -> Undo:
    """Return the call that puts a generator object back."""
    if isinstance(generator, torch.Generator):
        return partial(_void, generator.set_state, generator.get_state())
    if isinstance(generator, random.Random):
        return partial(generator.setstate, generator.getstate())
    if isinstance(generator, np.random.RandomState):
        return partial(generator.set_state, generator.get_state(legacy=False))
    return partial(setattr, generator.bit_generator, "state", generator.bit_generator.state)


def seed_private(generator: Any, seed: int) -> None:
    """Seed a generator object."""
    if isinstance(generator, torch.Generator):
        generator.manual_seed(seed)
    elif isinstance(generator, random.Random):
        generator.seed(seed)
    elif isinstance(generator, np.random.RandomState):
        generator.seed(seed & _MASK_32)
    else:
        generator.bit_generator.state = type(generator.bit_generator)(seed).state


def _void(call: Callable[[Any], object], argument: Any) -> None:
    call(argument)


def manual_seed(seed: int) -> None:
    """Seed `random`, `numpy.random`, torch and every accelerator.

    Called before a new run it decides the run's base seed. The numbers are those that the three
    libraries give for this seed; numpy takes its lowest 32 bits.

    Args:
        seed: an integer from -2**63 to 2**64 - 1.

    Raises:
        ArgumentTypeError: `seed` is no integer.
        ArgumentError: `seed` is out of range; nothing was seeded.

    Examples:
        >>> import random
        >>> manual_seed(56)
        >>> random.random() == random.Random(56).random()
        True
    """
    if not is_integer(seed):
        raise ArgumentTypeError(f"`seed` must be an integer, got {seed!r}")
    seed = operator.index(seed)
    check_seed(seed)
    random.seed(seed)
    _seed_numpy(seed & _MASK_32)
    torch.manual_seed(seed)
    seed_accelerators(seed)


def draw_seed() -> int:
    """Return a base seed from torch's default generator."""
    return int(torch.randint(0, 2**63 - 1, ()).item())


def check_seed(seed: int) -> None:
    """Refuse what torch does not take as a seed.

    Raises:
        ArgumentError: `seed` is out of range.
    """
    if not -(2**63) <= seed < 2**64:
        raise ArgumentError(f"`seed` must be in the range -2**63 to 2**64 - 1, got {seed!r}")
