"""What handlers read from an engine in order to show it or to write it down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from camshaft.engine import ArgumentTypeError, Engine
from camshaft.handlers._number import is_single_number, is_tensor, to_number

AnyEngine = Engine[Any, Any]
MetricNames = Iterable[str] | Literal["all"]


class ValueReader:
    """Reads chosen numbers of an engine by name: from its output, from its metrics, and others.

    Args:
        metric_names: keys of `engine.state.metrics`, read as soon as they are there. "all" reads every single number
            in it, None nothing.
        output_transform: `f(output)` makes a mapping of names to single numbers, or just one number, from the
            engine's output. None reads no output.
        values: `values(engine)` returns a mapping of further names to single numbers.

    Raises:
        ArgumentTypeError: `metric_names` is a single name.

    Examples:
        >>> engine = Engine(lambda engine, batch: batch)
        >>> state = engine.run([0.25])
        >>> state.metrics.update(accuracy=0.5, confusion=[[1, 0], [0, 1]])
        >>> ValueReader("all", lambda output: {"loss": output}).read(engine)
        {'loss': 0.25, 'accuracy': 0.5}
    """

    def __init__(
        self,
        metric_names: MetricNames | None = None,
        output_transform: Callable[[Any], Any] | None = None,
        values: Callable[[AnyEngine], Mapping[str, Any]] | None = None,
    ) -> None:
        if isinstance(metric_names, str) and metric_names != "all":
            raise ArgumentTypeError(f"`metric_names` must be 'all' or several names, got {metric_names!r}; use a list")
        self._metric_names = metric_names if metric_names == "all" else tuple(metric_names or ())
        self._output_transform = output_transform
        self._values = values

    def read(self, engine: AnyEngine) -> dict[str, float]:
        """Return everything that was chosen, as floats; this waits for the device.

        Args:
            engine: the engine to read from.
        """
        return {name: to_number(value) for name, value in self.read_output(engine).items()} | self.read_rest(engine)

    def read_output(self, engine: AnyEngine) -> dict[str, Any]:
        """Return the chosen numbers of the output. Tensors stay tensors, so nothing waits for their device.

        Args:
            engine: the engine to read from.
        """
        if self._output_transform is None or engine.state.output is None:
            return {}
        return named_numbers(self._output_transform(engine.state.output), "output_transform")

    def read_rest(self, engine: AnyEngine) -> dict[str, float]:
        """Return the chosen metrics and the further values, as floats; this waits for the device.

        Args:
            engine: the engine to read from.
        """
        metrics = engine.state.metrics
        names = metrics if self._metric_names == "all" else self._metric_names
        chosen = {name: metrics[name] for name in names if name in metrics and is_single_number(metrics[name])}
        if self._values is not None:
            chosen |= named_numbers(self._values(engine), "values")
        return {name: to_number(value) for name, value in chosen.items()}


def named_numbers(values: Any, argument: str) -> dict[str, Any]:
    """Return what a user's function made as a dict of names to single numbers.

    Args:
        values: a mapping, or one number, which is then called "output".
        argument: the argument that the function was given for, for the error.

    Raises:
        ArgumentTypeError: a value is neither a number nor a tensor with one element.
    """
    named = dict(values) if isinstance(values, Mapping) else {"output": values}
    for name, value in named.items():
        if not is_single_number(value):
            shown = f"a tensor of shape {tuple(value.shape)}" if is_tensor(value) else repr(value)
            raise ArgumentTypeError(f"`{argument}` must return single numbers, got {shown} for {name!r}")
    return named
