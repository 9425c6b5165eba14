"""What the processes of a run do together when they save and restore: decided by one, and done by all or by none.

Alone, each function just does what it is given.
"""

from __future__ import annotations

import errno
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from camshaft.engine import Ranks, RanksError, ranks
from camshaft.handlers.checkpoint._errors import CheckpointError, CheckpointWriteError

Result = TypeVar("Result")


class OtherRankError(CheckpointError):
    """Another process could not do its part; the text names it, and says why.

    Attributes:
        kind: The class of what was raised there.
    """

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


def together(what: str, do: Callable[[], Result]) -> Result:
    """Do something in every process; raise in all of them if it fails in one.

    Args:
        what: What is done, in words; the same in all processes.
        do: Does this process's part.

    Returns:
        What `do` has returned here.

    Raises:
        OtherRankError: another process could not do its part.
        Exception: what `do` has raised here.

    Examples:
        >>> together("the sum", lambda: 1 + 1)
        2
    """
    result, _ = _share(what, do, tells=False)
    return result


def tell(what: str, decide: Callable[[], Result], rank: int) -> Result:
    """Let one process decide something, and return it in all of them.

    Args:
        what: What is decided, in words; the same in all processes.
        decide: Returns it; only called in the process that decides, or where the process is alone.
        rank: Which one decides.

    Raises:
        OtherRankError: the process could not decide.
        Exception: what `decide` has raised here.
    """
    if ranks().size == 1:
        return decide()
    told: Any = _share(what, decide if ranks().rank == rank else lambda: None, tells=True)[1][rank]
    return told  # type: ignore[no-any-return]  # what `decide` has returned there


def told_by_all(what: str, do: Callable[[], Result], here: Ranks | None = None) -> list[Result]:
    """Do something in every process, and return what each has got; raise in all of them if it fails in one.

    Args:
        what: What is done, in words; the same in all processes.
        do: Does this process's part.
        here: This process among the others; None for the way that a run takes.

    Raises:
        OtherRankError: another process could not do its part.
        Exception: what `do` has raised here.
    """
    result, told = _share(what, do, tells=True, here=here)
    return told or [result]


def tell_all(what: str, do: Callable[[], Result], rank: int) -> Result:
    """Do something in every process, and return what one of them has got; raise in all of them if it fails in one.

    Args:
        what: What is done, in words; the same in all processes.
        do: Does this process's part.
        rank: Whose result counts.

    Raises:
        OtherRankError: another process could not do its part.
        Exception: what `do` has raised here.
    """
    result, told = _share(what, do, tells=True)
    return told[rank] if told else result


@contextmanager
def as_write_error_of_rank(filename: str) -> Iterator[None]:
    """Turn what another process could not write into a `CheckpointWriteError`."""
    try:
        yield
    except OtherRankError as error:
        raise CheckpointWriteError(errno.EIO, f"could not be written: {error}", filename) from error


class RanksOfGroup:
    """The processes of a group of torch, which no run uses: for what is exchanged in the background.

    It does not keep the group, which ends with all others, its threads too.

    Args:
        group: The group.
    """

    def __init__(self, group: Any) -> None:
        self._group = weakref.ref(group)
        self.rank, self.size = int(group.rank()), int(group.size())

    @property
    def group(self) -> Any:
        """The group, None if it has ended."""
        return self._group()

    def exchange(self, what: str, value: Any) -> list[Any]:
        """Give a value to all processes, and return theirs by rank."""
        found: list[Any] = [None] * self.size
        sys.modules["torch.distributed"].all_gather_object(found, value, group=self.group)
        return found


def _share(
    what: str, do: Callable[[], Result], *, tells: bool, here: Ranks | None = None
) -> tuple[Result, list[Result]]:
    here = here or ranks()
    if here.size == 1:
        return do(), []
    result: Any = None
    failure: Exception | None = None
    try:
        result = do()
    except RanksError:
        raise  # they are not together any more
    except Exception as error:  # noqa: BLE001 - raised again below, once the others know
        failure = error
    said = None if failure is None else (type(failure).__name__, " ".join(str(failure).split()))
    answers = here.exchange(what, (said, result if tells else None))
    if failure is not None:
        raise failure
    failed = [(rank, *other) for rank, (other, _) in enumerate(answers) if other is not None]
    if failed:
        text = "; ".join(f"rank {rank}: {reason} ({kind})" for rank, kind, reason in failed)
        raise OtherRankError(text, failed[0][1])
    return result, [told for _, told in answers]
