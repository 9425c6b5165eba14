"""From what users call a place, or a checkpoint in it, to the store that reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from camshaft.handlers._local_path import is_url
from camshaft.handlers.checkpoint.storage._directory import DirectoryStore
from camshaft.handlers.checkpoint.storage._fsspec_store import FsspecStore
from camshaft.handlers.checkpoint.storage._store import CheckpointStore

if TYPE_CHECKING:
    from camshaft.handlers.checkpoint.format._record import CheckpointRecord
    from camshaft.handlers.checkpoint.storage._listing import CheckpointFile

Place = str | os.PathLike[str] | CheckpointStore


def open_store(place: Place) -> CheckpointStore:
    """Return the store that reads a place; nothing is looked at yet.

    Args:
        place: A directory, ``~`` is your home, the URL of one, or a store itself.
    """
    if isinstance(place, CheckpointStore):
        return place
    if is_url(place):
        return FsspecStore(str(place))
    return DirectoryStore(Path(place).expanduser())


def open_checkpoint(path: str | os.PathLike[str]) -> tuple[CheckpointStore, str]:
    """Return the store that holds a checkpoint, and its name there.

    Args:
        path: A file, or its URL.
    """
    if is_url(path):
        url, _, name = str(path).rpartition("/")
        return FsspecStore(f"{url}/" if url.endswith(":/") else url), name
    path = Path(path)
    return DirectoryStore(path.parent), path.name


def list_checkpoints(directory: Place) -> list[CheckpointFile]:
    """Return the checkpoints of a directory, the newest first.

    These are the files named ``*.pt``, ``*.pth`` or ``*.safetensors``, and files of any name that we wrote. Links
    are listed too, but not followed.

    Args:
        directory: The directory or its URL; those below it are not looked into. Or a store.

    Raises:
        OSError: the directory cannot be read.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     list_checkpoints(directory)
        []
    """
    return open_store(directory).checkpoints()


def verify_checkpoint(path: str | os.PathLike[str], *, trusted: bool = False) -> CheckpointRecord | None:
    """Check a checkpoint file, without PyTorch and without running anything in it.

    The content must match its checksum, and the structure must be that of files which `torch.save`
    writes. Files of plain `torch.save` are checked by the checksums of their archive.

    Args:
        path: The file, or its URL.
        trusted: Whether to accept links, and files that carry no checksums.

    Returns:
        What the file says about itself; None for one that plain `torch.save` wrote.

    Raises:
        CheckpointDamagedError: it is not what was written; the text names the file and says what is wrong.
        CheckpointUnsafeError: it cannot be verified, or is a link, and is not trusted.
        OSError: it cannot be read.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from camshaft.handlers import CheckpointDamagedError
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = Path(directory, "model.pt")
        ...     written = path.write_bytes(b"PK and no more")
        ...     try:
        ...         verify_checkpoint(path)
        ...     except CheckpointDamagedError as error:
        ...         print(str(error).replace(directory, ""))
        /model.pt: it is no checkpoint at all
    """
    store, filename = open_checkpoint(path)
    return store.verify(filename, trusted=trusted)
