"""Running averages that follow a value as it changes, without waiting for the device that it is on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from camshaft.engine import ArgumentError, Events, RunningError, StateDictError
from camshaft.handlers._number import is_number, is_single_number, is_tensor
from camshaft.handlers._saved_state import require_keys
from camshaft.handlers._value_reader import AnyEngine, named_numbers


class RunningAverage:
    """Puts the running average of a value into `engine.state.metrics` after each iteration.

    The average is exponential: each new value changes it by the share `1 - decay`. The average of tensors is itself
    a tensor, of shape `()` and on their device, so no iteration waits for the device; `.item()` reads it. It is saved
    with the engine.

    Args:
        output_transform: `f(output)` returns the value: a number, or a tensor with one element. None takes the
            engine's output, which is the loss of a supervised trainer.
        decay: share of the average that stays when a new value comes in; at least 0, below 1.
        scope: "run" averages over all epochs, "epoch" starts again with each epoch.

    Raises:
        ArgumentError: `decay` or `scope` is out of its range.

    Examples:
        >>> from camshaft.engine import Engine
        >>> engine = Engine(lambda engine, batch: batch)
        >>> RunningAverage(decay=0.75).attach(engine, "loss")
        >>> engine.run([1.0, 3.0]).metrics
        {'loss': 1.5}
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] | None = None,
        decay: float = 0.98,
        *,
        scope: Literal["run", "epoch"] = "run",
    ) -> None:
        if not 0 <= decay < 1:
            raise ArgumentError(f"`decay` must be at least 0 and below 1, got {decay!r}")
        if scope not in ("run", "epoch"):
            raise ArgumentError(f"`scope` must be 'run' or 'epoch', got {scope!r}")
        self._output_transform = output_transform
        self._scope = scope
        self._averages = ExponentialAverages(decay)
        self._name: str | None = None

    def attach(self, engine: AnyEngine, name: str) -> None:
        """Average the outputs of an engine.

        Args:
            engine: the engine whose outputs are averaged.
            name: key of the average in `engine.state.metrics`.

        Raises:
            ArgumentError: the engine has a metric of this name already.
            RunningError: it is attached already.
        """
        if self._name is not None:
            raise RunningError(f"a running average must be attached once, and this one is, as {self._name!r}")
        if f"metric:{name}" in engine.stateful:
            raise ArgumentError(f"`name` must be that of no other metric of the engine, got {name!r}")
        self._name = name
        engine.add_event_handler(Events.STARTED, self._start)
        if self._scope == "epoch":
            engine.add_event_handler(Events.EPOCH_STARTED, self._averages.reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._update)
        engine.stateful[f"metric:{name}"] = self

    def state_dict(self) -> dict[str, Any]:
        """Return the average as a number, None before the first value; this waits for the device."""
        return {"average": self._averages.values().get("average")}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a saved average.

        Args:
            state_dict: what `state_dict` returned.

        Raises:
            StateDictError: it is not such a state; nothing is changed then.
        """
        (average,) = require_keys(state_dict, "average")
        self._averages.load({} if average is None else {"average": average})

    def _start(self, engine: AnyEngine) -> None:
        if not engine.state.resumed:
            self._averages.reset()
        self._publish(engine)

    def _update(self, engine: AnyEngine) -> None:
        output: Any = engine.state.output
        value = output if self._output_transform is None else self._output_transform(output)
        if not is_single_number(value):
            named_numbers({self._name: value}, "output_transform")  # raises the error
        self._averages.update({"average": value})
        self._publish(engine)

    def _publish(self, engine: AnyEngine) -> None:
        average = self._averages.latest.get("average")
        if average is not None:
            engine.state.metrics[self._name or ""] = average


class ExponentialAverages:
    """Exponentially weighted averages by name.

    Args:
        decay: share of an average that stays when a new value comes in; at least 0, below 1.

    Attributes:
        latest: the averages by name; those of tensors are tensors of shape `()` on their device, never changed in
            place.

    Examples:
        >>> averages = ExponentialAverages(decay=0.75)
        >>> averages.update({"loss": 1.0})
        >>> averages.update({"loss": 3.0})
        >>> averages.values()
        {'loss': 1.5}
    """

    def __init__(self, decay: float) -> None:
        self._weight = 1.0 - decay
        self.latest: dict[str, Any] = {}

    def update(self, values: Mapping[str, Any]) -> None:
        """Take in a new value for each name.

        Args:
            values: names to numbers, or to tensors with one element.
        """
        for name, value in values.items():
            average = self.latest.get(name)
            self.latest[name] = _first(value) if average is None else self._next(average, value)

    def values(self) -> dict[str, float]:
        """Return the averages as floats; this waits for the device."""
        return {name: float(average) for name, average in self.latest.items()}

    def reset(self) -> None:
        """Forget all averages."""
        self.latest = {}

    def load(self, values: Mapping[str, float]) -> None:
        """Continue from averages that `values` returned.

        Args:
            values: names to numbers.

        Raises:
            StateDictError: they are not a mapping of names to numbers; nothing is changed then.
        """
        if not isinstance(values, Mapping):
            raise StateDictError(f"`averages` must be a mapping of names to numbers, got {values!r}")
        for name, value in values.items():
            if not isinstance(name, str) or not is_number(value):
                raise StateDictError(f"`averages` must map names to numbers, got {name!r}: {value!r}")
        self.latest = dict(values)

    def _next(self, average: Any, value: Any) -> Any:
        if not is_tensor(value):
            return float(average) + (float(value) - float(average)) * self._weight
        if not is_tensor(average):  # it was restored, and becomes the tensor again that it was when it was saved
            average = _first(value).fill_(average)
        value = value.detach()
        if value.dtype is not average.dtype or value.device != average.device or value.dim():
            value = value.reshape(()).to(average)
        return average.lerp(value, self._weight)


def _first(value: Any) -> Any:
    if not is_tensor(value):
        return float(value)
    wide = value.is_floating_point() and value.element_size() >= 4
    single = value.detach().reshape(())
    return single.clone() if wide else single.float()
