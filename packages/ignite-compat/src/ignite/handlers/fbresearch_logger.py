"""Names of FBResearchLogger: they can be imported, and are refused when they are used."""

from ignite.handlers._optional import Refused

__all__ = ["FBResearchLogger"]


class FBResearchLogger(Refused):
    """Not here; the constructor says what to use instead."""

    reason = "it is not part of camshaft-ignite-compat"
