"""Which checkpoints to keep: pure functions of the list of those saved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Item(NamedTuple):
    """A saved checkpoint: its priority (higher is better) and its file name."""

    priority: float
    filename: str


class Plan(NamedTuple):
    """What a save does to the list: which items are kept, lowest priority first, and which are dropped."""

    keep: tuple[Item, ...]
    drop: tuple[Item, ...]


def plan(
    saved: Sequence[Item],
    new: Item,
    n_saved: int | None,
    *,
    greater_or_equal: bool = False,
    writes_again: bool = True,
) -> Plan | None:
    """Return what becomes of the list when `new` is saved, or None when it is not worth saving.

    While there is room everything is kept. Then `new` must be better than the worst of those that
    stay. NaN is worse than every number. A `new` with the file name of an item in the list takes
    its place and pushes nothing else out, unless it is worse than that item. A list longer than
    `n_saved` is cut to size.

    Args:
        saved: The list so far, lowest priority first. It stays as it is.
        new: What would be saved.
        n_saved: How many to keep, None for all.
        greater_or_equal: Whether a tie goes to the later one.
        writes_again: Whether `new` takes the place of an item that has its priority, too: the later state of one step.

    Examples:
        >>> saved = [Item(0.5, "a.pt"), Item(0.7, "b.pt")]
        >>> [item.filename for item in plan(saved, Item(0.6, "c.pt"), n_saved=2).keep]
        ['c.pt', 'b.pt']
        >>> plan(saved, Item(0.5, "c.pt"), n_saved=2) is None
        True
    """
    is_again = any(item.filename == new.filename and _rank(item) == _rank(new) for item in saved)
    if (is_again and not writes_again) or not _is_worth_it(saved, new, n_saved, greater_or_equal=greater_or_equal):
        return None
    others = [item for item in saved if item.filename != new.filename]
    kept = _inserted(others, new, after_ties=greater_or_equal)
    surplus = 0 if n_saved is None else max(0, len(kept) - n_saved)
    return Plan(tuple(kept[surplus:]), tuple(kept[:surplus]))


def surplus(saved: Sequence[Item], written: Item) -> Plan:
    """Return what becomes of the list when an item was written that is not worth keeping any more.

    Examples:
        >>> surplus([Item(2, "b.pt")], Item(1, "a.pt"))
        Plan(keep=(Item(priority=2, filename='b.pt'),), drop=(Item(priority=1, filename='a.pt'),))
    """
    is_listed = any(item.filename == written.filename for item in saved)
    return Plan(tuple(saved), () if is_listed else (written,))


def ranked(items: Iterable[Item], *, greater_or_equal: bool = False, saved: Sequence[Item] = ()) -> list[Item]:
    """Return items from the lowest priority to the highest.

    Args:
        items: In the order of their saving.
        greater_or_equal: Whether of equal ones the later is the higher.
        saved: A list that is ranked already, which they are added to.
    """
    result = list(saved)
    for item in items:
        result = _inserted(result, item, after_ties=greater_or_equal)
    return result


def best(saved: Sequence[Item]) -> Item | None:
    """Return the item with the highest priority; NaN does not count, so a list of nothing else has no best."""
    return saved[-1] if saved and not math.isnan(saved[-1].priority) else None


def is_behind(saved: Sequence[Item], new: Item) -> bool:
    """Return whether something in the list has a higher priority than `new`, and nothing the same."""
    ranks = [_rank(item) for item in saved]
    return _rank(new) not in ranks and any(_rank(new) < rank for rank in ranks)


def _is_worth_it(saved: Sequence[Item], new: Item, n_saved: int | None, *, greater_or_equal: bool) -> bool:
    if any(item.filename == new.filename and _rank(item) > _rank(new) for item in saved):
        return False
    if n_saved is None or len(saved) < n_saved:
        return True
    to_beat = _rank(saved[len(saved) - n_saved])
    return _rank(new) > to_beat or (greater_or_equal and _rank(new) == to_beat)


def _inserted(items: Sequence[Item], new: Item, *, after_ties: bool) -> list[Item]:
    rank = _rank(new)
    place = sum(1 for item in items if _rank(item) < rank or (after_ties and _rank(item) == rank))
    return [*items[:place], new, *items[place:]]


def _rank(item: Item) -> tuple[bool, float]:
    """Return what items are compared by: every NaN is the same, and less than minus infinity."""
    return (False, 0.0) if math.isnan(item.priority) else (True, item.priority)
