"""Loops: an engine runs a function over batches and fires events around it."""

from camshaft.engine.__about__ import __version__
from camshaft.engine._data import DataSource
from camshaft.engine._engine import Engine
from camshaft.engine._errors import (
    ArgumentError,
    ArgumentTypeError,
    CounterError,
    EngineError,
    EngineWarning,
    NotCallableError,
    RanksError,
    RunningError,
    StateDictError,
)
from camshaft.engine._events import CallableEventWithFilter, EventEnum, Events, EventsList
from camshaft.engine._handle import RemovableEventHandle
from camshaft.engine._last_values import last_values
from camshaft.engine._peekable import LookAhead, Peekable
from camshaft.engine._position import Position
from camshaft.engine._ranks import OneRank, Ranks, ranks, use_ranks
from camshaft.engine._requests import Finishing
from camshaft.engine._run_plan import RunPlan
from camshaft.engine._signature import accepts
from camshaft.engine._state import State
from camshaft.engine._value import Stateful, as_integer, has_state, imported, is_integer, is_sequence, length_of
from camshaft.engine._vote import Vote

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "CallableEventWithFilter",
    "CounterError",
    "DataSource",
    "Engine",
    "EngineError",
    "EngineWarning",
    "EventEnum",
    "Events",
    "EventsList",
    "Finishing",
    "LookAhead",
    "NotCallableError",
    "OneRank",
    "Peekable",
    "Position",
    "Ranks",
    "RanksError",
    "RemovableEventHandle",
    "RunPlan",
    "RunningError",
    "State",
    "StateDictError",
    "Stateful",
    "Vote",
    "__version__",
    "accepts",
    "as_integer",
    "has_state",
    "imported",
    "is_integer",
    "is_sequence",
    "last_values",
    "length_of",
    "ranks",
    "use_ranks",
]
