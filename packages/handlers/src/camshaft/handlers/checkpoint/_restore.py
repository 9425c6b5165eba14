"""From files back into objects: from a given file, or from the newest that can be loaded."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, overload

from camshaft.engine import EngineWarning, RanksError, ranks
from camshaft.handlers.checkpoint._errors import CheckpointMismatchError, NoCheckpointError
from camshaft.handlers.checkpoint._objects import Objects, load, require_objects, states_for
from camshaft.handlers.checkpoint._together import OtherRankError, tell, together
from camshaft.handlers.checkpoint.format._file_name import printable
from camshaft.handlers.checkpoint.storage._listing import CheckpointFile, CheckpointPath
from camshaft.handlers.checkpoint.storage._place import Place, open_checkpoint, open_store
from camshaft.handlers.checkpoint.storage._store import CheckpointStore, readable_list


@dataclass(frozen=True)
class LoadReport:
    """What was restored from where.

    Attributes:
        path: The file that was loaded; its URL where it is not a file of this machine.
        step: The step it is of, None if unknown.
        save_number: Counts the saves into the directory; None for a file that plain `torch.save` wrote.
        inexact: Whether the save was taken where a run cannot be continued exactly, for example inside a
            failing iteration.
        score_name, priority: What the file says about its score. `priority` is the step if there is no score.
        skipped: Files that were passed over, each with the reason: newer ones, and damaged ones that do
            not tell their age any more.
        nan_scores: How many of the checkpoints that were looked at have NaN for a score.
    """

    path: CheckpointPath
    step: float | None
    save_number: int | None = None
    inexact: bool = False
    score_name: str | None = None
    priority: float | None = None
    skipped: tuple[tuple[CheckpointPath, str], ...] = ()
    nan_scores: int = 0


def load_objects(
    to_load: Objects,
    checkpoint: Mapping[str, Any] | str | os.PathLike[str],
    *,
    trusted: bool = False,
    map_location: Any = "cpu",
    **kwargs: Any,
) -> None:
    """Load a checkpoint into objects. If one of them refuses its state, none is changed.

    A file is verified first, and nothing in it is run. While loading, main memory also holds a
    copy of the state that the objects had.

    Args:
        to_load: Names and objects; may be fewer than were saved.
        checkpoint: A file, its URL, or what `torch.load` made of one. Of a single object it may be the
            state itself.
        trusted: Whether to run what is in the file, follow links and read what cannot be verified.
        map_location: For `torch.load`.
        **kwargs: For the `load_state_dict` of modules, for example ``strict=False``.

    Raises:
        CheckpointMismatchError: it lacks an object.
        CheckpointDamagedError: the file is not what was written.
        CheckpointUnsafeError: the file would have to be trusted.
        OSError: the file cannot be read.
        Exception: what an object raises that cannot load its state.

    Examples:
        >>> import torch
        >>> from camshaft.handlers import Checkpoint
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> Checkpoint.load_objects({"model": model}, {"model": {"weight": torch.ones(1, 2)}})
        >>> model.weight.tolist()
        [[1.0, 1.0]]
    """
    require_objects(to_load, "to_load")
    if isinstance(checkpoint, str | os.PathLike):
        store, filename = open_checkpoint(checkpoint)
        load_stored(to_load, store, filename, trusted=trusted, map_location=map_location, **kwargs)
    else:
        load(to_load, states_for(to_load, checkpoint), **kwargs)


def load_stored(
    to_load: Objects,
    store: CheckpointStore,
    filename: str,
    *,
    trusted: bool = False,
    map_location: Any = "cpu",
    **kwargs: Any,
) -> None:
    """Do what `load_objects` does, from a checkpoint of a store."""
    require_objects(to_load, "to_load")
    stored = store.read(filename, to_load, trusted=trusted, map_location=map_location)
    load(to_load, states_for(to_load, stored.payload, stored.record), **kwargs)


@overload
def restore_latest(
    dirname: Place,
    to_load: Objects,
    *,
    filename_prefix: str | None = None,
    trusted: bool = False,
    strict: bool = True,
    map_location: Any = "cpu",
    missing_ok: Literal[False] = False,
) -> LoadReport: ...


@overload
def restore_latest(
    dirname: Place,
    to_load: Objects,
    *,
    filename_prefix: str | None = None,
    trusted: bool = False,
    strict: bool = True,
    map_location: Any = "cpu",
    missing_ok: bool,
) -> LoadReport | None: ...


def restore_latest(
    dirname: Place,
    to_load: Objects,
    *,
    filename_prefix: str | None = None,
    trusted: bool = False,
    strict: bool = True,
    map_location: Any = "cpu",
    missing_ok: bool = False,
) -> LoadReport | None:
    """Load the newest sound checkpoint of a directory that has all the objects.

    Newest is the one with the highest save number; files that plain `torch.save` wrote come after
    those with one, ordered by the step in their name, then by time. Damaged files that do not tell
    their age are looked at first, so that they are reported. Files that are damaged, lack an
    object or do not fit are passed over. All objects are loaded, or none is changed.

    Where several processes train together (`camshaft.distributed`), all of them have to call it, with a directory that
    all of them see. One of them chooses; all read and verify the same file, and all load it or none does.

    Args:
        dirname: The directory, its URL, or a store.
        to_load: Names and the objects to load.
        filename_prefix: Only look at files with this prefix, ``""`` for those without one; None looks at all.
        trusted: Whether to run what is in the files, follow links and read what cannot be verified.
        strict: For the `load_state_dict` of modules.
        map_location: For `torch.load`.
        missing_ok: Whether to return None, and not raise, where nothing has been saved yet: the directory is missing,
            or has no file of this prefix. So the same line begins a run and continues it. Files that are there and
            cannot be loaded are an error all the same.

    Returns:
        What was loaded, and what was passed over for which reason; None if nothing was there.

    Raises:
        NoCheckpointError: no file can be loaded; the text says why.
        ConnectionError: a remote place does not answer any more.
        ArgumentTypeError: `to_load` holds something that cannot load a state.

    Examples:
        >>> import tempfile, torch
        >>> from camshaft.engine import Engine, Events
        >>> from camshaft.handlers import Checkpoint
        >>> trainer, model = Engine(lambda engine, batch: None), torch.nn.Linear(2, 1)
        >>> objects = {"trainer": trainer, "model": model}
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     handle = trainer.add_event_handler(Events.EPOCH_COMPLETED, Checkpoint(objects, directory))
        ...     state = trainer.run([1, 2, 3], max_epochs=2)
        ...     report = restore_latest(directory, objects)
        >>> report.path.name, report.step, report.skipped
        ('checkpoint_6.pt', 6, ())
    """
    require_objects(to_load, "to_load")
    store = open_store(dirname)

    def find() -> list[CheckpointFile]:
        files = readable_list(store, missing_ok=missing_ok)
        return [item for item in files if _has_prefix(item, filename_prefix)]

    find_together = partial(tell, "the checkpoints to restore from", find, 0)
    candidates = find_together()
    if missing_ok and not candidates:
        return None
    options = {"strict": strict}
    report, _ = load_newest(
        store, candidates, find_together, to_load, trusted=trusted, map_location=map_location, module_options=options
    )
    return report


def load_newest(
    store: CheckpointStore,
    candidates: Sequence[CheckpointFile],
    find_again: Callable[[], Sequence[CheckpointFile]],
    to_load: Objects,
    *,
    trusted: bool,
    map_location: Any,
    module_options: Mapping[str, Any],
) -> tuple[LoadReport, Sequence[CheckpointFile]]:
    """Load the first of the candidates that can be loaded, and return it with the candidates that it is one of.

    A candidate that is gone was replaced by a newer one meanwhile: then all is looked for again. One that is gone and
    listed all the same is passed over: some stores list late, and some files are seen by one process alone.

    Where several processes train together, each reads and verifies the file itself. All of them load it or none does.

    Raises:
        NoCheckpointError: none can.
        ConnectionError: a remote place does not answer any more.
    """
    gone: set[str] = set()

    def read(item: CheckpointFile) -> dict[str, Any]:
        try:
            stored = store.read(item.name, to_load, trusted=trusted, map_location=map_location)
        except FileNotFoundError as error:
            if item.name in gone or store.has(item.name):
                raise
            gone.add(item.name)
            raise _GoneError from error
        if ranks().size > 1 and stored.record != item.record:
            raise CheckpointMismatchError(f"another file of this name is seen here: {stored.record}")
        return states_for(to_load, stored.payload, stored.record)

    def load_from(item: CheckpointFile) -> None:
        try:
            states = together(f"reading {item.name}", lambda: read(item))
        except OtherRankError as error:
            if error.kind == _GoneError.__name__:
                raise _GoneError from error
            raise
        load(to_load, states, partial(together, f"loading {item.name}"), **module_options)

    while True:
        try:
            return _load_first(store, candidates, to_load, load_from), candidates
        except _GoneError:
            candidates = find_again()


class _GoneError(Exception):
    """A file that was just listed is there no more."""


def _load_first(
    store: CheckpointStore,
    candidates: Iterable[CheckpointFile],
    to_load: Objects,
    load_from: Callable[[CheckpointFile], None],
) -> LoadReport:
    skipped: list[tuple[CheckpointPath, str]] = []
    nan_scores = 0
    for item in candidates:
        nan_scores += _is_nan(item)
        reason = _lacking(item, to_load)
        if reason is None:
            try:
                load_from(item)
            except (MemoryError, ConnectionError):
                raise  # an older file would need as much; a newer one that cannot be reached now may be sound
            except Exception as error:  # whatever is wrong with one file, an older one may be sound
                if isinstance(error, _GoneError | RanksError):
                    raise
                reason = _reason(error, item.path)
                warnings.warn(printable(f"{item.path} was passed over: {reason}"), EngineWarning, stacklevel=4)
            else:
                return _report(item, tuple(skipped), nan_scores)
        skipped.append((item.path, reason))
    told = "".join("\n  " + printable(f"{path.name}: {reason}") for path, reason in skipped)
    wanted = ", ".join(map(repr, to_load))
    raise NoCheckpointError(f"{store.location} has no checkpoint of {wanted} that can be loaded{told}")


def _report(item: CheckpointFile, skipped: tuple[tuple[CheckpointPath, str], ...], nan_scores: int) -> LoadReport:
    record = item.record
    if record is None:
        return LoadReport(item.path, item.step, skipped=skipped, nan_scores=nan_scores)
    return LoadReport(
        item.path,
        item.step,
        record.save_number,
        not record.exact,
        record.score_name,
        record.priority,
        skipped,
        nan_scores,
    )


def _has_prefix(item: CheckpointFile, prefix: str | None) -> bool:
    if prefix is None:
        return True
    if item.record is not None and item.record.name:
        return item.record.prefix == prefix
    return item.name.startswith(f"{prefix}_") if prefix else True


def _lacking(item: CheckpointFile, to_load: Objects) -> str | None:
    """Return what a file says it does not hold, before anything of it is read."""
    keys = item.record.keys if item.record is not None else None
    missing = [] if keys is None else [key for key in to_load if key not in keys]
    return f"it lacks {', '.join(map(repr, missing))}" if missing else None


def _is_nan(item: CheckpointFile) -> bool:
    priority = item.record.priority if item.record is not None else None
    return priority is not None and math.isnan(priority)


def _reason(error: Exception, path: CheckpointPath) -> str:
    text = str(error).removeprefix(f"{path}: ")
    if isinstance(error, CheckpointMismatchError | OtherRankError):
        return text
    return f"{' '.join(text.split())[:300]} ({type(error).__name__})"
