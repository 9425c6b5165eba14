"""Play a section of a training under audit in a process of its own, which is killed in it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from camshaft.deterministic._audit._audited_run import AuditError, MakeRun
from camshaft.deterministic._audit._audited_section import Record, Section
from camshaft.deterministic._audit._play import play
from camshaft.engine import ArgumentError

_MOST_PRINTED = 4_000
# What torch imports by itself at the first step of an optimizer.
_SLOW_TO_IMPORT = ("torch._dynamo",)


def require_importable(make_run: object) -> None:
    """Refuse a function that cannot be sent to another process.

    Raises:
        ArgumentError: it is none that a module defines.
    """
    try:
        pickle.dumps(make_run)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ArgumentError(
            f"`make_run` must be a function that a module defines, got {make_run!r}; other functions cannot be sent to "
            "the processes that are killed: kills=0 leaves these out"
        ) from error


def play_apart(file: Path, make_run: MakeRun, folder: Path, section: Section, tell: Callable[[int], object]) -> Record:
    """Play a section in a process that is killed where it is to be stopped, or comes to its end.

    Args:
        file: where the process leaves what has happened.
        make_run, folder, section: as for `play`.
        tell: called with the number of iterations, when it is over.

    Raises:
        AuditError: the process has ended in another way.
    """
    file.unlink(missing_ok=True)
    arguments = make_run, folder, section, file, dict(os.environ)
    process = _process_context().Process(target=_play_to_file, args=arguments)
    process.start()
    process.join()
    if not file.exists():
        printed = _output_of(file).read_text() if _output_of(file).exists() else ""
        raise AuditError(
            f"the process that plays the training has ended with status {process.exitcode} before it was killed; it "
            f"has printed:\n{printed[-_MOST_PRINTED:]}"
        )
    record: Record = pickle.loads(file.read_bytes())  # noqa: S301  # written by the process above
    tell(len(record.steps))
    return record


def _process_context() -> Any:
    """Return how processes are started: as new ones that have imported torch already, where that is possible."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    used = [name for name in _SLOW_TO_IMPORT if name in sys.modules]  # by the training, when it was played here
    context.set_forkserver_preload([__name__, *used])
    return context


# ---------------------------------------------------------------------- in that process


def _play_to_file(
    make_run: MakeRun, folder: Path, section: Section, file: Path, environment: Mapping[str, str]
) -> None:
    """Play a section in this process, and leave what has happened in a file.

    What the training prints, and an error of it, are in another file. The environment is that of the process which asks
    for it: the one that this process was forked from may be older.
    """
    os.environ.clear()
    os.environ.update(environment)
    with _output_of(file).open("w") as printed, redirect_stdout(printed), redirect_stderr(printed):
        try:
            _write(file, play(make_run, folder, section, stop=partial(_write_and_die, file)))
        except BaseException:  # noqa: BLE001  # it ends the process, and is printed where the parent finds it
            traceback.print_exc()
            raise SystemExit(1) from None


def _output_of(file: Path) -> Path:
    """Return where the process prints that leaves its record in a file."""
    return file.with_suffix(".output")


def _write_and_die(file: Path, record: Record) -> None:
    _write(file, record)
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def _write(file: Path, record: Record) -> None:
    partial_file = file.with_suffix(".partial")
    partial_file.write_bytes(pickle.dumps(record))
    partial_file.replace(file)
