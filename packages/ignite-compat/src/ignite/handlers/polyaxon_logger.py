"""Names of PolyaxonLogger: they can be imported, and are refused when they are used."""

from ignite.handlers._optional import Refused
from ignite.handlers.utils import global_step_from_engine

__all__ = [
    "OptimizerParamsHandler",
    "OutputHandler",
    "PolyaxonLogger",
    "global_step_from_engine",
]


class OptimizerParamsHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the Polyaxon client is not supported"


class OutputHandler(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the Polyaxon client is not supported"


class PolyaxonLogger(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "the Polyaxon client is not supported"
