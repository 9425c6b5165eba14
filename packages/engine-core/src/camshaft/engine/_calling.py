"""How a handler is called: settled once, when it is attached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from camshaft.engine._errors import ArgumentError
from camshaft.engine._value import accepts, signature_of

if TYPE_CHECKING:
    from inspect import Signature

Call = Callable[..., Any]


def make_call(handler: Call, args: Sequence[Any], kwargs: Mapping[str, Any], extra: int) -> Call | None:
    """Return `call(engine, *event_args)` that hands `handler` what it takes, None when nothing fits.

    The handler gets the engine first when the parameter that it would fill has no default, so
    that a default never silently receives the engine; else it is called without. The same
    holds for what the event itself brings along (an exception, say).

    Args:
        args, kwargs: what the user attached; passed on at each call.
        extra: how many arguments the event brings along.
    """
    if not callable(handler):
        return None
    for with_engine, with_extra in _conventions(extra):
        if _takes(handler, int(with_engine) + (extra if with_extra else 0), args, kwargs):
            return _bind(handler, tuple(args), dict(kwargs), with_engine, with_extra)
    return None


def _conventions(extra: int) -> Iterator[tuple[bool, bool]]:
    """Yield the ways to call a handler, the preferred one first: (with engine, with extra)."""
    yield from [(True, True), (False, True)]
    if extra:
        yield from [(True, False), (False, False)]


def _takes(handler: Call, leading: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Tell whether `leading` arguments fit in front of `args` without filling a default."""
    signature = signature_of(handler)
    if signature is None:
        return True
    if not _binds(signature, (None,) * leading + tuple(args), kwargs):
        return False
    for parameter in list(signature.parameters.values())[:leading]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            return True
        if parameter.default is not parameter.empty:
            return False
    return True


def _binds(signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _bind(handler: Call, args: tuple[Any, ...], kwargs: dict[str, Any], with_engine: bool, with_extra: bool) -> Call:
    """Return the cheapest callable that takes (engine, *event_args) and calls `handler` as settled."""
    if with_engine and with_extra and not args and not kwargs:
        return handler
    if with_engine and with_extra:
        return lambda engine, *event_args: handler(engine, *event_args, *args, **kwargs)
    if with_engine:
        return lambda engine, *event_args: handler(engine, *args, **kwargs)
    if with_extra and (args or kwargs):
        return lambda engine, *event_args: handler(*event_args, *args, **kwargs)
    if with_extra:
        return lambda engine, *event_args: handler(*event_args)
    return lambda engine, *event_args: handler(*args, **kwargs)


def require_step(process_function: object) -> None:
    """Refuse a process function that cannot be called as `process_function(engine, batch)`.

    Raises:
        ArgumentError: it is not callable, or not with two arguments.
    """
    if not callable(process_function) or not accepts(process_function, None, None):
        raise ArgumentError(
            f"`process_function` must be callable as process_function(engine, batch), got {process_function!r}"
        )
