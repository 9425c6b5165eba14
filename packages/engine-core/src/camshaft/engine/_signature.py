"""What a callable takes: inspected once, when it is handed in, and never while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from camshaft.engine._errors import NotCallableError

if TYPE_CHECKING:
    from inspect import Parameter, Signature

Call = Callable[..., Any]


def signature_of(function: Call, tries: int = 100) -> Signature | None:
    """Return the signature of `function`, None for builtins that have none.

    Args:
        function: any callable.
        tries: how often to try. Python reads a builtin's signature from a text, and some of its releases raise
            `SystemError` where two threads do that at the same time.
    """
    # Imported here: inspect takes longer to load than all of this package.
    import inspect

    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return None
    except SystemError:
        if tries <= 1:
            raise
    return signature_of(function, tries - 1)


def accepts(function: Call, *args: object, **kwargs: object) -> bool:
    """Return whether `function` can be called with these arguments, as far as its signature tells.

    Args:
        function: any callable; one without a signature accepts everything.
        args, kwargs: stand for the arguments of the call; only their number and names count.

    Examples:
        >>> accepts(lambda engine, batch: batch, None, None), accepts(lambda: 0, None)
        (True, False)
    """
    signature = signature_of(function)
    return signature is None or _binds(signature, args, kwargs)


def require_step(process_function: object) -> None:
    """Refuse a process function that cannot be called as `process_function(engine, batch)`.

    Raises:
        NotCallableError: it is not callable, or not with two arguments.
    """
    if not callable(process_function) or not accepts(process_function, None, None):
        raise NotCallableError(
            f"`process_function` must be callable as process_function(engine, batch), got {process_function!r}"
        )


def make_call(handler: object, args: Sequence[Any], kwargs: Mapping[str, Any], event_arg: str | None) -> Call | None:
    """Return `call(engine, *event_args)` that hands `handler` what it takes, None when nothing fits.

    The handler gets the engine first when the parameter that it would fill has no default, so that a
    default never silently receives the engine. Otherwise it is called without the engine. What the event
    brings along (an exception, say) comes after the engine, to a handler that has a parameter for it: one
    without a default, one whose default is None, or one of its name. A handler whose first parameter has
    that name gets it without the engine.

    Args:
        handler: what the user attaches.
        args, kwargs: what the user attached with it; passed on at each call.
        event_arg: the name of the one argument that the event brings along, None when it brings none.
    """
    if not callable(handler):
        return None
    signature = signature_of(handler)
    if event_arg is not None and signature is not None and _takes_event_arg_only(signature, event_arg, args, kwargs):
        call = _hand_over(handler, tuple(args), dict(kwargs))
        return lambda engine, *event_args: call(*event_args)
    if event_arg is not None and (signature is None or _takes_event_arg(signature, event_arg, args, kwargs)):
        return _hand_over(handler, tuple(args), dict(kwargs))
    if signature is None or _takes(signature, 1, args, kwargs):
        call = _hand_over(handler, tuple(args), dict(kwargs))
        return call if event_arg is None else lambda engine, *event_args: call(engine)
    if _takes(signature, 0, args, kwargs):
        return lambda *engine_and_more: handler(*args, **kwargs)
    return None


def _takes_event_arg_only(signature: Signature, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return whether the first parameter is called as the event's own argument."""
    return _binds(signature, (None, *args), kwargs) and _positional(signature, 0).name == name


def _takes_event_arg(signature: Signature, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return whether the engine and the event's own argument fit in front of `args`."""
    if not _binds(signature, (None, None, *args), kwargs) or not _takes_engine(signature):
        return False
    parameter = _positional(signature, 1)
    is_meant = parameter.default is parameter.empty or parameter.default is None or parameter.name == name
    return parameter.kind is parameter.VAR_POSITIONAL or is_meant


def _takes(signature: Signature, leading: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return whether `args` fit after `leading` arguments: the engine, or nothing."""
    return _binds(signature, (None,) * leading + tuple(args), kwargs) and (not leading or _takes_engine(signature))


def _takes_engine(signature: Signature) -> bool:
    first = _positional(signature, 0)
    return first.kind is first.VAR_POSITIONAL or first.default is first.empty


def _positional(signature: Signature, place: int) -> Parameter:
    """Return the parameter that a positional argument fills; there is one, as the arguments were bound before."""
    parameters = list(signature.parameters.values())
    for parameter in parameters[: place + 1]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            return parameter
    return parameters[place]


def _binds(signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _hand_over(handler: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """Return a callable that hands on what it gets, followed by `args`: the handler itself where there are none."""
    if not args and not kwargs:
        return handler
    return lambda *leading: handler(*leading, *args, **kwargs)
