from __future__ import annotations

from typing import Any

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, Events
from camshaft.handlers.checkpoint._naming import Naming, get_default_score_fn, name_for
from camshaft.handlers.checkpoint._retention import Item
from camshaft.handlers.checkpoint.format._record import CheckpointRecord


class Counter:
    """The smallest thing with a state."""

    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Take nothing over."""


def engine_at(iteration: int) -> Engine[Any, Any]:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.state.iteration = iteration
    return engine


def test_without_a_score_the_step_is_the_priority() -> None:
    engine = engine_at(7)
    request = Naming.checked(None, "last", None, None, None).pending_save(engine, {"a": Counter(), "b": Counter()})

    assert request.engine is engine
    assert request.item == Item(7, "last_checkpoint_7.pt")
    assert request.record == CheckpointRecord(step=7, prefix="last", name="checkpoint", priority=7)


def test_with_a_score_it_is_the_priority_and_the_step_is_told_all_the_same() -> None:
    naming = Naming.checked(None, "", lambda engine: 0.5, "acc", None)
    request = naming.pending_save(engine_at(7), {"m": Counter()})

    assert request.item == Item(0.5, "m_acc=0.5000.pt")
    assert request.record == CheckpointRecord(step=7, name="m", score_name="acc", priority=0.5)


def test_the_step_function_gets_engine_and_event() -> None:
    seen: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    naming = Naming.checked(None, "", None, None, lambda engine, event: seen.append((engine, event)) or 3)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: naming.pending_save(engine, {"m": Counter()}) and None)
    engine.run([1])

    assert seen == [(engine, Events.EPOCH_COMPLETED)]


def test_a_pattern_that_names_the_step_has_it() -> None:
    naming = Naming.checked("{name}-{score}-{global_step}.{ext}", "", lambda engine: 1, None, None)

    assert naming.pending_save(engine_at(7), {"m": Counter()}).item.filename == "m-1-7.pt"


def test_own_names_come_apart_and_others_do_not() -> None:
    naming = Naming.checked(None, "best", lambda engine: 0, "acc", None)

    assert naming.parse(naming.sample("model")) is not None
    assert naming.parse(naming.sample("model"), name="other") is None
    assert naming.parse("last_model_acc=0.5000.pt") is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((None, 5, None, None, None), ArgumentTypeError),
        ((5, "", None, None, None), ArgumentTypeError),
        ((None, "", None, 5, None), ArgumentTypeError),
        ((None, "", 5, None, None), ArgumentTypeError),
        ((None, "", None, None, 5), ArgumentTypeError),
        (("{score}.pt", "", None, None, None), ArgumentError),
        (("{score_name}.pt", "", lambda engine: 1, None, None), ArgumentError),
        (("{nothing}.pt", "", None, None, None), KeyError),
        (("{name:{nothing}}.pt", "", None, None, None), KeyError),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"filename|score|global_step"):
        Naming.checked(*arguments)


def test_a_request_is_exact_unless_an_engine_in_it_fails() -> None:
    naming, seen = Naming.checked(None, "", None, None, None), []
    other = engine_at(1)

    def step(engine: Engine[Any, Any], batch: int) -> None:
        raise ValueError("stop")

    trainer: Engine[Any, Any] = Engine(step)
    trainer.add_event_handler(
        Events.STARTED, lambda: seen.append(naming.pending_save(trainer, {"m": Counter()}).is_exact())
    )

    @trainer.on(Events.EXCEPTION_RAISED)
    def look() -> None:
        for engine, objects in ((trainer, {"m": Counter()}), (other, {"t": [trainer]}), (other, {"m": Counter()})):
            seen.append(naming.pending_save(engine, objects).is_exact())

    with pytest.raises(ValueError, match="stop"):
        trainer.run([1])
    assert seen == [True, False, False, True]


def test_a_metric_that_is_not_there_is_named() -> None:
    engine = engine_at(1)
    engine.state.metrics["loss"] = 0.5

    assert get_default_score_fn("loss", -1)(engine) == -0.5
    with pytest.raises(ArgumentError, match=r"'acc'.*loss"):
        get_default_score_fn("acc")(engine)


def test_one_object_gives_its_name_and_several_have_one_together() -> None:
    assert name_for({"model": Counter()}) == "model"
    assert name_for({"model": Counter(), "optimizer": Counter()}) == "checkpoint"


def test_a_metric_that_is_missing_is_an_error_that_names_the_argument_and_the_evaluator() -> None:
    engine = Engine(lambda engine, batch: None)
    by_name = Naming.checked(None, "", None, "accuracy", None).score_function
    assert by_name is not None

    with pytest.raises(ArgumentError, match=r"`score_name` must .* 'accuracy'; it has \[\]\. .* the evaluator"):
        by_name(engine)
    engine.state.metrics["loss"] = 1.0
    with pytest.raises(ArgumentError, match=r"`metric_name` must .* 'accuracy'; it has \['loss'\]"):
        get_default_score_fn("accuracy")(engine)
