"""The list of kept checkpoints of a handler that goes on: from a saved list, or from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from camshaft.handlers.checkpoint._handler_files import (
    later_items,
    verified_items,
    without_later_steps,
    without_missing,
)
from camshaft.handlers.checkpoint._naming import Naming
from camshaft.handlers.checkpoint._retention import Item, ranked
from camshaft.handlers.checkpoint._saved_list import SavedList
from camshaft.handlers.checkpoint.storage._listing import CheckpointFile, CheckpointPath
from camshaft.handlers.checkpoint.storage._store import CheckpointStore


def list_from_state(
    items: Sequence[Item],
    store: CheckpointStore | None,
    naming: Naming,
    name: str | None,
    n_saved: int | None,
    *,
    greater_or_equal: bool,
) -> SavedList:
    """Return the list that was saved, brought up to date from the files.

    Args:
        items: What was saved, in the order of the list: of equal priorities the last one stays the last.
        store: Where the files are, None if nobody knows.
        naming: How they are named.
        name: Name of their object.
        n_saved: How many are kept.
        greater_or_equal: Whether a tie goes to the later one.
    """
    saved = SavedList.of(items, None, greater_or_equal=True)
    if store is not None:
        later = later_items(store, naming, name, saved.items, n_saved)
        kept = without_missing(saved.items, store, expected=bool(later))
        saved = SavedList(tuple(ranked(later, greater_or_equal=greater_or_equal, saved=kept)))
    # The latest has the highest step; which of several scores was the last to be saved is not told.
    if saved.items and naming.score_function is None:
        saved = replace(saved, newest=saved.items[-1].filename)
    return saved


def list_from_files(
    store: CheckpointStore,
    files: Sequence[CheckpointFile],
    naming: Naming,
    loaded: CheckpointPath,
    n_saved: int | None,
    greater_or_equal: bool,
) -> SavedList:
    """Return the list of what is there, once one of the files is loaded.

    Args:
        store: Where they are.
        files: The files, newest first.
        naming: How they are named.
        loaded: The one that is loaded.
        n_saved: How many are kept; damaged ones are left out, unless it is all.
        greater_or_equal: Whether a tie goes to the later one.
    """
    items = verified_items(store, files, naming, skip=loaded, check=n_saved is not None)
    if naming.score_function is None:
        items = without_later_steps(items, loaded.name)
    newest = items[-1].filename if items else None
    return SavedList.of(items, newest, greater_or_equal=greater_or_equal)
