"""The exceptions of processes that train together.

Each is an error of the engine and the builtin that it refines::

    RanksError              (RuntimeError)               of camshaft.engine: they cannot go on together
    ├── RankMissingError    (TimeoutError)               a process has not come in time
    ├── RankLostError                                    a process has failed, or is gone
    └── RanksApartError                                  the processes are at different places
"""

from __future__ import annotations

from camshaft.engine import RanksError


class RankMissingError(RanksError, TimeoutError):
    """A process has not come in time to where the others wait for it."""


class RankLostError(RanksError):
    """A process has failed, or is gone."""


class RanksApartError(RanksError):
    """The processes are at different places of the program, so that each would wait for something else."""
