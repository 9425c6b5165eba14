"""Find out whether the samples of a dataset depend on nothing but their seeds."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import IterableDataset

from camshaft.deterministic._fetch import BatchRequest, SeededDataset
from camshaft.deterministic._seeds import derive_seed
from camshaft.engine import ArgumentTypeError


class Impurity(NamedTuple):
    """A sample that came out differently under the same seed.

    Attributes:
        index: what the dataset was asked for.
        where: the part of the sample that differs, as it would be written behind the sample.
        first, second: that part, as text.
    """

    index: Any
    where: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"sample {self.index!r}: {self.where or 'the sample'} was {self.first} and then {self.second}"


class PurityReport(NamedTuple):
    """What `check_purity` found.

    Attributes:
        checked: how many samples were fetched twice.
        impure: those that differed.
    """

    checked: int
    impure: tuple[Impurity, ...]

    @property
    def is_pure(self) -> bool:
        """Whether no sample differed."""
        return not self.impure

    def __str__(self) -> str:
        if self.is_pure:
            return f"pure: {self.checked} samples came out the same twice"
        lines = "\n".join(f"  {each}" for each in self.impure)
        return (
            f"impure: {len(self.impure)} of {self.checked} samples came out differently under one seed; a generator of "
            f"the dataset's own, or a memory across samples? Give it a method set_sample_seed(seed).\n{lines}"
        )


def check_purity(dataset: Any, indices: Iterable[Any] | None = None, *, seed: int = 0) -> PurityReport:
    """Fetch samples twice under the same seeds, the second time in another order, and compare.

    If the dataset passes, a `DeterministicEngine` gives bitwise the same batches. A dataset fails if it remembers
    earlier samples, looks at the time, or draws from a generator that cannot be found. With a method
    `set_sample_seed(seed)`, which is called before each sample, it can seed such a generator itself.
    The generators of the process are left as they were.

    Args:
        dataset: dataset with indices.
        indices: samples to look at; None: up to 32, spread over the whole dataset.
        seed: base seed.

    Returns:
        The report; `str()` of it is readable.

    Raises:
        ArgumentTypeError: the dataset has no indices.

    Examples:
        >>> import itertools, random
        >>> class Dice(torch.utils.data.Dataset):
        ...     def __init__(self, throw) -> None:
        ...         self.throw = throw
        ...     def __len__(self) -> int:
        ...         return 5
        ...     def __getitem__(self, index: int) -> int:
        ...         return self.throw()
        >>> check_purity(Dice(random.random)).is_pure, check_purity(Dice(itertools.count().__next__)).is_pure
        (True, False)
    """
    if isinstance(dataset, IterableDataset) or not hasattr(type(dataset), "__getitem__"):
        raise ArgumentTypeError(f"`dataset` must be asked for samples by index, got {dataset!r}")
    chosen = list(_spread(len(dataset), 32) if indices is None else indices)
    seeded = SeededDataset(dataset, _first, "sample", is_batched=True)
    places = list(enumerate(chosen))
    first = [_fetch(seeded, index, place, seed) for place, index in places]
    second = [_fetch(seeded, index, place, seed) for place, index in reversed(places)][::-1]
    found = (_compare(index, *pair) for index, *pair in zip(chosen, first, second, strict=True))
    return PurityReport(len(chosen), tuple(each for each in found if each is not None))


def _spread(length: int, count: int) -> list[int]:
    """Return up to `count` indices, spread over a dataset, its first and last among them."""
    count = min(length, count)
    return [number * (length - 1) // max(1, count - 1) for number in range(count)]


def _first(samples: list[Any]) -> Any:
    # Frozen now: a dataset may hand out the same object again, changed.
    return pickle.loads(pickle.dumps(samples[0]))  # noqa: S301  # written in the same line


def _fetch(seeded: SeededDataset, index: Any, place: int, seed: int) -> Any:
    return seeded.__getitems__(BatchRequest([index], 0, 0, derive_seed(seed, 0), 0, place))


def _compare(index: Any, first: Any, second: Any) -> Impurity | None:
    found = find_difference(first, second, "")
    return None if found is None else Impurity(index, *found)


def find_difference(first: Any, second: Any, where: str) -> tuple[str, str, str] | None:
    """Return the first part in which two samples differ: its place and both values, as text; None if there is none.

    Args:
        first: a sample.
        second: what it is compared with.
        where: how the two are reached, as text that the place begins with; "" at the top.
    """
    if type(first) is not type(second):
        return where, _short(first), _short(second)
    parts = _parts(first), _parts(second)
    if parts[0] is None or parts[1] is None:
        return None if _is_equal(first, second) else (where, _short(first), _short(second))
    if list(parts[0]) != list(parts[1]):
        return where, _short(first), _short(second)
    found = (find_difference(part, parts[1][name], where + name) for name, part in parts[0].items())
    return next((each for each in found if each is not None), None)


def _parts(value: Any) -> dict[str, Any] | None:
    """Return the parts of a container by how they are reached, None for a value without parts."""
    if isinstance(value, Mapping):
        return {f"[{key!r}]": part for key, part in value.items()}
    if isinstance(value, list | tuple):
        return {f"[{number}]": part for number, part in enumerate(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f".{field.name}": getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _is_equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return bool(first.dtype == second.dtype and first.shape == second.shape) and _bytes(first) == _bytes(second)
    if isinstance(first, np.ndarray | np.generic):
        return bool(first.dtype == second.dtype and first.shape == second.shape) and first.tobytes() == second.tobytes()
    return pickle.dumps(first) == pickle.dumps(second)


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
