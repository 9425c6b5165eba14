"""Finding the files of one handler in a store."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from camshaft.engine import ArgumentError, ArgumentTypeError, EngineWarning, is_integer
from camshaft.handlers.checkpoint._errors import CheckpointError, NoCheckpointError
from camshaft.handlers.checkpoint._name_pattern import FIELDS, number_text
from camshaft.handlers.checkpoint._naming import Naming
from camshaft.handlers.checkpoint._number import as_score
from camshaft.handlers.checkpoint._retention import Item
from camshaft.handlers.checkpoint.format._file_name import printable, require_bare_name
from camshaft.handlers.checkpoint.storage._listing import CheckpointFile, CheckpointPath
from camshaft.handlers.checkpoint.storage._store import CheckpointStore, readable_list


def files_of_handler(
    store: CheckpointStore, naming: Naming, name: str | None, *, missing_ok: bool = False
) -> list[CheckpointFile]:
    """Return the files of a handler, the newest first.

    Args:
        store: Where they are.
        naming: How they are named.
        name: Name of their object, or ``"checkpoint"``; None for any.
        missing_ok: Whether a place that is not there has no files; else it is an error.

    Raises:
        NoCheckpointError: the place cannot be looked into.
    """
    return [item for item in readable_list(store, missing_ok=missing_ok) if _is_own(item, naming, name)]


def verified_items(
    store: CheckpointStore, files: Iterable[CheckpointFile], naming: Naming, *, skip: CheckpointPath | None, check: bool
) -> list[Item]:
    """Return what a retention list says of files, in the order of their saving.

    Args:
        store: Where they are.
        files: The files, newest first.
        naming: How they are named.
        skip: A file that is known to be sound, None for none.
        check: Whether to leave out files whose content is damaged, which takes reading them all.
    """
    items = []
    for item in reversed(list(files)):
        priority = _priority_of(item, naming)
        if priority is not None and (not check or item.path == skip or _is_sound(store, item.name)):
            items.append(Item(priority, item.name))
    return items


def without_later_steps(items: list[Item], loaded: str) -> list[Item]:
    """Return the items up to the step of the file that was loaded, whose run will not know of later ones.

    Such come from another run, or from one that went on from a file that will not do any more. In
    the list they would keep out all that is saved until their step is reached.
    """
    reached = next((item.priority for item in items if item.filename == loaded), math.inf)
    for item in items:
        if item.priority > reached:
            warnings.warn(
                f"{item.filename} is of a later step than {loaded}, which was restored; it stays where it is and is "
                "not counted among those kept",
                EngineWarning,
                stacklevel=3,
            )
    return [item for item in items if item.priority <= reached]


def warn_of_unknown_files(store: object, naming: Naming, name: str) -> None:
    """Warn if files of earlier saves by score are there, which a handler that was not restored cannot compare with.

    Only where file names have the name of the score: without it a step and a score look alike.

    Args:
        store: Where they are; one that cannot be looked into is not looked into.
        naming: How the handler's files are named.
        name: Name of their object, or ``"checkpoint"``.
    """
    if naming.score_name is None or "score_name" not in naming.pattern.fields or not isinstance(store, CheckpointStore):
        return
    try:
        found = files_of_handler(store, naming, name, missing_ok=True)
    except NoCheckpointError:
        return
    if found:
        warnings.warn(
            f"{store.location} holds {found[0].name}, which this Checkpoint has not saved: it will not "
            "compare with it or remove it. To resume, put this Checkpoint into the `to_save` of the one that saves the "
            "run, or call its restore_latest(); call reset() before a run that begins anew",
            EngineWarning,
            stacklevel=2,
        )


def later_items(
    store: CheckpointStore, naming: Naming, name: str | None, listed: Sequence[Item], most: int | None
) -> list[Item]:
    """Return what a handler has saved since its list was saved, in the order of the saves.

    Those are its sound files that are newer than every one in the list. If none of the list is left, they have taken
    its place, and are as many as the handler keeps: what is older may be of another run.

    Args:
        store: Where they are; one that cannot be looked into is taken for empty.
        naming: How the handler's files are named.
        name: Name of their object, or ``"checkpoint"``; None if it is not known which files are the handler's.
        listed: The list as it was saved.
        most: How many the handler keeps, None for all.
    """
    if name is None or naming.score_function is None:
        return []  # a later save by step is none of the run that goes on from here: it will get there again
    try:
        files = files_of_handler(store, naming, name, missing_ok=True)
    except NoCheckpointError:
        return []
    names = {item.filename for item in listed}
    later = list(takewhile(lambda item: item.name not in names, files))
    if later and not names:
        warnings.warn(
            f"{later[0].name} is there, and the saved list of checkpoints is empty: it is taken for a save of "
            "this run that came later, and is kept and compared with; call reset() if it is of another run",
            EngineWarning,
            stacklevel=3,
        )
    later = later if len(later) < len(files) else later[:most]
    return verified_items(store, later, naming, skip=None, check=most is not None)


def find_file(store: CheckpointStore, naming: Naming, components: Mapping[str, Any]) -> CheckpointFile:
    """Return the newest file of a handler with these components in its name.

    Raises:
        ArgumentError: names of this handler have no such component.
        NoCheckpointError: there is no such file.
    """
    for component in components:
        if component not in naming.pattern.fields:
            known = ", ".join(field for field in FIELDS if field in naming.pattern.fields)
            raise ArgumentError(
                f"`filename_components` must be among {known}, got {component!r}; the names are made like "
                f"{naming.pattern.template!r}"
            )
    known_text = {key: _component_text(value) for key, value in components.items()}
    for item in readable_list(store):
        if naming.parse(item.name, **known_text) is not None:
            return item
    raise NoCheckpointError(
        f"{store.location} has no checkpoint named like {naming.pattern.template!r} with {dict(components)}"
    )


def read_saved(state: object, naming: Naming, name: str | None, store: CheckpointStore | None) -> list[Item]:
    """Return the retention list that a handler's saved state holds.

    Args:
        state: What `Checkpoint.state_dict` gave out.
        naming: How the handler's files are named.
        name: Name of their object, or ``"checkpoint"``; None for any.
        store: Where they are; None when the save handler is no store.

    Raises:
        ArgumentTypeError: it is no mapping.
        ArgumentError: it has no list, an entry is no pair of a number and a name, or names a file
            that is not the handler's.
    """
    if not isinstance(state, Mapping):
        raise ArgumentTypeError(f"`state_dict` must be a mapping, got {state!r}")
    entries = state.get("_saved", state.get("saved"))
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ArgumentError(f"`state_dict` must have the key '_saved' with a list, got {dict(state)!r}")
    items = [_read_entry(entry) for entry in entries]
    if store is None:
        return items
    for item in items:
        require_bare_name(item.filename)
        if naming.parse(item.filename, name=name) is None:
            raise ArgumentError(
                f"`state_dict` must name files such as {naming.pattern.template!r} with the prefix "
                f"{naming.prefix!r} and the name {name!r}, got {item.filename!r}; it is not this handler's to remove"
            )
    return items


def without_missing(items: Iterable[Item], store: CheckpointStore, *, expected: bool) -> list[Item]:
    """Return the items whose files are there.

    Args:
        items: From a saved list.
        store: Where the files are.
        expected: Whether some were removed by later saves, as a matter of course; else there is a warning for each.
    """
    return [item for item in items if _is_there(store, item.filename, warn=not expected)]


def _read_entry(entry: Any) -> Item:
    is_pair = isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) == 2
    priority, filename = entry if is_pair else (None, None)
    if not (is_integer(priority) or isinstance(priority, float)) or not isinstance(filename, str):
        raise ArgumentError(f"`state_dict` must list pairs of a priority and a file name, got {entry!r}")
    return Item(as_score(priority), filename)


def _is_there(store: CheckpointStore, filename: str, *, warn: bool) -> bool:
    if store.has(filename):
        return True
    if warn:
        warnings.warn(
            f"{store.path_of(filename)} is in a saved list of checkpoints and is gone; it was dropped",
            EngineWarning,
            stacklevel=4,
        )
    return False


def _is_own(item: CheckpointFile, naming: Naming, name: str | None) -> bool:
    if naming.parse(item.name, name=name) is None:
        return False
    record = item.record
    # A record that names nothing comes from a save without a handler: then the file's name decides.
    return record is None or not record.name or (record.prefix, record.score_name) == (naming.prefix, naming.score_name)


def _priority_of(item: CheckpointFile, naming: Naming) -> float | None:
    if item.record is not None and item.record.priority is not None:
        return item.record.priority
    parts = naming.parse(item.name) or {}
    text = parts.get("score", parts.get("global_step", ""))
    try:
        return float(text) if "." in text or not text.lstrip("-").isdigit() else int(text)
    except ValueError:
        return None


def _is_sound(store: CheckpointStore, filename: str) -> bool:
    try:
        store.verify(filename)
    except (CheckpointError, OSError) as error:
        warnings.warn(printable(f"{error}; it was left out of the list of checkpoints"), EngineWarning, stacklevel=5)
        return False
    return True


def _component_text(value: Any) -> str:
    return number_text(value) if isinstance(value, float) else str(value)
