"""What handlers read from an engine to show it or write it down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from camshaft.engine import ArgumentTypeError, Engine
from camshaft.handlers._number import is_single_number, is_tensor, to_number

AnyEngine = Engine[Any, Any]
MetricNames = Iterable[str] | Literal["all"]


class Reading:
    """Chosen numbers of an engine, by name: of its output, of its metrics, and others.

    Args:
        metric_names: keys of `engine.state.metrics` to read as soon as they are there; "all" reads
            every single number in it, None nothing.
        output_transform: makes names and single numbers of the engine's output, or just one number.
            None reads no output.
        values: `values(engine)` returns further names and single numbers.

    Raises:
        ArgumentTypeError: `metric_names` is a single name.

    Examples:
        >>> engine = Engine(lambda engine, batch: batch)
        >>> state = engine.run([0.25])
        >>> state.metrics.update(accuracy=0.5, confusion=[[1, 0], [0, 1]])
        >>> Reading("all", lambda output: {"loss": output})(engine)
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

    def outputs(self, engine: AnyEngine) -> dict[str, Any]:
        """Return the chosen numbers of the output; a tensor stays one, so nothing waits for its device."""
        if self._output_transform is None or engine.state.output is None:
            return {}
        return named_numbers(self._output_transform(engine.state.output), "output_transform")

    def others(self, engine: AnyEngine) -> dict[str, float]:
        """Return the chosen metrics that are single numbers, and the further values; this waits for the device."""
        metrics = engine.state.metrics
        names = metrics if self._metric_names == "all" else self._metric_names
        chosen = {name: metrics[name] for name in names if name in metrics and is_single_number(metrics[name])}
        if self._values is not None:
            chosen |= named_numbers(self._values(engine), "values")
        return {name: to_number(value) for name, value in chosen.items()}

    def __call__(self, engine: AnyEngine) -> dict[str, float]:
        """Return everything chosen, as numbers; this waits for the device."""
        return {name: to_number(value) for name, value in self.outputs(engine).items()} | self.others(engine)


def named_numbers(values: Any, argument: str) -> dict[str, Any]:
    """Return what a function of the user made as names and single numbers.

    Raises:
        ArgumentTypeError: something in it is neither a number nor a tensor with one element.
    """
    named = dict(values) if isinstance(values, Mapping) else {"output": values}
    for name, value in named.items():
        if not is_single_number(value):
            shown = f"a tensor of shape {tuple(value.shape)}" if is_tensor(value) else repr(value)
            raise ArgumentTypeError(f"`{argument}` must return single numbers, got {shown} for {name!r}")
    return named
