"""How a batch becomes a prediction: what training and evaluation share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Prediction:
    """How a batch becomes a prediction.

    Attributes:
        model, device, non_blocking, prepare_batch, model_transform, model_fn, compile: as the factories take them.
    """

    model: torch.nn.Module
    device: Device
    non_blocking: bool
    prepare_batch: Callable[..., tuple[Any, Any]]
    model_transform: Callable[[Any], Any]
    model_fn: Callable[[Any, Any], Any]
    compile: Compile = False

    def split(self) -> Callable[[Any], tuple[Any, Any]]:
        """Return the function from batch to input and target, where they are wanted."""
        prepare, device, non_blocking = self.prepare_batch, self.device, self.non_blocking
        if prepare is prepare_batch and device is None:
            return require_pair  # all that is left to do, in each of a million iterations
        return lambda batch: prepare(batch, device=device, non_blocking=non_blocking)

    def predict(self) -> Callable[[Any], Any]:
        """Return the function from input to prediction: nothing is in it that was not asked for."""
        network, transform = compile_model(self.model, self.compile), self.model_transform
        run = network if self.model_fn is call_model else partial(self.model_fn, network)
        return run if transform is identity else lambda x: transform(run(x))


def compile_model(model: torch.nn.Module, compile: Compile) -> Callable[[Any], Any]:  # noqa: A002  # the factories' name
    """Return what runs the model: itself, or what `torch.compile` makes of it.

    The model stays as it is: both have the same parameters, and a state of the model is free of the
    prefix that a compiled one would put before its names.

    Raises:
        ArgumentTypeError: `compile` is neither a bool nor a mapping.
        ArgumentError: an option or the backend is not one of torch's.
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
            raise ArgumentError(f"{rule}, got {name!r}; there are {shown}")
