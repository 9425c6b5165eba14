"""The generators of this process as plain values that load safely."""

from __future__ import annotations

import ctypes
import pickle
import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from camshaft.deterministic._random._accelerator import missing_accelerators, read_accelerators, write_accelerators
from camshaft.engine import StateDictError

_KEYS = ("python", "numpy", "torch", "accelerators")
# The Mersenne Twister of numpy: 624 words, and the place in them.
_TWISTER_BYTES = 625 * 4


class GeneratorStates(NamedTuple):
    """Where the generators stand, as the libraries give it out; it is not to be changed."""

    python: tuple[Any, ...]
    numpy: Mapping[str, Any]
    torch: torch.Tensor
    accelerators: dict[str, torch.Tensor]

    def saved(self) -> dict[str, Any]:
        """Return the same as plain values, as `capture_rng` does."""
        version, words, gauss = self.python
        return {
            "python": {"version": version, "words": torch.tensor(words, dtype=torch.int64), "gauss": gauss},
            "numpy": _plain(self.numpy),
            "torch": self.torch,
            "accelerators": self.accelerators,
        }


def read_rng() -> GeneratorStates:
    """Return where the generators stand, within 10 us where numpy's has not moved since the last call."""
    return GeneratorStates(random.getstate(), _numpy.read(), torch.default_generator.get_state(), read_accelerators())


class Mark(NamedTuple):
    """Where the generators of the process stand, to be compared: it is read within 10 us."""

    python: tuple[Any, ...]
    numpy: Any
    torch: torch.Tensor

    def is_at(self, other: Mark) -> bool:
        """Return whether the generators stand there."""
        return self[:2] == other[:2] and torch.equal(self.torch, other.torch)


def mark_rng() -> Mark:
    """Return where `random`, `numpy.random` and torch's CPU generator stand."""
    return Mark(random.getstate(), _numpy.mark(), torch.default_generator.get_state())


def mark_private(generator: Any) -> bytes:
    """Return where a generator object stands, to be compared."""
    if isinstance(generator, torch.Generator):
        return generator.get_state().numpy().tobytes()
    if isinstance(generator, random.Random):
        return repr(generator.getstate()).encode()
    if isinstance(generator, np.random.RandomState):
        return pickle.dumps(generator.get_state(legacy=False))
    return pickle.dumps(generator.bit_generator.state)


class _NumpyReader:
    """Reads the state of `numpy.random`, which takes 25 us, only where its memory has changed."""

    def __init__(self) -> None:
        self._memory = b""
        self._state: dict[str, Any] = {}

    def mark(self) -> Any:
        """Return what changes when a number is drawn."""
        bit_generator = np.random.get_bit_generator()  # type: ignore[attr-defined]  # public, but not in the stubs
        if type(bit_generator) is not np.random.MT19937:
            return repr(np.random.get_state(legacy=False))
        return ctypes.string_at(bit_generator.ctypes.state_address, _TWISTER_BYTES)

    def read(self) -> dict[str, Any]:
        bit_generator = np.random.get_bit_generator()  # type: ignore[attr-defined]  # public, but not in the stubs
        if type(bit_generator) is not np.random.MT19937:
            return dict(np.random.get_state(legacy=False))
        memory = ctypes.string_at(bit_generator.ctypes.state_address, _TWISTER_BYTES)
        # A second normal number that is kept for the next call lies elsewhere.
        if memory != self._memory or self._state["has_gauss"]:
            self._memory, self._state = memory, dict(np.random.get_state(legacy=False))
        return self._state


_numpy = _NumpyReader()


def capture_rng() -> dict[str, Any]:
    """Return the state of python's, numpy's and torch's generators and of the accelerators in use.

    Tensors, numbers, strings, lists and dicts only: `torch.load(weights_only=True)` takes it.

    Examples:
        >>> import torch
        >>> saved = capture_rng()
        >>> first = torch.rand(3)
        >>> restore_rng(saved)
        >>> torch.equal(first, torch.rand(3))
        True
    """
    return read_rng().saved()


def restore_rng(states: Mapping[str, Any]) -> None:
    """Put back what `capture_rng` returned; devices that this machine lacks are left out."""
    python = states["python"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    np.random.set_state(_lists(states["numpy"]))
    torch.set_rng_state(states["torch"].cpu())
    accelerators = dict(states["accelerators"])
    for name in missing_accelerators(accelerators):
        del accelerators[name]
    write_accelerators(accelerators)


def check_rng(states: object) -> None:
    """Refuse what `restore_rng` could not put back.

    Raises:
        StateDictError: an entry is missing or of a wrong kind; the generators are unchanged.
    """
    if not isinstance(states, Mapping):
        raise StateDictError(f"`rng_states` must be None or a mapping, got {type(states)}")
    missing = [key for key in _KEYS if key not in states]
    if missing:
        raise StateDictError(f"`rng_states` must have the keys {', '.join(_KEYS)}, got none named {missing[0]!r}")
    probe = capture_rng()
    try:
        restore_rng({**states, "accelerators": {}})
    except Exception as error:
        raise StateDictError(f"`rng_states` must be what `state_dict` wrote, got entries that fail: {error}") from error
    finally:
        restore_rng({**probe, "accelerators": {}})


def _plain(value: Any) -> Any:
    """Return numpy's nested state with tensors in the place of arrays."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.astype(np.int64))
    return value.item() if isinstance(value, np.generic) else value


def _lists(value: Any) -> Any:
    """Return what `_plain` made with lists in the place of tensors, which is what numpy takes."""
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, torch.Tensor) else value
