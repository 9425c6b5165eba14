"""Names of NeptuneLogger: they can be imported, and are refused when they are used."""

from ignite.handlers._optional import Refused
from ignite.handlers.utils import global_step_from_engine

__all__ = [
    "GradsScalarHandler",
    "NeptuneLogger",
    "NeptuneSaver",
    "OptimizerParamsHandler",
    "OutputHandler",
    "WeightsScalarHandler",
    "global_step_from_engine",
]


class GradsScalarHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the Neptune client is not supported"


class NeptuneLogger(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the Neptune client is not supported"


class NeptuneSaver(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the Neptune client is not supported"


class OptimizerParamsHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the Neptune client is not supported"


class OutputHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the Neptune client is not supported"


class WeightsScalarHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the Neptune client is not supported"
