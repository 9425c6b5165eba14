"""Why data may come out differently after a resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from camshaft.deterministic._audit._leaf import Leaves, differing, leaves_of
from camshaft.deterministic._audit._snapshot import GENERATOR, snapshot
from camshaft.deterministic._checks._purity import check_purity
from camshaft.deterministic._inside import GENERATORS, search
from camshaft.deterministic._kinds import kind_of
from camshaft.deterministic._loading._copy import is_copyable, is_map_style
from camshaft.deterministic._random._rng_state import capture_rng, restore_rng
from camshaft.engine import has_state

_MOST_NAMED = 4


def explain(make_data: Callable[[], Any]) -> list[str]:
    """Return what speaks against resuming over some data exactly, as lines for people.

    Args:
        make_data: returns the data as it was given to a run, new each time.
    """
    data = make_data()
    lines = [f"the data is of the kind: {kind_of(data).name}"]
    if isinstance(data, DataLoader) and is_copyable(data) and is_map_style(data):
        report = check_purity(data)
        lines += [] if report.is_pure else str(report._replace(impure=report.impure[:_MOST_NAMED])).splitlines()[1:]
        data = make_data()  # the caches of the first may be full by now, and change no more
    else:
        lines += [f"a random generator of its own: {name}" for name in _named_generators(data)]
    return [*lines, *_list_changes(data)]


def _named_generators(data: Any) -> list[str]:
    found = search(("data", data))
    return [each.where for each in found if isinstance(each.value, GENERATORS)][:_MOST_NAMED]


def _list_changes(data: Any) -> Iterator[str]:
    """Yield what changes in the data while it is drawn from, and whether its state has that."""
    put_back = capture_rng()
    before = snapshot({"data": data})
    for _ in islice(iter(data), 3):
        pass
    changed = [name for name in differing(before, snapshot({"data": data})) if not name.endswith(GENERATOR)]
    restore_rng(put_back)
    saved = _saved_names(data)
    for name in changed[:_MOST_NAMED]:
        lacks = f"; the state_dict() of {saved[0]} lacks it" if saved and not _is_in(name, saved[1]) else ""
        yield f"memory: {name} changes while the data is drawn from{lacks}"
    if len(changed) > _MOST_NAMED:
        yield f"memory: {len(changed) - _MOST_NAMED} more like these"


def _saved_names(data: Any) -> tuple[str, Leaves] | None:
    """Return the class of what saves the place of the data, and the names in its state; None if nothing does."""
    for each in (data, getattr(data, "dataset", None)):
        if each is not None and has_state(each):
            return type(each).__qualname__, leaves_of(each.state_dict())
    return None


def _is_in(name: str, saved: Leaves) -> bool:
    attribute = name.rpartition(".")[2].partition("[")[0].strip("_)")
    return any(attribute in place for place in saved)
