"""Why data may come out differently after a resume."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from camshaft.deterministic._audit._leaf import differing, leaves_of
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
        lines += [] if report.is_pure else str(report).splitlines()[1:]
        data = make_data()  # the caches of the first may be full by now, and change no more
    else:
        lines += [f"a random generator of its own: {name}" for name in _named_generators(data)]
    return [*lines, *_list_changes(data)]


def _named_generators(data: Any) -> list[str]:
    found = search(("data", data))
    return [each.where for each in found if isinstance(each.value, GENERATORS)][:_MOST_NAMED]


def _list_changes(data: Any) -> Iterator[str]:
    """Yield what changes in the data while it is drawn from, beside its state, and whether its state names that."""
    saver = _saver_in(data)
    saved = () if saver is None else (saver,)  # what its state has is there to change
    put_back = capture_rng()
    before = snapshot({"data": data}, saved)
    for _ in islice(iter(data), 3):
        pass
    changed = [name for name in differing(before, snapshot({"data": data}, saved)) if not name.endswith(GENERATOR)]
    restore_rng(put_back)
    entries = _entry_names(saver)
    for name in changed[:_MOST_NAMED]:
        is_lacking = saver is not None and _attribute_in(name) not in entries
        lacks = f"; the state_dict() of {type(saver).__qualname__} has no entry of that name" if is_lacking else ""
        yield f"memory: {name} changes while the data is drawn from{lacks}"
    if len(changed) > _MOST_NAMED:
        yield f"memory: {len(changed) - _MOST_NAMED} more like these"


def _saver_in(data: Any) -> Any:
    """Return what saves the place of the data; None if nothing does."""
    return next((each for each in (data, getattr(data, "dataset", None)) if each is not None and has_state(each)), None)


def _entry_names(saver: Any) -> set[str]:
    """Return the names in a state, also those in containers in it."""
    places = () if saver is None else leaves_of(saver.state_dict())
    return {name.strip("_") for place in places for name in re.findall(r"\w+", place)}


def _attribute_in(place: str) -> str:
    return place.rpartition(".")[2].partition("[")[0].strip("_)")
