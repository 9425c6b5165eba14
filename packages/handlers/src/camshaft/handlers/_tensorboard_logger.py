"""Write values for TensorBoard."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camshaft.handlers._extra import import_extra
from camshaft.handlers._local_path import local_path
from camshaft.handlers._logger import Logger
from camshaft.handlers._saved_state import require_integer, require_keys


class TensorBoardLogger(Logger):
    """Writes scalars into event files for TensorBoard; each value is in the file at once.

    If the logger is saved and restored with the run, it continues in a new file, and TensorBoard drops everything
    after the last saved step. This applies to the whole folder: give each logger its own folder, and let everything
    that it writes count the same, either epochs or iterations.

    Args:
        folder: where to write the event files; it is made if it is missing.

    Raises:
        ArgumentError: `folder` is a URL.
        ExtraMissingError: tensorboard is not installed; the extra is camshaft-handlers[tensorboard].
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = local_path("folder", folder).absolute()
        self._records = _import("tensorboard.summary.writer.record_writer")
        self._events = _import("tensorboard.compat.proto.event_pb2")
        self._summary = _import("tensorboard.compat.proto.summary_pb2").Summary
        self._path: Path | None = None
        self._last_step = -1
        self._is_restored = False

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Write each value as a scalar.

        Args:
            values: names to numbers; at least one.
            step: what they belong to.
        """
        if self._path is None:
            self._path = self._start_file()
        scalars = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(self._path, step=step, summary=self._summary(value=scalars))
        self._last_step = max(self._last_step, step)

    def state_dict(self) -> dict[str, Any]:
        """Return the last step; everything until it is on the disk then."""
        if self._path is not None:
            with self._path.open("r+b") as file:
                os.fsync(file.fileno())
        return {"last_step": self._last_step}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Args:
            state_dict: what `state_dict` returned.

        Raises:
            StateDictError: it is not such a state; nothing is changed then.
        """
        (last_step,) = require_keys(state_dict, "last_step")
        self._last_step = require_integer("last_step", last_step, least=-1)
        self._path = None
        self._is_restored = True

    def _start_file(self) -> Path:
        """Start a file. Its name sorts after those of earlier files: TensorBoard reads them in that order."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._add(path, file_version="brain.Event:2")
        if self._is_restored:
            log = self._events.SessionLog(status=self._events.SessionLog.START)
            self._add(path, step=self._last_step + 1, session_log=log)
        return path

    def _add(self, path: Path, **content: Any) -> None:
        event = self._events.Event(wall_time=time.time(), **content)
        # Opened each time, so that nothing must be closed later and no forked process shares it.
        with path.open("ab") as file:
            self._records.RecordWriter(file).write(event.SerializeToString())


def _import(module: str) -> Any:
    return import_extra(module, "tensorboard", "TensorBoardLogger")
