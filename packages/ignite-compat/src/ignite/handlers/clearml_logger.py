"""Names of ClearMLLogger: they can be imported, and are refused when they are used."""

from ignite.handlers._optional import Refused
from ignite.handlers.utils import global_step_from_engine

__all__ = [
    "ClearMLLogger",
    "ClearMLSaver",
    "GradsHistHandler",
    "GradsScalarHandler",
    "OptimizerParamsHandler",
    "OutputHandler",
    "WeightsHistHandler",
    "WeightsScalarHandler",
    "global_step_from_engine",
]


class ClearMLLogger(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the ClearML client is not supported"


class ClearMLSaver(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the ClearML client is not supported"


class GradsHistHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the ClearML client is not supported"


class GradsScalarHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the ClearML client is not supported"


class OptimizerParamsHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the ClearML client is not supported"


class OutputHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the ClearML client is not supported"


class WeightsHistHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the ClearML client is not supported"


class WeightsScalarHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the ClearML client is not supported"
