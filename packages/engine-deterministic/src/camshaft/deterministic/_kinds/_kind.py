"""What every kind of data has in common."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from camshaft.deterministic._loading._fetch import Seeding
from camshaft.deterministic._loading._ranks import Ranks
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.deterministic._skip import Skip
from camshaft.engine import ArgumentTypeError, EngineWarning, Position

# In the states of several kinds: a hash of the batch given last, and of the indices that a sampler has drawn; what the
# user's objects remember; what is known of the pass that was left last, and of the last batch of one that has ended.
LAST, ORDER, MEMORY, ENDED, ENDED_BATCH = "last", "order", "memory", "ended", "ended_batch"
# In that of a list: the numbers and hashes of the batch that comes next, and of the last one as the step has left it.
NEXT, USED = "next", "used"
# What samplers have come to remember in a pass; how many batches they had drawn by then, if not those that were used.
LEARNED, DRAWN = "learned", "drawn"


class Setting(NamedTuple):
    """What the passes over some data depend on, beside the data.

    Attributes:
        seed: base seed; that of one rank, where the data has no order that the ranks share.
        ranks: which part of the work this process does.
        seeding: how fetches from map-style datasets are seeded, None to choose by the dataset.
        report: called with what differs from the saved run, by name: (saved, present).
        skip: batches that are left out; a kind that opens by index need not fetch them.
        isolates: whether all batches are drawn on streams of their own, none from the generators of the process.
    """

    seed: int
    ranks: Ranks
    seeding: Seeding | None
    report: Callable[[Mapping[str, tuple[Any, Any]]], None]
    skip: Skip = frozenset()
    isolates: bool = False


class Kind(Protocol):
    """One kind of data: opens its passes anywhere, as a `camshaft.engine.DataSource` does, and describes itself.

    Attributes:
        name: what the kind is called in descriptions and errors.
    """

    name: ClassVar[str]

    def __init__(self, data: Any, setting: Setting) -> None: ...

    @staticmethod
    def describe(data: Any, seeding: Seeding | None) -> dict[str, Any]:
        """Return what the passes over `data` depend on: strings, numbers, None and lists of them."""

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches still to come: of a new pass, or behind `position.batch` batches of an open one."""

    def state(self, position: Position) -> Any:
        """Return what `open` needs beside the position, inside a pass or between two; None for nothing."""

    def close(self) -> None:
        """Let go of workers and iterators."""


@runtime_checkable
class Recalling(Protocol):
    """A kind of data whose objects remember something between two passes."""

    def recall(self, state: Any) -> None:
        """Put back what they remembered when `state` was taken between two passes.

        This is done as soon as a state is loaded, where the program can still change these objects for the next pass.
        """


def stream_seed(setting: Setting, data_pass: int) -> int:
    """Return the seed of the streams of a pass; each batch has one of its own under it, by its number."""
    return derive_seed(setting.seed, data_pass, "stream")


def require_place(batch: int, length: int | None, setting: Setting) -> None:
    """Report it if a pass of a known length has no such place."""
    if length is not None and batch > length:
        setting.report({"batches": (f"at least {batch}", length)})


def require_description(described: object, method: str) -> Mapping[str, Any]:
    """Return what a method has returned as a description, or refuse it.

    Args:
        described: what it has returned.
        method: the method, for people.

    Raises:
        ArgumentTypeError: it is not a mapping.
    """
    if not isinstance(described, Mapping):
        raise ArgumentTypeError(f"{method} must return a dict of strings and numbers, got {described!r}")
    return described


def entries_of(state: object) -> Mapping[str, Any]:
    """Return a saved state as a mapping, an empty one when it is none."""
    return state if isinstance(state, Mapping) else {}


def without_empty(**entries: Any) -> dict[str, Any] | None:
    """Return the entries that say something, None if there is none."""
    kept = {name: value for name, value in entries.items() if value is not None and value is not False}
    return kept or None


def warn_of_lost_batch(position: Position, data: Any) -> None:
    """Warn if the run was left with a batch in hand, which data that has moved on does not give again."""
    if position.holds_batch:
        warnings.warn(
            f"the run was left with a batch fetched for iteration {position.iteration + 1}: {type(data)} has moved on, "
            "so that batch is lost and the next one takes its place; interrupt() keeps it",
            EngineWarning,
            stacklevel=2,
        )
