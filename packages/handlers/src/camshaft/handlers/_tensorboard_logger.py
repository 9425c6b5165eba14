"""Write values for TensorBoard."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camshaft.engine import StateDictError
from camshaft.handlers._extra import import_extra
from camshaft.handlers._logger import Logger
from camshaft.handlers._number import is_integer


class TensorBoardLogger(Logger):
    """Writes scalars into event files that TensorBoard shows; a value is in the file at once.

    Saved and restored with the run, it goes on in a new file, for which TensorBoard drops whatever
    lies behind the last step that was saved. That holds for the whole folder: give each logger a
    folder, and let all that it writes count alike, in epochs or in iterations.

    Args:
        folder: where the event files go; other writers may write there too.

    Raises:
        ExtraMissingError: tensorboard is not installed; the extra is camshaft-handlers[tensorboard].
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder).absolute()
        self._records = _import("tensorboard.summary.writer.record_writer")
        self._events = _import("tensorboard.compat.proto.event_pb2")
        self._summary = _import("tensorboard.compat.proto.summary_pb2").Summary
        self._path: Path | None = None
        self._last_step = -1
        self._is_restored = False

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Write each value as a scalar."""
        if self._path is None:
            self._path = self._begin()
        scalars = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(self._path, step=step, summary=self._summary(value=scalars))
        self._last_step = max(self._last_step, step)

    def state_dict(self) -> dict[str, Any]:
        """Return the last step; everything up to it is on the disk then."""
        if self._path is not None:
            with self._path.open("r+b") as file:
                os.fsync(file.fileno())
        return {"last_step": self._last_step}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            StateDictError: it is not such a state; nothing is changed then.
        """
        if not isinstance(state_dict, Mapping) or set(state_dict) != {"last_step"}:
            raise StateDictError(f"`state_dict` must have 'last_step' and nothing else, got {state_dict!r}")
        last_step = state_dict["last_step"]
        if not is_integer(last_step) or last_step < -1:
            raise StateDictError(f"`last_step` must be an integer of at least -1, got {last_step!r}")
        self._path = None
        self._last_step = int(last_step)
        self._is_restored = True

    def _begin(self) -> Path:
        """Begin a file, whose name sorts behind those of earlier ones: TensorBoard reads them in that order."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._add(path, file_version="brain.Event:2")
        if self._is_restored:
            log = self._events.SessionLog(status=self._events.SessionLog.START)
            self._add(path, step=self._last_step + 1, session_log=log)
        return path

    def _add(self, path: Path, **content: Any) -> None:
        event = self._events.Event(wall_time=time.time(), **content)
        # Opened anew each time: nothing is left to be closed, or to be shared with a forked process.
        with path.open("ab") as file:
            self._records.RecordWriter(file).write(event.SerializeToString())


def _import(module: str) -> Any:
    return import_extra(module, "tensorboard", "TensorBoardLogger")
