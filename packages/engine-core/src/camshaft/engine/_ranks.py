"""The processes that train together, as everything that runs in one of them sees the others."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from camshaft.engine._errors import ArgumentTypeError


@runtime_checkable
class Ranks(Protocol):
    """This process among those that train together.

    What handlers need to agree on goes through here, so that they know nothing of how processes talk.

    Attributes:
        rank: the number of this process, from 0.
        size: how many processes there are.
    """

    rank: int
    size: int

    def exchange(self, what: str, value: Any) -> list[Any]:
        """Give `value` to all processes, and return theirs by rank. Every process has to call it at the same place.

        Args:
            what: what is exchanged, in words. All processes say the same; that is checked, and is in every error.
            value: anything that pickles; tensors on the CPU.

        Returns:
            The values of all processes; the one at `rank` is this process's own.
        """


class OneRank:
    """The process is alone. This is what counts until `use_ranks` says otherwise.

    Examples:
        >>> OneRank().exchange("the best score", 0.5)
        [0.5]
    """

    rank = 0
    size = 1

    def exchange(self, what: str, value: Any) -> list[Any]:
        """Return `value`, the only one there is.

        Args:
            what: what is exchanged, in words.
            value: anything.
        """
        return [value]


_ALONE = OneRank()


class _Process:
    """What this process knows of the others."""

    ranks: Ranks = _ALONE


def ranks() -> Ranks:
    """Return this process among those that train together: rank 0 of 1, until `use_ranks` was called.

    Examples:
        >>> ranks().rank, ranks().size
        (0, 1)
    """
    return _Process.ranks


def use_ranks(value: Ranks | None) -> None:
    """Say how this process reaches the others; `camshaft.distributed.start` does.

    Args:
        value: the ranks; None for a process that is alone.

    Raises:
        ArgumentTypeError: `value` has no rank, size and exchange.
    """
    if value is not None and not isinstance(value, Ranks):
        raise ArgumentTypeError(f"`value` must have rank, size and exchange, got {value!r}")
    _Process.ranks = _ALONE if value is None else value
