"""What a listing says of a checkpoint, and the order of age that listings are in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from camshaft.handlers.checkpoint.format._file_name import EXTENSION
from camshaft.handlers.checkpoint.format._record import LARGEST_SAVE_NUMBER
from camshaft.handlers.checkpoint.format._safetensors import SAFETENSORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from camshaft.handlers.checkpoint.format._record import CheckpointRecord

EXTENSIONS = (f".{EXTENSION}", ".pth", f".{SAFETENSORS}")
# name_12.pt, name_12_0.7700.pt, name_12_val_acc=0.7700.pt
_STEP = re.compile(r"(?:.*_)?(\d+)(?:_[^=]*=[^=]*|_-?\d+\.\d+)?\.[^.]+")


class CheckpointUrl(str):
    """The URL of a checkpoint that is not a file of this machine: a string that has a `name`, as paths have.

    Examples:
        >>> CheckpointUrl("s3://bucket/run/model_1.pt").name
        'model_1.pt'
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        """The part after the last slash."""
        return self.rpartition("/")[2]


CheckpointPath = Path | CheckpointUrl


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint as it lies in its place; whether its content is sound is not known.

    Attributes:
        path: The file; the URL where it is not a file of this machine.
        record: What it says about itself; None for one that plain `torch.save` wrote, or when it is illegible.
        is_legible: False for a file that is damaged where it would tell its age.
        size_bytes: Size of the file, and of its shards, if it has any.
        modified_ns: When it was last changed, by the clock of the place.
    """

    path: CheckpointPath
    record: CheckpointRecord | None
    is_legible: bool
    size_bytes: int
    modified_ns: int

    @property
    def name(self) -> str:
        """Its file name."""
        return self.path.name

    @property
    def step(self) -> float | None:
        """The step the file says it is of, or else the one in its name; None when neither tells."""
        if self.record is not None and self.record.step is not None:
            return self.record.step
        match = _STEP.fullmatch(self.name)
        return int(match[1]) if match else None

    @property
    def age_rank(self) -> tuple[bool, int, float, int, str]:
        """What files are sorted by: the save number; without one by step, then by time. Illegible ones are newest."""
        number = self.record.save_number if self.record is not None else -1
        step = self.step if self.record is None and self.step is not None else -1
        return not self.is_legible, number, step, self.modified_ns, self.name


def sorted_by_age(files: Iterable[CheckpointFile]) -> list[CheckpointFile]:
    """Return checkpoints in the order of listings, the newest first."""
    return sorted(files, key=lambda item: item.age_rank, reverse=True)


def largest_save_number(files: Iterable[CheckpointFile]) -> int:
    """Return the number of the last save into a place with these files, 0 if there was none."""
    numbers = [item.record.save_number for item in files if item.record]
    # A number that no run can have reached is not ours: counting on from it would make our own files illegible.
    return max((number for number in numbers if number < LARGEST_SAVE_NUMBER // 2), default=0)
