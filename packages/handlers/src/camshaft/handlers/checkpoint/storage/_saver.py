"""What the savers of this package share: who writes, what a file says about itself, how errors and warnings read."""

from __future__ import annotations

import errno
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from camshaft.engine import EngineWarning
from camshaft.handlers._rank import current_rank
from camshaft.handlers.checkpoint._errors import CheckpointError, CheckpointWriteError
from camshaft.handlers.checkpoint._sharded import require_whole_tensors
from camshaft.handlers.checkpoint.format._record import CheckpointRecord
from camshaft.handlers.checkpoint.format._unsafe_content import unsafe_keys
from camshaft.handlers.checkpoint.storage._save_handler import BaseSaveHandler, SaveMetadata
from camshaft.handlers.checkpoint.storage._store import CheckpointStore

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping


class Saver(CheckpointStore, BaseSaveHandler):
    """A store that checkpoints are saved to. A save of it is complete or leaves no trace, signals included.

    Args:
        save_on_rank: The process that writes, among those that train together.
    """

    def __init__(self, save_on_rank: int) -> None:
        self.save_on_rank = save_on_rank
        self._checked: set[str] = set()

    @property
    def is_writer(self) -> bool:
        """Whether this process is the one that writes."""
        return current_rank() == self.save_on_rank

    def _warn_if_unsafe(
        self, path: str | os.PathLike[str], checkpoint: Any, filename: str, metadata: Mapping[str, Any] | None
    ) -> None:
        """Warn once per kind of checkpoint if what was written to a local file cannot be loaded safely."""
        basename = str((metadata or {}).get("basename"))
        if basename in self._checked or metadata is None:
            return
        self._checked.add(basename)
        for key, reason in (unsafe_keys(path, checkpoint) or {}).items():
            what = f"the state of {key!r}" if key else "what was saved"
            warnings.warn(
                f"{filename}: {what} will not load without trusted=True: {reason}", EngineWarning, stacklevel=3
            )


def record_of(checkpoint: Any, metadata: Mapping[str, Any] | None) -> CheckpointRecord:
    """Return what a file is to say about itself, without its number.

    Raises:
        ArgumentTypeError: it was not a `Checkpoint` that asked for the save, and a tensor is sharded.
    """
    if isinstance(metadata, SaveMetadata):
        return metadata.record
    require_whole_tensors(checkpoint)
    return CheckpointRecord()


@contextmanager
def as_write_error(done: str, path: object) -> Iterator[None]:
    """Turn an `OSError` of the block into a `CheckpointWriteError`: "could not be <done>"."""
    try:
        yield
    except CheckpointError:
        raise
    except OSError as error:
        # Not every file system gives its errors a number.
        number, told = error.errno or errno.EIO, error.strerror or str(error) or type(error).__name__
        raise CheckpointWriteError(number, f"could not be {done}: {told}", str(path)) from error
