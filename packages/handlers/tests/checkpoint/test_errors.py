from __future__ import annotations

import pickle
import warnings

import pytest

from camshaft.engine import EngineError, EngineWarning
from camshaft.handlers import checkpoint
from camshaft.handlers.checkpoint._errors import CheckpointError, warn_of_deprecated


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("CheckpointWriteError", OSError),
        ("CheckpointInUseError", OSError),
        ("CheckpointDamagedError", ValueError),
        ("CheckpointUnsafeError", ValueError),
        ("CheckpointUnsafeError", pickle.UnpicklingError),
        ("CheckpointMismatchError", ValueError),
        ("NoCheckpointError", FileNotFoundError),
        ("NoDirectoryError", AttributeError),
    ],
)
def test_every_error_is_also_the_builtin_that_it_refines(name: str, builtin: type[Exception]) -> None:
    error = getattr(checkpoint, name)

    assert issubclass(error, builtin)
    assert issubclass(error, CheckpointError)
    assert issubclass(error, EngineError)


def test_a_write_error_tells_number_and_file_like_any_other() -> None:
    error = checkpoint.CheckpointWriteError(28, "could not be written: No space left on device", "/models/m.pt")

    assert (error.errno, error.filename) == (28, "/models/m.pt")
    assert str(error) == "[Errno 28] could not be written: No space left on device: '/models/m.pt'"


def test_a_deprecated_argument_warns_where_it_was_given() -> None:
    def construct() -> None:
        warn_of_deprecated("archived", "it never did anything")

    with pytest.warns(EngineWarning, match="`archived` is deprecated") as caught:
        construct()
    assert issubclass(caught[0].category, DeprecationWarning)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", checkpoint.CheckpointDeprecationWarning)
        construct()


def test_all_public_names_are_there() -> None:
    assert sorted(checkpoint.__all__) == checkpoint.__all__
    assert all(hasattr(checkpoint, name) for name in checkpoint.__all__)
