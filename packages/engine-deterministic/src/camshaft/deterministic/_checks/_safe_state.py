"""The state of a run as a file has it, for a safe `torch.load`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch

from camshaft.deterministic._checks._difference import parts_of, short_text
from camshaft.deterministic._engine import RUN_KEY
from camshaft.deterministic._kinds import kind_of
from camshaft.deterministic._kinds._declared import DeclaredData
from camshaft.deterministic._kinds._stateful import StatefulData
from camshaft.deterministic._kinds._stateful_loader import StatefulLoader
from camshaft.engine import ArgumentTypeError


def write_safely(state: Mapping[str, Any], data: Any) -> bytes:
    """Return the state of an engine as `torch.save` writes it.

    Args:
        state: what `state_dict` of the engine has returned.
        data: the data of its run.

    Raises:
        ArgumentTypeError: something in it cannot be written, or `torch.load(weights_only=True)` does not take it; the
            text names the method that has returned it.
    """
    content = io.BytesIO()
    try:
        torch.save(state, content)
        read_safely(content.getvalue())
    except Exception as error:
        _refuse(_method_of(data), state.get("position", {}).get("data_state"), error)
        _refuse(f"`describe()` of {type(data)}", state.get(RUN_KEY), error)
        raise
    return content.getvalue()


def read_safely(content: bytes) -> Any:
    """Return what `write_safely` was given."""
    return torch.load(io.BytesIO(content), weights_only=True)


def _refuse(method: str, returned: Any, error: Exception) -> None:
    """Raise what explains an error, if what a method has returned is the reason."""
    if not _is_safe(returned):
        where, part = _find_unsafe(returned, "")
        raise ArgumentTypeError(
            f"{method} must return tensors, numbers, strings, None, and lists and dicts of these, which "
            f"`torch.load(weights_only=True)` takes; got {short_text(part)}{where and f' at {where}'}"
        ) from error


def _find_unsafe(value: Any, where: str) -> tuple[str, Any]:
    """Return the innermost part that is not safe, and its place."""
    for name, part in (parts_of(value) or {}).items():
        if not _is_safe(part):
            return _find_unsafe(part, where + name)
    return where, value


def _is_safe(value: Any) -> bool:
    content = io.BytesIO()
    try:
        torch.save(value, content)
        read_safely(content.getvalue())
    except Exception:  # noqa: BLE001  # whatever the user's class raises when it is written
        return False
    return True


def _method_of(data: Any) -> str:
    """Return what has returned the state of some data, for people."""
    kind = kind_of(data)
    if kind is DeclaredData:
        return f"`state(position)` of what `make_source(seed)` of {type(data)} returns"
    if kind in (StatefulData, StatefulLoader):
        return f"`state_dict()` of {type(data)}"
    return f"`state(position)` of {kind.__qualname__}, and each `state_dict()` in {type(data)},"
