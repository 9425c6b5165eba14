"""Checkpoints that are never lost and never lie: saving, keeping, verifying and restoring.

Importing this needs no torch; saving and loading files does.
"""

from camshaft.handlers.checkpoint._directory import DiskSaver
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
from camshaft.handlers.checkpoint._handler import Checkpoint, CheckpointEvents
from camshaft.handlers.checkpoint._listing import CheckpointFile, list_checkpoints
from camshaft.handlers.checkpoint._model_checkpoint import ModelCheckpoint
from camshaft.handlers.checkpoint._record import CheckpointRecord
from camshaft.handlers.checkpoint._restore import LoadReport, restore_latest
from camshaft.handlers.checkpoint._store import BaseSaveHandler
from camshaft.handlers.checkpoint._verify import verify_checkpoint

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
