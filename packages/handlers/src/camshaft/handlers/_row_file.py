"""A file that grows line by line, and goes back to where it was when a run does."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camshaft.engine import EngineWarning, StateDictError
from camshaft.handlers._number import is_integer


class RowFile:
    """A text file of lines, written as they come.

    The first line that is added makes the file, over an earlier one of its name; after
    `load_state_dict` it follows what the file held when that state was taken, and everything
    behind is dropped, a line that a killed process left unfinished included.

    Args:
        path: the file; its folder is made when it is missing.

    Attributes:
        path: the file, as an absolute path.
        size: bytes of the lines that count.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self.size = 0
        self._is_cut = False

    def add(self, line: str) -> None:
        """Add a line; it outlives this process."""
        if not self._is_cut:
            self._cut()
        content = f"{line}\n".encode()
        # Opened anew each time: nothing is left to be closed, or to be shared with a forked process.
        with self.path.open("ab") as file:
            file.write(content)
        self.size += len(content)

    def lines(self) -> list[str]:
        """Return the lines that count."""
        return complete_lines(self.path, self.size)

    def state_dict(self) -> dict[str, int]:
        """Return the size; what it counts is on the disk then, whatever happens to the machine."""
        if self._is_cut:
            with self.path.open("r+b") as file:
                os.fsync(file.fileno())
        return {"size": self.size}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go back to a saved size; the file itself is cut by the next line.

        Raises:
            StateDictError: it is not such a state; nothing is changed then.
        """
        if not isinstance(state_dict, Mapping) or set(state_dict) != {"size"}:
            raise StateDictError(f"`state_dict` must have 'size' and nothing else, got {state_dict!r}")
        size = state_dict["size"]
        if not is_integer(size) or size < 0:
            raise StateDictError(f"`size` must be an integer of at least 0, got {size!r}")
        self.size = int(size)
        self._is_cut = False

    def _cut(self) -> None:
        """Leave nothing in the file but the lines that count."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = len(_whole_lines(self.path, self.size))
        if kept < self.size:
            warnings.warn(
                f"{self.path} holds {kept} bytes in whole lines of the {self.size} that were saved; "
                "what is missing stays missing",
                EngineWarning,
                stacklevel=3,
            )
            self.size = kept
        with self.path.open("ab") as file:
            file.truncate(kept)
        self._is_cut = True


def complete_lines(path: Path, size: int = -1) -> list[str]:
    """Return the lines in the first `size` bytes of a file, without an unfinished last one; none without a file."""
    return _whole_lines(path, size).decode().split("\n")[:-1]


def _whole_lines(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(size)
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]
