"""What loggers and their handlers share; the base of loggers of your own."""

from __future__ import annotations

import numbers
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import torch

from camshaft.engine import ArgumentError, ArgumentTypeError, CallableEventWithFilter, EngineWarning, EventsList
from ignite.engine import RemovableEventHandle
from ignite.handlers._annotations import AnyEngine
from ignite.handlers._scheduler import require_optimizer

Key = tuple[str, ...]


class UnknownEventError(RuntimeError, ArgumentError):
    """A logger was to be attached to an event that its engine does not know."""


class BaseHandler(ABC):
    """Base class of what a logger calls at an event."""

    @abstractmethod
    def __call__(self, engine: AnyEngine, logger: Any, event_name: Any) -> None:
        """Log something.

        Args:
            engine: whose event it is.
            logger: where to.
            event_name: the event.
        """


class BaseOptimizerParamsHandler(BaseHandler):
    """Base class of handlers that log a parameter of an optimizer.

    Args:
        optimizer: an optimizer, or anything with a list `param_groups`.
        param_name: key in the parameter groups.
        tag: put in front of names.

    Raises:
        TypeError: `optimizer` has no `param_groups`.
    """

    def __init__(self, optimizer: Any, param_name: str = "lr", tag: str | None = None) -> None:
        self.optimizer = require_optimizer(optimizer)
        self.param_name = param_name
        self.tag = tag

    def named_params(self, separator: str = "/") -> dict[str, float]:
        """Return the parameter of each group by the name that it is logged under."""
        prefix = f"{self.tag}{separator}" if self.tag else ""
        return {
            f"{prefix}{self.param_name}{separator}group_{index}": float(group[self.param_name])
            for index, group in enumerate(self.optimizer.param_groups)
        }


class BaseOutputHandler(BaseHandler):
    """Base class of handlers that log the engine's output, its metrics and attributes of its state.

    Args:
        tag: put in front of names.
        metric_names: keys of `engine.state.metrics`, or "all".
        output_transform: makes what is logged from `engine.state.output`.
        global_step_transform: ``f(engine, event_name)`` returns the step; None for the event's counter.
        state_attributes: names of attributes of `engine.state`.

    Raises:
        ValueError: there is nothing to log.
        TypeError: an argument is of the wrong kind.
    """

    def __init__(
        self,
        tag: str,
        metric_names: str | list[str] | None = None,
        output_transform: Callable[..., Any] | None = None,
        global_step_transform: Callable[[AnyEngine, Any], int] | None = None,
        state_attributes: list[str] | None = None,
    ) -> None:
        if metric_names is None and output_transform is None and state_attributes is None:
            raise ArgumentError("one of `metric_names`, `output_transform` and `state_attributes` must be given")
        if metric_names is not None and not isinstance(metric_names, list | tuple) and metric_names != "all":
            raise ArgumentTypeError(f"`metric_names` must be a list or 'all', got {metric_names!r}")
        if output_transform is not None and not callable(output_transform):
            raise ArgumentTypeError(f"`output_transform` must be a function, got {output_transform!r}")
        if global_step_transform is not None and not callable(global_step_transform):
            raise ArgumentTypeError(f"`global_step_transform` must be a function, got {global_step_transform!r}")
        self.tag = tag
        self.metric_names = metric_names
        self.output_transform = output_transform
        self.global_step_transform = global_step_transform or _count_of_event
        self.state_attributes = state_attributes

    def global_step(self, engine: AnyEngine, event_name: Any) -> int:
        """Return the step of an event.

        Raises:
            TypeError: `global_step_transform` returned no integer.
        """
        step = self.global_step_transform(engine, event_name)
        if not isinstance(step, int):
            raise ArgumentTypeError(f"`global_step_transform` must return an integer, got {step!r}")
        return step

    def _setup_output_metrics_state_attrs(  # the name that handlers written for pytorch-ignite call
        self, engine: AnyEngine, log_text: bool | None = False, key_tuple: bool | None = True
    ) -> dict[Any, Any]:
        """Return the numbers to log by name; nested collections are taken apart.

        Args:
            engine: whose values.
            log_text: whether strings are logged too.
            key_tuple: whether names are tuples, not joined with a slash.
        """
        found: dict[Key, Any] = {}
        for name, value in self._chosen(engine).items():
            for path, each in leaves((name,), value):
                number = as_loggable(each, log_text=bool(log_text))
                if number is None:
                    warnings.warn(f"a value of type {type(each)} cannot be logged: {path}", EngineWarning, stacklevel=2)
                else:
                    found[self.tag, *path] = number
        return dict(found) if key_tuple else {"/".join(key): value for key, value in found.items()}

    def _chosen(self, engine: AnyEngine) -> dict[str, Any]:
        """Return what was chosen by name: metrics, then the output, then attributes."""
        chosen: dict[str, Any] = {}
        metrics = engine.state.metrics
        if self.metric_names == "all":
            chosen.update(metrics)
        for name in () if self.metric_names in (None, "all") else self.metric_names or ():
            if name in metrics:
                chosen[name] = metrics[name]
            else:
                warnings.warn(
                    f"`metric_names` has {name!r}, which is not among the metrics {list(metrics)}",
                    EngineWarning,
                    stacklevel=3,
                )
        if self.output_transform is not None:
            output = self.output_transform(engine.state.output)
            chosen.update(output if isinstance(output, Mapping) else {"output": output})
        chosen.update({name: getattr(engine.state, name, None) for name in self.state_attributes or ()})
        return chosen


class BaseWeightsHandler(BaseHandler):
    """Base class of handlers that log a model's weights or their gradients.

    Args:
        model: the model.
        tag: put in front of names.
        whitelist: names of parameters or submodules to log, or ``f(name, parameter) -> bool``; None for all.

    Raises:
        TypeError: `model` is no module.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        tag: str | None = None,
        whitelist: list[str] | Callable[[str, torch.nn.Parameter], bool] | None = None,
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise ArgumentTypeError(f"`model` must be a torch.nn.Module, got {type(model)}")
        self.model = model
        self.tag = tag
        self.weights = [item for item in model.named_parameters() if _is_listed(whitelist, *item)]

    def named(self, what: str) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Yield the parameters, each with the name that it is logged under."""
        prefix = f"{self.tag}/" if self.tag else ""
        for name, parameter in self.weights:
            yield f"{prefix}{what}/{name.replace('.', '/')}", parameter

    def gradients(self, what: str) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the gradients that there are, each with the name that it is logged under."""
        for name, parameter in self.named(what):
            if parameter.grad is not None:
                yield name, parameter.grad


class BaseWeightsScalarHandler(BaseWeightsHandler):
    """Base class of handlers that log a number for each weight or gradient.

    Args:
        model: the model.
        reduction: makes a number from a tensor.
        tag: put in front of names.
        whitelist: names of parameters or submodules to log, or ``f(name, parameter) -> bool``; None for all.

    Raises:
        TypeError: `model` is no module, or `reduction` makes no number.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        reduction: Callable[[torch.Tensor], float | torch.Tensor] = torch.norm,
        tag: str | None = None,
        whitelist: list[str] | Callable[[str, torch.nn.Parameter], bool] | None = None,
    ) -> None:
        super().__init__(model, tag=tag, whitelist=whitelist)
        if not callable(reduction):
            raise ArgumentTypeError(f"`reduction` must be a function, got {reduction!r}")
        tried = reduction(torch.ones(4, 2))
        if not (isinstance(tried, numbers.Number) or (isinstance(tried, torch.Tensor) and tried.ndim == 0)):
            raise ArgumentTypeError(f"`reduction` must return a single number, got {tried!r}")
        self.reduction = reduction

    def titled(self, what: str) -> str:
        """Return the common part of the names: "weights_norm", say."""
        name = getattr(self.reduction, "__name__", type(self.reduction).__name__)
        return f"{what}_{name}"


class BaseLogger(ABC):
    """Base class of loggers.

    A logger of your own has two methods that make its handlers, `_create_output_handler` and
    `_create_opt_params_handler`, and `close` if it holds something open.
    """

    def attach(
        self, engine: AnyEngine, log_handler: Callable[..., Any], event_name: Any, *args: Any, **kwargs: Any
    ) -> RemovableEventHandle:
        """Call a handler at an event, as ``log_handler(engine, logger, event, *args, **kwargs)``.

        Args:
            engine: whose event.
            log_handler: the handler.
            event_name: the event, or several.
            args: further arguments.
            kwargs: further keyword arguments.

        Returns:
            A handle that takes the handler off again.

        Raises:
            RuntimeError: the engine does not know the event.
        """
        if isinstance(event_name, EventsList):
            handles = [self.attach(engine, log_handler, event, *args, **kwargs) for event in event_name]
            return _Handles(handles)  # type: ignore[return-value]  # it has the methods of one
        is_self_registering = getattr(type(_without_filter(event_name)), "auto_register", False)
        if not is_self_registering and not engine.has_registered_events(event_name):
            raise UnknownEventError(f"`event_name` must be an event of the engine, got {event_name!r}")
        return engine.add_event_handler(event_name, log_handler, self, event_name, *args, **kwargs)

    def attach_output_handler(
        self, engine: AnyEngine, event_name: Any, *args: Any, **kwargs: Any
    ) -> RemovableEventHandle:
        """Log output, metrics or attributes of the state at an event.

        Args:
            engine: whose values.
            event_name: the event.
            args: of this logger's `OutputHandler`.
            kwargs: of this logger's `OutputHandler`.

        Returns:
            A handle that takes the handler off again.
        """
        return self.attach(engine, self._create_output_handler(*args, **kwargs), event_name=event_name)

    def attach_opt_params_handler(
        self, engine: AnyEngine, event_name: Any, *args: Any, **kwargs: Any
    ) -> RemovableEventHandle:
        """Log a parameter of an optimizer at an event.

        Args:
            engine: whose event.
            event_name: the event.
            args: of this logger's `OptimizerParamsHandler`.
            kwargs: of this logger's `OptimizerParamsHandler`.

        Returns:
            A handle that takes the handler off again.
        """
        return self.attach(engine, self._create_opt_params_handler(*args, **kwargs), event_name=event_name)

    @abstractmethod
    def _create_output_handler(self, *args: Any, **kwargs: Any) -> Callable[..., Any]: ...

    @abstractmethod
    def _create_opt_params_handler(self, *args: Any, **kwargs: Any) -> Callable[..., Any]: ...

    def close(self) -> None:
        """Finish what was begun; a logger that holds nothing open leaves this as it is."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Handles:
    """Handles of one handler at several events, as one."""

    def __init__(self, handles: Sequence[RemovableEventHandle]) -> None:
        self._handles = handles

    def remove(self) -> None:
        """Take the handler off everywhere."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def leaves(path: Key, value: Any) -> Iterator[tuple[Key, Any]]:
    """Yield every value in nested mappings, sequences and vectors, with the way to it."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from leaves((*path, str(key)), each)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for index, each in enumerate(value):
            yield from leaves((*path, str(index)), each)
    elif isinstance(value, torch.Tensor) and value.ndim == 1:
        for index, each in enumerate(value.tolist()):
            yield (*path, str(index)), each
    else:
        yield path, value


def as_loggable(value: Any, *, log_text: bool) -> Any:
    """Return a number (or a string, if text is wanted) as it is, a tensor of one as a number, else None."""
    if isinstance(value, numbers.Number) or (log_text and isinstance(value, str)):
        return value
    if isinstance(value, torch.Tensor) and value.ndim == 0:
        return value.item()
    return None


def require_logger(logger: object, kind: type, handler: object, error: type[Exception]) -> None:
    """Refuse a logger of another kind than the handler is for."""
    if not isinstance(logger, kind):
        raise error(f"{type(handler).__name__} works with {kind.__name__} only, got {type(logger)}")


def _count_of_event(engine: AnyEngine, event_name: Any) -> int:
    return engine.state.get_event_attrib_value(event_name)


def _without_filter(event: Any) -> Any:
    return event.event if isinstance(event, CallableEventWithFilter) else event


def _is_listed(whitelist: Any, name: str, parameter: torch.nn.Parameter) -> bool:
    if whitelist is None:
        return True
    if callable(whitelist):
        return bool(whitelist(name, parameter))
    return any(name == each or name.startswith(f"{each}.") for each in whitelist)
