"""Listing the checkpoint files of a directory, the newest first."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from camshaft.handlers.checkpoint._errors import CheckpointDamagedError, CheckpointUnsafeError, NoCheckpointError
from camshaft.handlers.checkpoint.format._file_name import EXTENSION, is_temporary
from camshaft.handlers.checkpoint.format._record import LARGEST_SAVE_NUMBER
from camshaft.handlers.checkpoint.format._verify import ends_like_torch_saved, read_record

if TYPE_CHECKING:
    from camshaft.handlers.checkpoint.format._record import CheckpointRecord

_EXTENSIONS = (f".{EXTENSION}", ".pth")
# name_12.pt, name_12_0.7700.pt, name_12_val_acc=0.7700.pt
_STEP = re.compile(r"(?:.*_)?(\d+)(?:_[^=]*=[^=]*|_-?\d+\.\d+)?\.[^.]+")


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint file as it lies in a directory; whether its content is sound is not known.

    Attributes:
        path: The file.
        record: What it says about itself; None for one that plain `torch.save` wrote, or when it is illegible.
        is_legible: False for a file that is damaged where it would tell its age.
        size_bytes: Size of the file.
        modified_ns: When it was last changed, by the clock of the file system.
    """

    path: Path
    record: CheckpointRecord | None
    is_legible: bool
    size_bytes: int
    modified_ns: int

    @property
    def step(self) -> float | None:
        """The step the file says it is of, or else the one in its name; None when neither tells."""
        if self.record is not None:
            return self.record.step
        match = _STEP.fullmatch(self.path.name)
        return int(match[1]) if match else None

    @property
    def age_rank(self) -> tuple[bool, int, float, int, str]:
        """What files are sorted by: the save number; without one by step, then by time. Illegible ones are newest."""
        number = self.record.save_number if self.record is not None else -1
        step = self.step if self.record is None and self.step is not None else -1
        return not self.is_legible, number, step, self.modified_ns, self.path.name


def list_checkpoints(directory: str | os.PathLike[str]) -> list[CheckpointFile]:
    """Return the checkpoint files of a directory, the newest first.

    These are the files named ``*.pt`` or ``*.pth``, and files of any name that we wrote. Links are
    listed too, but not followed.

    Args:
        directory: The directory; those below it are not looked into.

    Raises:
        OSError: the directory cannot be read.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     list_checkpoints(directory)
        []
    """
    with os.scandir(directory) as entries:
        paths = [Path(entry.path) for entry in entries if not is_temporary(entry.name)]
    listed = [item for item in map(_look_at, paths) if item is not None]
    return sorted(listed, key=lambda item: item.age_rank, reverse=True)


def readable_list(directory: str | os.PathLike[str], *, missing_ok: bool = False) -> list[CheckpointFile]:
    """Return what `list_checkpoints` does; with `missing_ok` a directory that is not there has no files.

    Raises:
        NoCheckpointError: the directory cannot be read.
    """
    try:
        return list_checkpoints(directory)
    except OSError as error:
        if missing_ok and isinstance(error, FileNotFoundError):
            return []
        raise NoCheckpointError(f"{directory} cannot be looked into: {error.strerror or error}") from error


def largest_save_number(directory: str | os.PathLike[str]) -> int:
    """Return the number of the last save into a directory, 0 if there was none."""
    numbers = [item.record.save_number for item in list_checkpoints(directory) if item.record]
    # A number that no run can have reached is not ours: counting on from it would make our own files illegible.
    return max((number for number in numbers if number < LARGEST_SAVE_NUMBER // 2), default=0)


def _look_at(path: Path) -> CheckpointFile | None:
    try:
        status = path.lstat()
    except FileNotFoundError:  # removed in this moment
        return None
    has_name = path.name.endswith(_EXTENSIONS)
    if not stat.S_ISREG(status.st_mode):
        is_link = stat.S_ISLNK(status.st_mode)
        return CheckpointFile(path, None, True, status.st_size, status.st_mtime_ns) if has_name and is_link else None
    record, is_legible = _read(path)
    if record is None and not has_name:
        return None
    return CheckpointFile(path, record, is_legible, status.st_size, status.st_mtime_ns)


def _read(path: Path) -> tuple[CheckpointRecord | None, bool]:
    """Return what a file says about itself, and whether it ends as it should."""
    try:
        record = read_record(path)
        return record, record is not None or ends_like_torch_saved(path)
    except (CheckpointDamagedError, CheckpointUnsafeError, OSError):
        return None, False
