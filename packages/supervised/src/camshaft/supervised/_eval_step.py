"""The evaluation step: no gradients, evaluation mode, and every mode put back at the run's end."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch

from camshaft.engine import Engine, Events

if TYPE_CHECKING:
    from collections.abc import Callable

    from camshaft.supervised._precision import Forward
    from camshaft.supervised._prediction import Prediction
    from camshaft.supervised._train_step import AnyEngine, Step


class Modes:
    """The training or evaluation mode of a model and all its submodules, kept for the length of a run.

    Args:
        model: its modes are recorded and put back module by module, so that a layer that was
            frozen inside a training model is frozen again afterwards.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._recorded: list[tuple[torch.nn.Module, bool]] | None = None
        self._engines: weakref.WeakSet[AnyEngine] = weakref.WeakSet()

    def attach(self, engine: AnyEngine) -> None:
        """Put the modes back whichever way a run of this engine ends."""
        self._engines.add(engine)
        ends = Events.COMPLETED | Events.TERMINATE | Events.INTERRUPT | Events.EXCEPTION_RAISED
        engine.add_event_handler(ends, self.restore)

    def switch_off_training(self, engine: AnyEngine) -> None:
        """Record every mode, the first time in a run, and switch the model to evaluation."""
        if self._recorded is None and isinstance(engine, Engine) and engine.is_running:
            if engine not in self._engines:
                self.attach(engine)
            self._recorded = [(module, module.training) for module in self._model.modules()]
        self._model.eval()

    @property
    def recorded(self) -> bool:
        """Whether a run has begun whose end will put the modes back."""
        return self._recorded is not None

    def restore(self) -> None:
        """Put every recorded mode back; without a record, do nothing."""
        recorded, self._recorded = self._recorded, None
        for module, training in recorded or ():
            # Not `module.train(...)`: that would also change the modules below it.
            module.training = training


def predictions_and_targets(x: Any, y: Any, y_pred: Any) -> tuple[Any, Any]:
    """Return `(y_pred, y)`: the default output."""
    return y_pred, y


def make_evaluation_step(
    prediction: Prediction,
    forward: Forward,
    output_transform: Callable[[Any, Any, Any], Any],
    modes: Modes,
    synchronize: Callable[[], Any] | None = None,
) -> Step:
    """Return the function that does one iteration of evaluation.

    On devices that only record what they are to do, `synchronize` makes them do it.
    """
    model, split, run = prediction.model, prediction.split(), prediction.predict()

    @forward
    def predict(x: Any) -> Any:
        return run(x)

    def evaluation_step(engine: AnyEngine, batch: Any) -> Any:
        if model.training or not modes.recorded:
            modes.switch_off_training(engine)
        with torch.no_grad():
            x, y = split(batch)
            y_pred = predict(x)
            if synchronize is not None:
                synchronize()
        return output_transform(x, y, y_pred)

    return evaluation_step
