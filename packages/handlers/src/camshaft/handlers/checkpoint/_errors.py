"""The exceptions of checkpoints.

Every class is also the builtin that it refines, so ``except OSError`` keeps working::

    EngineError
    └── CheckpointError                             root of all below
        ├── CheckpointWriteError    (OSError)       a checkpoint could not be written or removed
        │   └── CheckpointInUseError                another process writes to the directory
        ├── CheckpointDamagedError  (ValueError)    a file is not what was once written
        ├── CheckpointUnsafeError   (ValueError, pickle.UnpicklingError)  a file loads only with `trusted=True`
        ├── CheckpointMismatchError (ValueError)    a checkpoint does not hold what is to be loaded
        ├── NoCheckpointError       (FileNotFoundError)  nothing that could be loaded was found
        └── NoDirectoryError        (AttributeError)  the save handler keeps no files on a disk
"""

from __future__ import annotations

import pickle
import warnings

from camshaft.engine import EngineError, EngineWarning


class CheckpointError(EngineError):
    """Root of everything that goes wrong with checkpoints."""


class CheckpointWriteError(CheckpointError, OSError):
    """A checkpoint could not be written or removed; the files and the list from before are as they were.

    The error of the operating system is the cause; `errno` and `filename` are its own.
    """


class CheckpointInUseError(CheckpointWriteError):
    """Another process writes to the same directory; the text names it where the system tells."""


class CheckpointDamagedError(CheckpointError, ValueError):
    """The content or the structure of a file is not what was once written."""


class CheckpointUnsafeError(CheckpointError, pickle.UnpicklingError, ValueError):
    """A file cannot be loaded without trusting it: it may run code, or cannot be verified."""


class CheckpointMismatchError(CheckpointError, ValueError):
    """A checkpoint does not hold what is to be loaded."""


class NoCheckpointError(CheckpointError, FileNotFoundError):
    """No checkpoint that could be loaded was found; the text says what was tried and why it did not do."""


class NoDirectoryError(CheckpointError, AttributeError):
    """The save handler keeps no files on a disk, so there is nothing to look for."""


class CheckpointDeprecationWarning(EngineWarning, DeprecationWarning):
    """An argument that is accepted and does nothing any more."""


def warn_of_deprecated(argument: str, reason: str) -> None:
    """Warn of an argument that does nothing, at the line that constructs a handler."""
    warnings.warn(f"`{argument}` is deprecated and does nothing: {reason}", CheckpointDeprecationWarning, stacklevel=3)
