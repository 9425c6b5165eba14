"""Checkpoints that are never lost and never lie: saving, keeping, verifying and restoring.

Importing this needs no torch; saving and loading files does.
"""

from camshaft.handlers.checkpoint._checkpoint import Checkpoint
from camshaft.handlers.checkpoint._errors import (
    CheckpointDamagedError,
    CheckpointDeprecationWarning,
    CheckpointError,
    CheckpointInUseError,
    CheckpointMismatchError,
    CheckpointUnsafeError,
    CheckpointWriteError,
    NoCheckpointError,
    NoDirectoryError,
)
from camshaft.handlers.checkpoint._event import CheckpointEvents
from camshaft.handlers.checkpoint._model_checkpoint import ModelCheckpoint
from camshaft.handlers.checkpoint._restore import LoadReport, restore_latest
from camshaft.handlers.checkpoint._sharded_saver import ShardedSaver
from camshaft.handlers.checkpoint.format._record import CheckpointRecord
from camshaft.handlers.checkpoint.storage._disk_saver import DiskSaver
from camshaft.handlers.checkpoint.storage._fsspec_saver import FsspecSaver
from camshaft.handlers.checkpoint.storage._fsspec_store import FsspecStore
from camshaft.handlers.checkpoint.storage._listing import CheckpointFile, CheckpointUrl, sorted_by_age
from camshaft.handlers.checkpoint.storage._place import list_checkpoints, verify_checkpoint
from camshaft.handlers.checkpoint.storage._save_handler import BaseSaveHandler, SaveMetadata
from camshaft.handlers.checkpoint.storage._store import CheckpointStore, StoredPayload

__all__ = [
    "BaseSaveHandler",
    "Checkpoint",
    "CheckpointDamagedError",
    "CheckpointDeprecationWarning",
    "CheckpointError",
    "CheckpointEvents",
    "CheckpointFile",
    "CheckpointInUseError",
    "CheckpointMismatchError",
    "CheckpointRecord",
    "CheckpointStore",
    "CheckpointUnsafeError",
    "CheckpointUrl",
    "CheckpointWriteError",
    "DiskSaver",
    "FsspecSaver",
    "FsspecStore",
    "LoadReport",
    "ModelCheckpoint",
    "NoCheckpointError",
    "NoDirectoryError",
    "SaveMetadata",
    "ShardedSaver",
    "StoredPayload",
    "list_checkpoints",
    "restore_latest",
    "sorted_by_age",
    "verify_checkpoint",
]
