"""A file that grows line by line, and that goes back to where it was when its run does."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camshaft.engine import EngineWarning, ranks
from camshaft.handlers._local_path import local_path
from camshaft.handlers._saved_state import require_integer, require_keys


class RowFile:
    """A text file whose lines are written as they come.

    The first line that is added starts the file again, even if there is one. After `load_state_dict` the first line
    follows what the file held when that state was saved. Everything after that is removed, including a line that a
    killed process has left unfinished.

    Args:
        path: the file; its folder is made if it is missing.

    Raises:
        ArgumentError: `path` is a URL.

    Attributes:
        path: the file, as an absolute path.
        size: size in bytes of the lines that belong to this run.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = local_path("path", path).absolute()
        self.size = 0
        self._is_truncated = False

    def add(self, line: str) -> None:
        """Add a line. It is in the file even if this process is killed afterwards.

        Args:
            line: the text, without the line break.
        """
        if not self._is_truncated:
            self._truncate()
        content = f"{line}\n".encode()
        # Opened each time, so that nothing must be closed later and no forked process shares it.
        with self.path.open("ab") as file:
            file.write(content)
        self.size += len(content)

    def lines(self) -> list[str]:
        """Return the lines that belong to this run."""
        return complete_lines(self.path, self.size)

    def state_dict(self) -> dict[str, int]:
        """Return the size; that much is on the disk then, even if the machine loses power."""
        if self._is_truncated:
            with self.path.open("r+b") as file:
                os.fsync(file.fileno())
        return {"size": self.size}

    def consolidate_state_dict(self, to: int) -> None:
        """Learn from the process that writes how large the file is. All processes have to call this.

        Args:
            to: the process that is going to save the state.
        """
        self.size = ranks().exchange("the size of a file of rows", self.size)[0]

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go back to a saved size. The next line that is added truncates the file.

        Args:
            state_dict: what `state_dict` returned.

        Raises:
            StateDictError: it is not such a state; nothing is changed then.
        """
        (size,) = require_keys(state_dict, "size")
        self.size = require_integer("size", size)
        self._is_truncated = False

    def _truncate(self) -> None:
        """Remove everything from the file but the lines that belong to this run."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = len(_whole_lines(self.path, self.size))
        if kept < self.size:
            warnings.warn(
                f"{self.path} has {kept} bytes of whole lines, but {self.size} when it was saved; the missing lines "
                "stay missing",
                EngineWarning,
                stacklevel=3,
            )
            self.size = kept
        with self.path.open("ab") as file:
            file.truncate(kept)
        self._is_truncated = True


def complete_lines(path: Path, size: int = -1) -> list[str]:
    """Return the lines of a file, without an unfinished last one; an empty list when there is no file.

    Args:
        path: the file.
        size: how many bytes to read; -1 reads all of them.
    """
    return _whole_lines(path, size).decode().split("\n")[:-1]


def _whole_lines(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(size)
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]
