"""The exceptions and warnings of the engine.

Every class is also the builtin that it refines, so ``except ValueError`` keeps working::

    EngineError
    ├── ArgumentError        (ValueError)    an argument breaks a rule
    │   └── StateDictError                   an entry of a saved state breaks a rule
    ├── ArgumentTypeError    (TypeError)     an argument is of the wrong kind
    │   └── NotCallableError (ValueError)    a function cannot be called with what it will get
    ├── CounterError         (RuntimeError)  an event that has no counter was asked for one
    ├── RanksError           (RuntimeError)  processes that train together cannot go on together
    └── RunningError         (RuntimeError)  a call that does not fit what the engine is doing now
    EngineWarning            (UserWarning)   the run goes on, but not as one might expect
"""

from __future__ import annotations


class EngineError(Exception):
    """Root of everything that the engine raises itself."""


class ArgumentError(EngineError, ValueError):
    """An argument breaks a rule; the text names the argument, the rule and the value."""


class ArgumentTypeError(EngineError, TypeError):
    """An argument is of a kind that cannot be used at all."""


class NotCallableError(ArgumentTypeError, ArgumentError):
    """A function that is handed in cannot be called with what it will get, or not at all."""


class StateDictError(ArgumentError):
    """An entry of a saved state is missing, unknown or contradicts another one."""


class CounterError(EngineError, RuntimeError):
    """An event that no attribute of the state counts was asked for its counter."""


class RanksError(EngineError, RuntimeError):
    """Processes that train together cannot go on together; the text says which one is to blame, and why."""


class RunningError(EngineError, RuntimeError):
    """A call that does not fit what the engine is doing: run inside a run, stop outside one."""


class EngineWarning(UserWarning):
    """The run goes on, but not as one might expect."""
