"""Iterators that users' objects keep from one pass to the next: where they stand cannot be saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch.utils.data.dataloader import _BaseDataLoaderIter

from camshaft.deterministic._memory._kept_value import has_value
from camshaft.deterministic._memory._variable import holders_of, variables_of

# In the states of several kinds: in which variables there were some.
ITERATORS = "iterators"


class KeptIterators:
    """The iterators in the variables of some objects.

    An iterator that a pass has left may be made anew as the next pass begins, or asked for more. Nobody knows before it
    happens. So in a new process something else takes its place, which reports it when it is asked.

    Attributes:
        at_start: in which variables there were some as the pass began, None for nowhere.

    Args:
        owners: the objects.
        report: called with what differs from the saved run.
    """

    def __init__(self, owners: Sequence[Any], report: Callable[..., None]) -> None:
        self.at_start: list[str] | None = None
        self._owners = owners
        self._report = report

    def names(self) -> list[str] | None:
        """Return in which variables there are iterators now, None for nowhere."""
        found = [
            name
            for owner in self._owners
            for name, variable in variables_of(holders_of(owner)).items()
            if is_plain_iterator(variable.read())
        ]
        return found or None

    def begin(self, saved: Mapping[str, Any], *, is_new: bool, goes_on: bool) -> None:
        """Note which there are as a pass is opened; in a new process, let something stand for those of the saved run.

        Args:
            saved: the state with which the pass is opened.
            is_new: whether no pass was opened before.
            goes_on: whether it is opened inside.
        """
        if is_new:
            self.at_start = saved.get(ITERATORS)
            self._lose(self.at_start or ())
        elif not goes_on:
            self.at_start = self.names()

    def _lose(self, names: Sequence[str]) -> None:
        for owner in self._owners if names else ():
            for name, variable in variables_of(holders_of(owner)).items():
                if name in names and not callable(value := variable.read()):
                    variable.write(LostIterator(name, value, self._report))


class LostIterator(Iterator[Any]):
    """Stands for an iterator whose place was not saved.

    Args:
        name: the variable that had it.
        present: what a new process has there; if it may go on all the same, that is iterated over.
        report: called when it is asked.
    """

    def __init__(self, name: str, present: Any, report: Callable[..., None]) -> None:
        self._name = name
        self._batches: Iterator[Any] = present if is_plain_iterator(present) else iter(())
        self._report: Callable[..., None] | None = report

    def __next__(self) -> Any:
        if self._report is not None:
            self._report({f"place of the iterator `{self._name}`, kept over passes": ("left in the middle", "unknown")})
            self._report = None
        return next(self._batches)


def is_plain_iterator(value: Any) -> bool:
    """Return whether something is an iterator of Python's, or torch's over a loader, that cannot be saved."""
    if isinstance(value, _BaseDataLoaderIter):
        return True
    is_of_python = type(value).__module__ in ("builtins", "itertools")
    return is_of_python and hasattr(type(value), "__next__") and not has_value(value)
