"""Play a section of a training under audit in this process, and write down what happens."""

from __future__ import annotations

import gc
import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from camshaft.deterministic._audit._audited_run import AuditedRun, AuditError, MakeRun
from camshaft.deterministic._audit._audited_section import Record, Section, list_files
from camshaft.deterministic._audit._watcher import StopRun, Watcher, stop_by_exception
from camshaft.deterministic._random._rng import manual_seed
from camshaft.engine import ArgumentError, ArgumentTypeError, EngineWarning, accepts


def play(
    make_run: MakeRun,
    folder: Path,
    section: Section,
    tell: Callable[[], object] = lambda: None,
    *,
    stop: Callable[[Record], object] = stop_by_exception,
    keep_data: Callable[[Any], object] = lambda data: None,
) -> Record:
    """Make a training, play a section of it, and return what has happened.

    Args:
        make_run: as for `audit_resume`.
        folder: what it is called with.
        section: what to play.
        tell: called after each iteration.
        stop: called where the section is to be stopped; it does not return.
        keep_data: called with the data of the run, once it is over.
    """
    if multiprocessing.active_children():
        gc.collect()  # workers of the run before end now
    manual_seed(section.seed)
    files = list_files(folder)
    run = _make(make_run, folder, is_resumed=section.checkpoint is not None)
    watcher = Watcher(run, folder, section, tell, stop)
    watcher.record.files_at_start = files
    try:
        _start(run, section, watcher)
    except (Exception, SystemExit, StopRun) as error:  # noqa: BLE001  # raised again, or what was to be found
        if not watcher.is_stopped:  # else it does not matter how the training takes it
            _note_error(error, section, watcher)
        return watcher.record
    if not watcher.is_stopped:
        watcher.look_at_end()
    keep_data(run.engine.state.dataloader)
    return watcher.record


def _start(run: AuditedRun, section: Section, watcher: Watcher) -> None:
    with _hear_warnings(watcher.record) if section.checkpoint is not None else nullcontext():
        if section.checkpoint is not None:
            watcher.load(section.checkpoint)
        manual_seed(section.start_seed)
        run.start()


def _note_error(error: BaseException, section: Section, watcher: Watcher) -> None:
    """Write down what a resumed run has raised: that is what the audit is to find; raise anything else."""
    if isinstance(error, SystemExit):
        raise AuditError(f"`start` must return, it has left the process with {_as_code(error)}") from error
    if section.checkpoint is None or not isinstance(error, Exception):
        raise error
    watcher.note_error(error)


def _make(make_run: MakeRun, folder: Path, *, is_resumed: bool) -> AuditedRun:
    if not accepts(make_run, folder):
        raise ArgumentError(f"`make_run` must take a folder, as make_run(folder), got {make_run!r}, which does not")
    try:
        run = make_run(folder)
    except SystemExit as left:
        raise AuditError(f"`make_run` must return, it has left the process with {_as_code(left)}") from left
    except Exception as error:
        if not is_resumed:
            raise
        raise AuditError(
            f"`make_run` must also work with the folder of a run that was stopped, got {type(error).__name__}: {error}"
        ) from error
    if not isinstance(run, AuditedRun):
        raise ArgumentTypeError(f"`make_run` must return an AuditedRun, got {run!r} of {type(run)}")
    return run


@contextmanager
def _hear_warnings(record: Record) -> Iterator[None]:
    """Write down what the engine warns of; other warnings are shown afterwards."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EngineWarning)
        try:
            yield
        finally:
            record.warned += [str(each.message) for each in caught if issubclass(each.category, EngineWarning)]
    for each in caught:
        if not issubclass(each.category, EngineWarning):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _as_code(left: SystemExit) -> str:
    return f"SystemExit({left.code!r})"
