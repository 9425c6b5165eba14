"""Stop a training when a score no longer improves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from camshaft.engine import (
    ArgumentError,
    ArgumentTypeError,
    CallableEventWithFilter,
    Engine,
    Events,
    EventsList,
    StateDictError,
)
from camshaft.handlers._number import is_integer, is_number

AnyEngine = Engine[Any, Any]


class EarlyStopping:
    """Terminate a trainer when a score has not improved for some calls in a row.

    The first call only records. From then on a score improves when it beats the best one by more
    than `min_delta`; any other score counts as a call without improvement, NaN included, and the
    `patience`-th of these in a row terminates the trainer.

    Args:
        patience: calls in a row without improvement that end the training; at least 1.
        score_function: `f(engine)` returns the score of the engine that the handler is attached to.
        trainer: the engine to terminate.
        min_delta: the score must improve by more than this; at least 0.
        cumulative_delta: False: every better score becomes the one to beat, also when it is better
            by `min_delta` or less. True: the one to beat stays until it is beaten by more than that,
            so small gains add up.
        mode: "max" when a higher score is better, "min" when a lower one is.
        threshold_mode: "abs": `min_delta` is in units of the score. "rel": in units of the best
            score's size, so 0.01 is one percent of it.

    Attributes:
        counter: calls without improvement since the last one with.
        best_score: the score to beat, None before the first call.
        trainer: as given.

    Raises:
        ArgumentError: `patience`, `min_delta`, `mode` or `threshold_mode` is out of its range.
        ArgumentTypeError: `score_function` cannot be called, or `trainer` is not an engine.

    Examples:
        >>> trainer = Engine(lambda engine, batch: batch)
        >>> stopping = EarlyStopping(patience=2, score_function=lambda engine: engine.state.output, trainer=trainer)
        >>> stopping.attach(trainer, Events.ITERATION_COMPLETED)
        >>> trainer.run([1, 3, 2, 2, 9]).iteration
        4
    """

    def __init__(
        self,
        patience: int,
        score_function: Callable[[AnyEngine], float],
        trainer: AnyEngine,
        min_delta: float = 0.0,
        cumulative_delta: bool = False,
        *,
        mode: Literal["max", "min"] = "max",
        threshold_mode: Literal["abs", "rel"] = "abs",
    ) -> None:
        if not callable(score_function):
            raise ArgumentTypeError(f"`score_function` must be callable with an engine, got {score_function!r}")
        if not isinstance(trainer, Engine):
            raise ArgumentTypeError(f"`trainer` must be an Engine, got {trainer!r}")
        if not is_integer(patience):
            raise ArgumentTypeError(f"`patience` must be an integer, got {patience!r}")
        if not patience >= 1:
            raise ArgumentError(f"`patience` must be at least 1, got {patience!r}")
        if not min_delta >= 0:
            raise ArgumentError(f"`min_delta` must be at least 0, got {min_delta!r}")
        if mode not in ("max", "min"):
            raise ArgumentError(f"`mode` must be 'max' or 'min', got {mode!r}")
        if threshold_mode not in ("abs", "rel"):
            raise ArgumentError(f"`threshold_mode` must be 'abs' or 'rel', got {threshold_mode!r}")
        self.patience = patience
        self.score_function = score_function
        self.trainer = trainer
        self.min_delta = min_delta
        self.cumulative_delta = cumulative_delta
        self.mode = mode
        self.threshold_mode = threshold_mode
        self.counter = 0
        self.best_score: float | None = None
        self._is_restored = False

    def attach(
        self,
        engine: AnyEngine,
        event: CallableEventWithFilter | EventsList = Events.COMPLETED,
        reset_engine: AnyEngine | None = None,
        reset_event: CallableEventWithFilter | EventsList | None = Events.STARTED,
    ) -> None:
        """Call this handler at an event of `engine`, and start over with each new training.

        Args:
            engine: the engine whose score counts: an evaluator, say.
            event: when to look at the score.
            reset_engine: whose event starts over; None means the trainer.
            reset_event: when to start over; None means never. At STARTED a run that continues an
                earlier one does not start over: what was restored stays, and a training that was
                saved when its patience had run out ends at once. Give it more, or `reset()`, to go on.
        """
        engine.add_event_handler(event, self)
        if reset_event is not None:
            (reset_engine or self.trainer).add_event_handler(reset_event, self._start)

    def __call__(self, engine: AnyEngine, *_: Any) -> None:
        """Look at the score now.

        Raises:
            ArgumentTypeError: the score function returned something that is not a number.
        """
        score = self._score(engine)
        if self.best_score is None:
            self.best_score = score
            return
        if self._improves(score, self.best_score):
            self.best_score, self.counter = score, 0
            return
        if not self.cumulative_delta and self._gain(score, self.best_score) > 0:
            self.best_score = score
        self.counter += 1
        self._stop_if_due()

    def reset(self) -> None:
        """Forget all scores."""
        self.counter = 0
        self.best_score = None

    def state_dict(self) -> dict[str, Any]:
        """Return the counter and the score to beat."""
        return {"counter": self.counter, "best_score": self.best_score}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            StateDictError: an entry is missing, unknown or out of its range; nothing is changed then.
        """
        if not isinstance(state_dict, Mapping) or set(state_dict) != {"counter", "best_score"}:
            raise StateDictError(f"`state_dict` must have 'counter' and 'best_score', got {state_dict!r}")
        counter, best_score = state_dict["counter"], state_dict["best_score"]
        if not is_integer(counter) or counter < 0:
            raise StateDictError(f"`counter` must be an integer of at least 0, got {counter!r}")
        if best_score is not None and not is_number(best_score):
            raise StateDictError(f"`best_score` must be a number or None, got {best_score!r}")
        self.counter = int(counter)
        self.best_score = None if best_score is None else float(best_score)
        self._is_restored = True

    def _start(self, engine: AnyEngine) -> None:
        if not (engine.last_event_name == Events.STARTED and engine.state.resumed):
            self.reset()
        elif self._is_restored:
            self._stop_if_due()
        self._is_restored = False

    def _stop_if_due(self) -> None:
        if self.counter >= self.patience:
            self.trainer.logger.info("EarlyStopping: no improvement on %s in %d calls", self.best_score, self.counter)
            self.trainer.terminate()

    def _score(self, engine: AnyEngine) -> float:
        score = self.score_function(engine)
        try:
            return float(score)
        except (TypeError, ValueError) as error:
            raise ArgumentTypeError(f"`score_function` must return a number, got {score!r}") from error

    def _improves(self, score: float, best: float) -> bool:
        if math.isnan(best):
            return not math.isnan(score)
        # A share of an infinite score says nothing: anything better than it is an improvement.
        relative = self.threshold_mode == "rel"
        margin = self.min_delta * ((0.0 if math.isinf(best) else abs(best)) if relative else 1.0)
        return bool(self._gain(score, best) > margin)

    def _gain(self, score: float, best: float) -> float:
        # Equal infinities would make NaN; NaN itself is no gain in any comparison.
        if score == best:
            return 0.0
        return score - best if self.mode == "max" else best - score
