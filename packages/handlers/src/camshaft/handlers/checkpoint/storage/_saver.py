"""What the savers of this package share: who writes, what a file says about itself, how errors and warnings read."""

from __future__ import annotations

import errno
import warnings
from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from camshaft.engine import ArgumentError, EngineWarning
from camshaft.handlers._rank import current_rank, is_xla_in_use
from camshaft.handlers.checkpoint._deferred_signals import deferred_signals
from camshaft.handlers.checkpoint._errors import CheckpointError, CheckpointWriteError
from camshaft.handlers.checkpoint._sharded import require_whole_tensors
from camshaft.handlers.checkpoint.format._file_name import require_bare_name
from camshaft.handlers.checkpoint.format._payload import write_nothing
from camshaft.handlers.checkpoint.format._record import CheckpointRecord
from camshaft.handlers.checkpoint.storage._background import Background, Saving, WhenBusy
from camshaft.handlers.checkpoint.storage._save_handler import BaseSaveHandler, SaveMetadata
from camshaft.handlers.checkpoint.storage._store import CheckpointStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager


class Saver(CheckpointStore, BaseSaveHandler):
    """A store that checkpoints are saved to. A save of it is complete or leaves no trace, signals included.

    Args:
        save_on_rank: The process that writes, among those that train together.
        background: What saves in the background; None saves before a call returns.
    """

    def __init__(self, save_on_rank: int, background: Background | None = None) -> None:
        self.save_on_rank = save_on_rank
        self._background = background
        self._checked: set[str] = set()

    @property
    def is_writer(self) -> bool:
        """Whether this process is the one that writes."""
        return current_rank() == self.save_on_rank

    @property
    def asynchronous(self) -> bool:
        """Whether checkpoints are written in the background."""
        return self._background is not None

    @property
    def when_busy(self) -> WhenBusy:
        """What is done about a save that is asked for while one goes on in the background."""
        return "wait" if self._background is None else self._background.when_busy

    def __call__(self, checkpoint: Mapping[str, Any], filename: str, metadata: Mapping[str, Any] | None = None) -> None:
        """Save a checkpoint. When this returns it is safe; if the saver is asynchronous, it is at the next `wait`.

        An asynchronous saver has copied the checkpoint when this returns, so that it may be changed. A save that goes
        on is waited for first. The first checkpoint is looked through: it warns if that holds what cannot be loaded
        safely, such as an object in place of its state.

        Args:
            checkpoint: What `torch.save` can save.
            filename: Name of the file, without a directory. An earlier file of that name is replaced.
            metadata: What a `Checkpoint` says about the save.

        Raises:
            ArgumentError: `filename` is no file name, or leads out of the directory.
            ArgumentTypeError: a tensor is sharded over several processes.
            CheckpointWriteError: the file could not be written, or, of an asynchronous saver, the one before; the
                earlier files are as they were.
            CheckpointInUseError: another process writes to the directory.
        """
        require_bare_name(filename)
        if not self.is_writer:
            if is_xla_in_use():
                write_nothing(checkpoint)
            return
        record, reasons = record_of(checkpoint, metadata), dict[str, str]()
        basename = str((metadata or {}).get("basename"))
        is_first = basename not in self._checked

        def write(payload: Any, saving: Saving | None) -> None:
            reasons.update(self.save(payload, filename, record, saving, is_first=is_first) or {})

        def note() -> None:
            self._checked.add(basename)
            _warn_if_unsafe(filename, reasons)

        if self._background is None:
            write(checkpoint, None)
            note()
            return
        if is_xla_in_use():
            raise ArgumentError("`asynchronous` must be False on XLA devices, whose processes save together, got True")
        self._background.start(checkpoint, write, str(self.path_of(filename)), note)

    @abstractmethod
    def save(
        self, checkpoint: Any, filename: str, record: CheckpointRecord, saving: Saving | None = None, *, is_first: bool
    ) -> Mapping[str, str] | None:
        """Write a checkpoint, in whichever thread; when this returns it is safe.

        Args:
            checkpoint: What `torch.save` can save.
            filename: Name of the file.
            record: What the file is to say about itself; its number is still to be given.
            saving: The save in the background that this is part of.
            is_first: Whether to find out what keeps the file from being loaded safely.

        Returns:
            The reasons, by key; None if there are none, or nobody wants to know.

        Raises:
            CheckpointWriteError: the file could not be written; the earlier files are as they were.
        """

    def remove(self, filename: str) -> None:
        """Remove a checkpoint. That it is missing is a warning; a link is removed itself, not what it leads to.

        Args:
            filename: Name of the file, without a directory.

        Raises:
            ArgumentError: `filename` is no file name, or leads out of the directory.
            CheckpointWriteError: the file could not be removed.
            CheckpointInUseError: another process writes to the directory.
        """
        require_bare_name(filename)
        if not self.is_writer:
            return
        self._wait_before_removing()
        path = self.path_of(filename)
        with deferred_signals(), as_write_error("removed", path), self._turn():
            try:
                self._remove_file(filename)
            except FileNotFoundError:
                warnings.warn(f"{path} was to be removed and is gone already", EngineWarning, stacklevel=2)

    @abstractmethod
    def _remove_file(self, filename: str) -> None:
        """Remove a file, when it is this saver's turn.

        Raises:
            FileNotFoundError: it is gone already.
            OSError: it could not be removed.
        """

    @abstractmethod
    def _turn(self) -> AbstractContextManager[object]:
        """Return a block in which nobody else writes to the place.

        Raises:
            CheckpointInUseError: another process writes to it.
        """

    def wait(self) -> None:
        """Wait until no save goes on in the background.

        Raises:
            CheckpointWriteError: the last one has failed, or is not over in time.
        """
        if self._background is not None:
            self._background.wait()

    def wait_for_room(self) -> None:
        """Wait until a save could begin; unlike `wait` it does not tell how the one before went."""
        if self._background is not None:
            self._background.wait_for_room()

    def follow(self, filename: str) -> Saving | None:
        """Return what the last call has begun in the background, None if that was nothing.

        Whoever takes it asks for its result, and removes nothing before.

        Args:
            filename: What it was called with.
        """
        saving = None if self._background is None else self._background.present()
        if saving is None or saving.is_followed or saving.name != str(self.path_of(filename)):
            return None
        saving.is_followed = True
        return saving

    def _wait_before_removing(self) -> None:
        """Wait for a save that is not known to be safe; what replaces a file has to be there before it is removed."""
        saving = None if self._background is None else self._background.present()
        if saving is not None and not saving.is_followed:
            self.wait()


def _warn_if_unsafe(filename: str, reasons: Mapping[str, str]) -> None:
    """Warn of what was written and cannot be loaded safely."""
    for key, reason in reasons.items():
        what = f"the state of {key!r}" if key else "what was saved"
        warnings.warn(f"{filename}: {what} will not load without trusted=True: {reason}", EngineWarning, stacklevel=4)


def record_of(checkpoint: Any, metadata: Mapping[str, Any] | None) -> CheckpointRecord:
    """Return what a file is to say about itself, without its number.

    Raises:
        ArgumentTypeError: it was not a `Checkpoint` that asked for the save, and a tensor is sharded.
    """
    if isinstance(metadata, SaveMetadata):
        return metadata.record
    require_whole_tensors(checkpoint)
    return CheckpointRecord()


def require_none(name: str, place: str, present: Sequence[str]) -> None:
    """Refuse a place that holds checkpoints already.

    Args:
        name: The argument that the place was given as.
        place: The place.
        present: The names of what it holds.

    Raises:
        ArgumentError: it holds some.
    """
    if present:
        raise ArgumentError(
            f"`{name}` must hold no checkpoints, got {place!r} with {len(present)} of them "
            f"({', '.join(present[:3])}{', ...' if len(present) > 3 else ''}); give another directory, or "
            "require_empty=False to go on in this one"
        )


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
