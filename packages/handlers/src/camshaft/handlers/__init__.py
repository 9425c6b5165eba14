"""Handlers: stop, time and watch a run, save and restore it. Importing this needs no torch."""

from camshaft.handlers import checkpoint
from camshaft.handlers.__about__ import __version__
from camshaft.handlers._early_stopping import EarlyStopping
from camshaft.handlers._errors import ExtraMissingError
from camshaft.handlers._global_step import global_step_from_engine
from camshaft.handlers._progress_bar import ProgressBar
from camshaft.handlers._terminate_on_nan import TerminateOnNan
from camshaft.handlers._time_limit import TimeLimit
from camshaft.handlers._timer import Timer
from camshaft.handlers.checkpoint import *  # noqa: F403  # exactly its `__all__`

__all__ = [
    "EarlyStopping",
    "ExtraMissingError",
    "ProgressBar",
    "TerminateOnNan",
    "TimeLimit",
    "Timer",
    "__version__",
    "global_step_from_engine",
]
__all__ += checkpoint.__all__
