"""Write values for TensorBoard."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from camshaft.engine import StateDictError
from camshaft.handlers._extra import import_extra
from camshaft.handlers._logger import Logger
from camshaft.handlers._number import is_integer


class TensorBoardLogger(Logger):
    """Writes scalars into event files that TensorBoard shows.

    Saved and restored with the run, it goes on in a new file, for which TensorBoard drops whatever
    lies behind the last step that was saved. That holds for the whole folder: give each logger a
    folder, and let all that it writes count alike, in epochs or in iterations.

    Args:
        folder: where the event files go; other writers may write there too.
        **options: for the writer of tensorboard: `flush_secs`, `max_queue_size`, `filename_suffix`.

    Raises:
        ExtraMissingError: tensorboard is not installed; the extra is camshaft-handlers[tensorboard].
    """

    def __init__(self, folder: str | os.PathLike[str], **options: Any) -> None:
        # The part of tensorboard that writes needs no torch, and its flush waits until all is written.
        self._make_writer = _import("tensorboard.summary.writer.event_file_writer").EventFileWriter
        self._events = _import("tensorboard.compat.proto.event_pb2")
        self._summary = _import("tensorboard.compat.proto.summary_pb2").Summary
        self._folder = os.fspath(folder)
        self._options = options
        self._writer: Any = None
        self._last_step = -1
        self._is_restored = False

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Write each value as a scalar."""
        if self._writer is None:
            self._writer = self._make_writer(self._folder, **self._options)
            if self._is_restored:
                log = self._events.SessionLog(status=self._events.SessionLog.START)
                self._add(self._last_step + 1, session_log=log)
        scalars = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(step, summary=self._summary(value=scalars))
        self._last_step = max(self._last_step, step)

    def close(self) -> None:
        """Write out everything and close the file; what is written later opens another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._is_restored = False

    def state_dict(self) -> dict[str, Any]:
        """Return the last step; everything up to it is in the file then."""
        if self._writer is not None:
            self._writer.flush()
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
        self.close()
        self._last_step = int(last_step)
        self._is_restored = True

    def _add(self, step: int, **content: Any) -> None:
        self._writer.add_event(self._events.Event(wall_time=time.time(), step=step, **content))


def _import(module: str) -> Any:
    return import_extra(module, "tensorboard", "TensorBoardLogger")
