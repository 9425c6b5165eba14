"""Names of VisdomLogger: they can be imported, and are refused when they are used."""

from ignite.handlers._optional import Refused
from ignite.handlers.utils import global_step_from_engine

__all__ = [
    "GradsScalarHandler",
    "OptimizerParamsHandler",
    "OutputHandler",
    "VisdomLogger",
    "WeightsScalarHandler",
    "global_step_from_engine",
]


class GradsScalarHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "visdom is not maintained any more"


class OptimizerParamsHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "visdom is not maintained any more"


class OutputHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "visdom is not maintained any more"


class VisdomLogger(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "visdom is not maintained any more"


class WeightsScalarHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "visdom is not maintained any more"
