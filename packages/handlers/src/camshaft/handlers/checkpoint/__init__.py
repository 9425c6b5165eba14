"""Checkpoints that are never lost and never lie: saving, keeping, verifying and restoring.

Importing this needs no torch; saving and loading files does.
"""

from camshaft.handlers.checkpoint._checkpoint import Checkpoint, CheckpointEvents
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
from camshaft.handlers.checkpoint._model_checkpoint import ModelCheckpoint
from camshaft.handlers.checkpoint._restore import LoadReport, restore_latest
from camshaft.handlers.checkpoint.format._record import CheckpointRecord
from camshaft.handlers.checkpoint.format._verify import verify_checkpoint
from camshaft.handlers.checkpoint.storage._disk_saver import DiskSaver
from camshaft.handlers.checkpoint.storage._listing import CheckpointFile, list_checkpoints
from camshaft.handlers.checkpoint.storage._save_handler import BaseSaveHandler

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
    "CheckpointUnsafeError",
    "CheckpointWriteError",
    "DiskSaver",
    "LoadReport",
    "ModelCheckpoint",
    "NoCheckpointError",
    "NoDirectoryError",
    "list_checkpoints",
    "restore_latest",
    "verify_checkpoint",
]
