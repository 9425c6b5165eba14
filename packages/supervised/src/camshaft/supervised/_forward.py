"""From a batch to a prediction: what training and evaluation share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch

from camshaft.engine import ArgumentError, ArgumentTypeError
from camshaft.supervised._batch import Device, prepare_batch, require_pair

Compile = bool | Mapping[str, Any]


def identity(value: Any) -> Any:
    """Return `value`."""
    return value


def call_model(model: Callable[[Any], Any], x: Any) -> Any:
    """Return `model(x)`: the forward pass, unless another `model_fn` is given."""
    return model(x)


def make_split(
    prepare: Callable[..., tuple[Any, Any]], device: Device, non_blocking: bool
) -> Callable[[Any], tuple[Any, Any]]:
    """Return the function that makes `(x, y)` from a batch, on the device.

    Args:
        prepare: `f(batch, device=..., non_blocking=...)` returns `(x, y)`.
        device: where the batch goes; None leaves it where it is.
        non_blocking: copy from pinned memory without waiting.
    """
    if prepare is prepare_batch and device is None:
        return require_pair  # nothing else is left to do in each of a million iterations
    return lambda batch: prepare(batch, device=device, non_blocking=non_blocking)


def make_predict(
    model: torch.nn.Module,
    model_fn: Callable[[Any, Any], Any],
    model_transform: Callable[[Any], Any],
    compile: Compile = False,  # noqa: A002  # the factories' name
) -> Callable[[Any], Any]:
    """Return the function that makes `y_pred` from `x`; it contains nothing that was not asked for.

    Args:
        model: the model.
        model_fn: `f(model, x)` runs the forward pass.
        model_transform: makes `y_pred` from what the model returns.
        compile: as `compile_model` takes it.
    """
    network = compile_model(model, compile)
    run = network if model_fn is call_model else partial(model_fn, network)
    return run if model_transform is identity else lambda x: model_transform(run(x))


def compile_model(model: torch.nn.Module, compile: Compile) -> Callable[[Any], Any]:  # noqa: A002  # the factories' name
    """Return the model, or what `torch.compile` makes of it.

    The model itself does not change. Both share their parameters, and the names in the model's `state_dict` stay free
    of the prefix that a compiled model has.

    Args:
        model: the model.
        compile: whether to compile, or a mapping of options for `torch.compile`.

    Raises:
        ArgumentTypeError: `compile` is neither a bool nor a mapping.
        ArgumentError: torch does not know an option or the backend, or options do not go together.
    """
    if not isinstance(compile, bool | Mapping):
        raise ArgumentTypeError(f"`compile` must be a bool or a mapping of options of torch.compile, got {compile!r}")
    if compile is False:
        return model
    options = {} if compile is True else dict(compile)
    _require_choices("`compile` must be options of torch.compile", options, _compile_options())
    if isinstance(backend := options.get("backend"), str):
        _require_choices("`compile['backend']` must be one of torch's", [backend], torch.compiler.list_backends(()))
    try:
        compiled: Callable[[Any], Any] = torch.compile(model, **options)
    except (AssertionError, RuntimeError) as error:
        reason = f"{error!s:.300}"  # it may go on to list some hundred options of a backend
        raise ArgumentError(f"`compile` must be options that go together, got {options!r}; {reason}") from error
    return compiled


def _compile_options() -> list[str]:
    keywords = inspect.signature(torch.compile).parameters.values()
    return [keyword.name for keyword in keywords if keyword.kind is keyword.KEYWORD_ONLY]


def _require_choices(rule: str, given: Iterable[str], choices: Iterable[str]) -> None:
    for name in given:
        if name not in choices:
            shown = ", ".join(choice for choice in choices if not choice.endswith("TESTING_ONLY"))
            raise ArgumentError(f"{rule}, got {name!r}; choose from {shown}")
