"""The errors of this package that are not about checkpoints."""

from __future__ import annotations

from camshaft.engine import EngineError


class ExtraMissingError(EngineError, ModuleNotFoundError, RuntimeError):
    """A handler needs a package that only an extra of this distribution installs.

    Attributes:
        extra: the extra to install.

    Args:
        extra: the extra to install.
        what: the handler that needs it, for the text.
        package: the package that is missing.

    Examples:
        >>> print(ExtraMissingError("progress", "ProgressBar", "tqdm"))
        ProgressBar needs tqdm, which is not installed; pip install "camshaft-handlers[progress]"
    """

    def __init__(self, extra: str, what: str, package: str) -> None:
        super().__init__(f'{what} needs {package}, which is not installed; pip install "camshaft-handlers[{extra}]"')
        self.extra = extra


class NoLearningRateError(EngineError, RuntimeError):
    """`lr_range_test` found no learning rate at which the loss falls; the text says what to try."""
