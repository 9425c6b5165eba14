"""The evaluation step: no gradients, evaluation mode, and every mode restored at the end of the run."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from camshaft.engine import Engine, Events

if TYPE_CHECKING:
    from camshaft.supervised._accumulation import AnyEngine, Step
    from camshaft.supervised._precision import Precision


class EvalMode:
    """Evaluation mode of a model for the length of a run.

    Args:
        model: the modes of all its submodules are recorded and restored one by one, so a layer that was frozen in a
            training model is frozen again afterwards.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._recorded: list[tuple[torch.nn.Module, bool]] | None = None
        self._engines: weakref.WeakSet[AnyEngine] = weakref.WeakSet()

    def attach(self, engine: AnyEngine) -> None:
        """Restore the modes whichever way a run of this engine ends."""
        self._engines.add(engine)
        ends = Events.COMPLETED | Events.TERMINATE | Events.INTERRUPT | Events.EXCEPTION_RAISED
        engine.add_event_handler(ends, self.restore)

    def enter(self, engine: AnyEngine) -> None:
        """Put the model into evaluation mode; record the modes before that, the first time in a run."""
        if self._recorded is None and isinstance(engine, Engine) and engine.is_running:
            if engine not in self._engines:
                self.attach(engine)
            self._recorded = [(module, module.training) for module in self._model.modules()]
        self._model.eval()

    @property
    def is_recorded(self) -> bool:
        """Whether a run has recorded the modes that its end will restore."""
        return self._recorded is not None

    def restore(self) -> None:
        """Restore every recorded mode; without a record, do nothing."""
        recorded, self._recorded = self._recorded, None
        for module, training in recorded or ():
            # Not `module.train(...)`: that would also change the modules below it.
            module.training = training


def prediction_and_target(x: Any, y: Any, y_pred: Any) -> tuple[Any, Any]:
    """Return `(y_pred, y)`: the default output."""
    return y_pred, y


def make_evaluation_step(
    model: torch.nn.Module,
    split: Callable[[Any], tuple[Any, Any]],
    predict: Callable[[Any], Any],
    precision: Precision,
    output_transform: Callable[[Any, Any, Any], Any],
    eval_mode: EvalMode,
    synchronize: Callable[[], Any] | None = None,
) -> Step:
    """Return the function that does one iteration of evaluation.

    Args:
        model: put into evaluation mode.
        split: makes `(x, y)` from a batch.
        predict: makes `y_pred` from `x`.
        precision: what the forward pass is computed in.
        output_transform: `f(x, y, y_pred)` makes the output.
        eval_mode: records and restores the modes of the model.
        synchronize: runs what a device has only recorded so far; None where devices compute at once.
    """

    @precision
    def forward(x: Any) -> Any:
        return predict(x)

    def evaluation_step(engine: AnyEngine, batch: Any) -> Any:
        if model.training or not eval_mode.is_recorded:
            eval_mode.enter(engine)
        with torch.no_grad():
            x, y = split(batch)
            y_pred = forward(x)
            if synchronize is not None:
                synchronize()
        return output_transform(x, y, y_pred)

    return evaluation_step
