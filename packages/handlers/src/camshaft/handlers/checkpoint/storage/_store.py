"""The protocol of stores: places whose checkpoints can be listed, verified and read back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from camshaft.handlers.checkpoint._errors import NoCheckpointError, NoDirectoryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from camshaft.handlers.checkpoint.format._record import CheckpointRecord
    from camshaft.handlers.checkpoint.storage._listing import CheckpointFile, CheckpointPath


class StoredPayload(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        payload: The state of each object by its key, or, of a single object, just its state.
        record: What the checkpoint says about itself; None for a file that plain `torch.save` wrote.
    """

    payload: Any
    record: CheckpointRecord | None


class CheckpointStore(ABC):
    """A place with checkpoints in it. Derive from it and from `BaseSaveHandler` to make a place of your own.

    With such a save handler a `Checkpoint` finds its files again: `restore_latest`, `reload_objects`, its list after a
    run is resumed. A store is given a file name wherever it names a checkpoint. `camshaft.handlers.testing.check_store`
    tries whether a store keeps its promises.

    Each save, removal and listing sees those before it, also those of other objects for the same place.

    Examples:
        >>> import tempfile, torch
        >>> from camshaft.handlers import DiskSaver
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     store = DiskSaver(directory)
        ...     store({"weight": torch.ones(2)}, "model_1.pt")
        ...     [file.name for file in store.checkpoints()]
        ...     store.read("model_1.pt").payload
        ['model_1.pt']
        {'weight': tensor([1., 1.])}
    """

    @property
    @abstractmethod
    def location(self) -> str:
        """What the place is called in messages: the path of a directory, or a URL."""

    @abstractmethod
    def path_of(self, filename: str) -> CheckpointPath:
        """Return the full path or URL of a checkpoint, which need not be there.

        Args:
            filename: Its name.
        """

    @abstractmethod
    def checkpoints(self) -> list[CheckpointFile]:
        """Return all checkpoints that are there, the newest first; see `sorted_by_age`.

        Raises:
            FileNotFoundError: the place is not there.
            OSError: it cannot be looked into.
        """

    @abstractmethod
    def verify(self, filename: str, *, trusted: bool = False) -> CheckpointRecord | None:
        """Check that a checkpoint is what was once written, without running anything in it.

        Args:
            filename: Its name.
            trusted: Whether to accept links, and files that carry no checksums.

        Returns:
            What the checkpoint says about itself; None for a file that plain `torch.save` wrote.

        Raises:
            CheckpointDamagedError: it is not what was written.
            CheckpointUnsafeError: it cannot be verified, or is a link, and is not trusted.
            FileNotFoundError: it is not there.
            OSError: it cannot be read.
        """

    @abstractmethod
    def read(
        self,
        filename: str,
        to_load: Mapping[str, Any] | None = None,
        *,
        trusted: bool = False,
        map_location: Any = "cpu",
    ) -> StoredPayload:
        """Verify a checkpoint, and return what it holds.

        Args:
            filename: Its name.
            to_load: The objects that it is read for, None for whatever it holds. A store may leave out what they do
                not need; it does not change them.
            trusted: Whether to run what is in it, follow links and read what cannot be verified.
            map_location: For `torch.load`.

        Raises:
            CheckpointDamagedError: it is not what was written.
            CheckpointUnsafeError: it would have to be trusted.
            FileNotFoundError: it is not there.
            OSError: it cannot be read.
        """

    def has(self, filename: str) -> bool:
        """Return whether a checkpoint of this name is there.

        Args:
            filename: The name.

        Raises:
            OSError: the place cannot be looked into.
        """
        return any(item.name == filename for item in self.checkpoints())


def require_store(save_handler: object) -> CheckpointStore:
    """Return a save handler if its files can be found.

    Raises:
        NoDirectoryError: they cannot.
    """
    if not isinstance(save_handler, CheckpointStore):
        raise NoDirectoryError(
            "`save_handler` must be a CheckpointStore, as DiskSaver is, to look for files, got "
            f"{save_handler!r}; use load_objects"
        )
    return save_handler


def readable_list(store: CheckpointStore, *, missing_ok: bool = False) -> list[CheckpointFile]:
    """Return the checkpoints of a store; with `missing_ok` a place that is not there has none.

    Raises:
        NoCheckpointError: the place cannot be looked into.
    """
    try:
        return store.checkpoints()
    except OSError as error:
        if missing_ok and isinstance(error, FileNotFoundError):
            return []
        raise NoCheckpointError(f"{store.location} cannot be looked into: {error.strerror or error}") from error
