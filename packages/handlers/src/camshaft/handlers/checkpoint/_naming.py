"""What is settled when a handler is called: score, step, priority and file name of a save."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, Events
from camshaft.handlers.checkpoint._name_pattern import NameParts, NamePattern, setup_filename_pattern
from camshaft.handlers.checkpoint._number import as_score, as_step
from camshaft.handlers.checkpoint._objects import Objects, leaves
from camshaft.handlers.checkpoint._retention import Item
from camshaft.handlers.checkpoint.format._file_name import EXTENSION
from camshaft.handlers.checkpoint.format._record import CheckpointRecord

SEVERAL = "checkpoint"
_LAST_EVENTS = (Events.TERMINATE, Events.COMPLETED, Events.INTERRUPT, Events.EXCEPTION_RAISED)

ScoreFunction = Callable[[Engine[Any, Any]], Any]
StepFunction = Callable[[Engine[Any, Any], Any], Any]


@dataclass(frozen=True)
class PendingSave:
    """A save as it was asked for.

    Attributes:
        engine: The engine that the handler was called with.
        to_save: The objects.
        item: Priority and file name.
        record: What the file is to say about itself, as far as it is known yet.
        was_exact: Whether a run could have been continued exactly when the save was asked for.
        is_last: Whether it was asked for as the run ends.
    """

    engine: Engine[Any, Any]
    to_save: Objects
    item: Item
    record: CheckpointRecord
    was_exact: bool = True
    is_last: bool = False

    @property
    def title(self) -> str:
        """What the save is called where several processes talk about it."""
        return f"the save of {self.record.prefix or name_for(self.to_save)}"

    def is_exact(self) -> bool:
        """Return whether a run could be continued exactly from what is saved now."""
        engines = [leaf for _, leaf in leaves(self.to_save) if isinstance(leaf, Engine)]
        return all(engine.is_exact for engine in [self.engine, *engines])


@dataclass(frozen=True)
class Naming:
    """How the saves of a handler are scored, numbered and named.

    Attributes:
        pattern: Pattern of the file names.
        prefix: First part of the file names.
        score_function: ``f(engine)``, None without a score.
        score_name: The name of the score.
        step_function: ``f(engine, event)``, None for the engine's iteration.
        ext: The extension of the file names, which says their format.
    """

    pattern: NamePattern
    prefix: str
    score_function: ScoreFunction | None
    score_name: str | None
    step_function: StepFunction | None
    ext: str = EXTENSION

    @classmethod
    def checked(
        cls,
        template: str | None,
        prefix: str,
        score_function: ScoreFunction | None,
        score_name: str | None,
        step_function: StepFunction | None,
        ext: str = EXTENSION,
    ) -> Naming:
        """Return the naming that a handler's arguments describe.

        Raises:
            ArgumentTypeError: an argument is of the wrong kind.
            ArgumentError: the template uses something that there will not be.
        """
        for argument, value in (
            ("filename_prefix", prefix),
            ("score_name", score_name),
            ("filename_pattern", template),
        ):
            if not isinstance(value, str) and (value is not None or argument == "filename_prefix"):
                raise ArgumentTypeError(f"`{argument}` must be a string, got {value!r}")
        for argument, function in (("score_function", score_function), ("global_step_transform", step_function)):
            if function is not None and not callable(function):
                raise ArgumentTypeError(f"`{argument}` must be callable, got {function!r}")
        if score_function is None and score_name is not None:
            score_function = _metric_reader(score_name, 1.0, "score_name")
        if template is None:
            template = setup_filename_pattern(
                with_prefix=bool(prefix),
                with_score=score_function is not None,
                with_score_name=score_name is not None,
                with_global_step=score_function is None or step_function is not None,
            )
        naming = cls(NamePattern(template), prefix, score_function, score_name, step_function, ext)
        naming._require_values()
        return naming

    def pending_save(self, engine: Engine[Any, Any], to_save: Objects) -> PendingSave:
        """Return a save whose score, step and name are fixed now.

        Raises:
            ArgumentError: score or step is no number.
        """
        score = None if self.score_function is None else as_score(self.score_function(engine))
        if self.step_function is None:
            step: float = _iteration_of(engine)
        else:
            step = as_step(self.step_function(engine, engine.last_event_name))
        name = name_for(to_save)
        item = Item(step if score is None else score, self.filename(name, step, score))
        record = CheckpointRecord(
            step=step, prefix=self.prefix, name=name, score_name=self.score_name, priority=item.priority
        )
        save = PendingSave(engine, to_save, item, record)
        is_last = engine.should_terminate or engine.last_event_name in _LAST_EVENTS
        return replace(save, was_exact=save.is_exact(), is_last=is_last)

    def filename(self, name: str, step: float, score: float | None) -> str:
        """Return the file name of a save."""
        return self.pattern.format(NameParts(name, self.prefix, step, score, self.score_name, self.ext))

    def sample(self, name: str) -> str:
        """Return a file name as an example, with numbers of a usual length."""
        return self.filename(name, 10_000_000, None if self.score_function is None else -0.1234)

    def parse(self, filename: str, **known: str | None) -> Mapping[str, str] | None:
        """Return the parts of a file name, or None if this handler gives no such names."""
        own = {"filename_prefix": self.prefix, "score_name": self.score_name, "ext": self.ext}
        return self.pattern.parse(filename, **{**own, **known})

    def _require_values(self) -> None:
        for field, value in (("score", self.score_function), ("score_name", self.score_name)):
            if field in self.pattern.fields and value is None:
                raise ArgumentError(
                    f"`filename_pattern` must not use {field!r} when there is none, got {self.pattern.template!r}; "
                    f"give `{'score_function' if field == 'score' else field}`"
                )
        sample = self.sample(SEVERAL)
        if self.ext != EXTENSION and not sample.endswith(f".{self.ext}"):
            raise ArgumentError(
                f"`filename_pattern` must end in .{self.ext} for format={self.ext!r}, got {self.pattern.template!r}; "
                "write {ext} there"
            )


def name_for(to_save: Objects) -> str:
    """Return the name that files with these objects get."""
    return next(iter(to_save)) if len(to_save) == 1 else SEVERAL


def get_default_score_fn(metric_name: str, score_sign: float = 1.0) -> ScoreFunction:
    """Return a score function that reads a metric of the engine.

    Args:
        metric_name: Key in `engine.state.metrics`.
        score_sign: -1.0 for what is better when smaller.

    Raises:
        ArgumentError: another sign.

    Examples:
        >>> from camshaft.handlers import Checkpoint
        >>> engine = Engine(lambda engine, batch: None)
        >>> engine.state.metrics["loss"] = 0.25
        >>> Checkpoint.get_default_score_fn("loss", -1.0)(engine)
        -0.25
    """
    if score_sign not in (1.0, -1.0):
        raise ArgumentError(
            f"`score_sign` must be 1.0 or -1.0, got {score_sign!r}; -1.0 is for what is better when smaller"
        )

    return _metric_reader(metric_name, score_sign, "metric_name")


def _metric_reader(metric_name: str, score_sign: float, argument: str) -> ScoreFunction:
    """Return a function that reads a metric of an engine; `argument` is what its user called the name."""

    def score(engine: Engine[Any, Any]) -> Any:
        metrics = engine.state.metrics
        if metric_name not in metrics:
            raise ArgumentError(
                f"`{argument}` must be a metric of the engine, got {metric_name!r}; it has {sorted(metrics)}. "
                "Is the handler attached to the trainer, and the metric one of the evaluator?"
            )
        return score_sign * metrics[metric_name]

    return score


def _iteration_of(engine: Engine[Any, Any]) -> int:
    """Return the number of the iteration that a save of now is of."""
    # A run that ends at an iteration's start has not done it: neither the name nor the state counts it.
    is_ending = engine.is_running and engine.last_event_name in (Events.TERMINATE, Events.COMPLETED)
    return engine.position.iteration if is_ending else engine.state.iteration
