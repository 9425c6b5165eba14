"""Stop training when a score no longer improves."""

from __future__ import annotations

import logging
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
    as_integer,
)
from camshaft.handlers._number import is_single_number, to_number
from camshaft.handlers._saved_state import require_integer, require_keys

AnyEngine = Engine[Any, Any]


class EarlyStopping:
    """Terminates a trainer when a score has not improved for some calls in a row.

    The first call only records the score. After that, a score is an improvement if it is better than the best one by
    more than `min_delta`. Every other score, NaN included, is a call without improvement, and `patience` of these in a
    row terminate the trainer.

    Args:
        patience: how many calls in a row without improvement end the training; at least 1.
        score_function: `f(engine)` returns the score of the engine that the handler is attached to: a number, or a
            tensor with one element.
        trainer: the engine to terminate.
        min_delta: the score must improve by more than this; at least 0.
        cumulative_delta: False: every better score becomes the best one, even if it is better by `min_delta` or less.
            True: the best score changes only when it is beaten by more than `min_delta`, so small gains add up.
        mode: "max" if a higher score is better, "min" if a lower one is.
        threshold_mode: "abs": `min_delta` is a difference of scores. "rel": it is a share of the best score, so 0.01
            is one percent of it.

    Attributes:
        counter: calls in a row without improvement.
        best_score: the best score, None before the first call.
        trainer: as given.
        logger: where it writes; None, as at first, for the engine's own logger.

    Raises:
        ArgumentError: `patience`, `min_delta`, `mode` or `threshold_mode` is out of its range.
        ArgumentTypeError: `score_function` is not callable, or `trainer` is not an engine.

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
            foreign = " of pytorch-ignite" if type(trainer).__module__.startswith("ignite.") else ""
            raise ArgumentTypeError(f"`trainer` must be an Engine of camshaft.engine, got {trainer!r}{foreign}")
        patience = as_integer("patience", patience, least=1)
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
        self.logger: logging.Logger | None = None
        self._is_restored = False

    def attach(
        self,
        engine: AnyEngine,
        event: CallableEventWithFilter | EventsList = Events.COMPLETED,
        reset_engine: AnyEngine | None = None,
        reset_event: CallableEventWithFilter | EventsList | None = Events.STARTED,
    ) -> None:
        """Check the score at an event of an engine, and start again with each new training.

        Args:
            engine: the engine whose score is checked, usually an evaluator.
            event: when to check the score.
            reset_engine: the engine whose `reset_event` resets this handler; None means the trainer.
            reset_event: when to reset; None means never. At STARTED a continued run does not reset: what was restored
                is kept. A training that was saved when its patience had run out then ends at once; increase
                `patience` or call `reset()` to continue it.
        """
        engine.add_event_handler(event, self)
        if reset_event is not None:
            (reset_engine or self.trainer).add_event_handler(reset_event, self._start)

    def __call__(self, engine: AnyEngine, *_: Any) -> None:
        """Check the score now.

        Args:
            engine: the engine to pass to the score function.

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
        """Return the counter and the best score."""
        return {"counter": self.counter, "best_score": self.best_score}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a saved state. That of pytorch-ignite's handler will do.

        Args:
            state_dict: what `state_dict` returned. Its `best_score` may be a tensor with one element, and it may have
                the `threshold_mode` of this handler.

        Raises:
            StateDictError: an entry is missing, unknown or out of its range; nothing is changed then.
        """
        rest = dict(state_dict) if isinstance(state_dict, Mapping) else state_dict
        if isinstance(rest, dict) and (mode := rest.pop("threshold_mode", self.threshold_mode)) != self.threshold_mode:
            raise StateDictError(f"`threshold_mode` must be that of the handler, {self.threshold_mode!r}, got {mode!r}")
        counter, best_score = require_keys(rest, "counter", "best_score")
        number = is_single_number(best_score) and not isinstance(best_score, bool)
        if best_score is not None and not number:
            raise StateDictError(f"`best_score` must be a number or None, got {best_score!r}")
        self.counter = require_integer("counter", counter)
        self.best_score = None if best_score is None else to_number(best_score)
        self._is_restored = True

    def _start(self, engine: AnyEngine) -> None:
        if not (engine.last_event_name == Events.STARTED and engine.state.resumed):
            self.reset()
        elif self._is_restored:
            self._stop_if_due()
        self._is_restored = False

    def _stop_if_due(self) -> None:
        if self.counter >= self.patience:
            logger = self.logger or self.trainer.logger
            logger.info("EarlyStopping: no improvement on %s in %d calls", self.best_score, self.counter)
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
        # There is no share of an infinite score: anything better than it is an improvement.
        relative = self.threshold_mode == "rel"
        margin = self.min_delta * ((0.0 if math.isinf(best) else abs(best)) if relative else 1.0)
        # Compared with the bound itself: a difference of scores may round to more than they differ by.
        return score > best + margin if self.mode == "max" else score < best - margin

    def _gain(self, score: float, best: float) -> float:
        # The difference of equal infinities would be NaN. NaN itself is no gain in any comparison.
        if score == best:
            return 0.0
        return score - best if self.mode == "max" else best - score
