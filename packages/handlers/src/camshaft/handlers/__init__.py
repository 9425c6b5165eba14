"""Handlers: stop, time and watch a run, save and resume it. Importing this needs no torch."""

from camshaft.handlers import checkpoint
from camshaft.handlers.__about__ import __version__
from camshaft.handlers._csv_logger import CSVLogger
from camshaft.handlers._early_stopping import EarlyStopping
from camshaft.handlers._errors import ExtraMissingError, NoLearningRateError
from camshaft.handlers._global_step import global_step_from_engine
from camshaft.handlers._history import History
from camshaft.handlers._logger import Logger
from camshaft.handlers._lr_range import LRCurve, lr_range_test
from camshaft.handlers._lr_scheduler import LRScheduler, with_warmup
from camshaft.handlers._mlflow_logger import MLflowLogger
from camshaft.handlers._moving_average import ExponentialMovingAverage
from camshaft.handlers._profiler import Profiler
from camshaft.handlers._progress_bar import ProgressBar
from camshaft.handlers._report import write_report
from camshaft.handlers._run_log import RunLog
from camshaft.handlers._running_average import RunningAverage
from camshaft.handlers._stop_on_signal import StopOnSignal
from camshaft.handlers._tensorboard_logger import TensorBoardLogger
from camshaft.handlers._terminate_on_nan import TerminateOnNan
from camshaft.handlers._time_limit import TimeLimit
from camshaft.handlers._timer import Timer
from camshaft.handlers.checkpoint import *  # noqa: F403  # exactly its `__all__`

__all__ = [
    "CSVLogger",
    "EarlyStopping",
    "ExponentialMovingAverage",
    "ExtraMissingError",
    "History",
    "LRCurve",
    "LRScheduler",
    "Logger",
    "MLflowLogger",
    "NoLearningRateError",
    "Profiler",
    "ProgressBar",
    "RunLog",
    "RunningAverage",
    "StopOnSignal",
    "TensorBoardLogger",
    "TerminateOnNan",
    "TimeLimit",
    "Timer",
    "__version__",
    "global_step_from_engine",
    "lr_range_test",
    "with_warmup",
    "write_report",
]
__all__ += checkpoint.__all__
