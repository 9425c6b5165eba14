"""What `print(engine)` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from camshaft.engine._dispatch import Listener
from camshaft.engine._registry import Registry

if TYPE_CHECKING:
    from camshaft.engine._engine import Engine


def describe(engine: Engine[Any, Any], registry: Registry) -> str:
    """Return where the run stands, and which handlers are attached to which event, in order, with their filters."""
    state = engine.state
    limit = f"{state.max_epochs} epochs" if state.max_iters is None else f"{state.max_iters} iterations"
    standing = f"epoch {state.epoch}, iteration {state.iteration} of {limit}"
    lines = [f"{type(engine).__name__}({_name(engine.process_function)}): {standing}"]
    lines += [f"    {each.event}{_filter_text(each)}: {_name(each.handler)}" for each in registry]
    return "\n".join(lines)


def _filter_text(listener: Listener) -> str:
    return "" if listener.filter is None else f"({listener.filter!r})"


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
