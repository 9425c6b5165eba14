from __future__ import annotations

from typing import Any

from camshaft.engine import Engine, Events


def step(engine: Engine[Any, Any], batch: Any) -> None:
    """Do nothing."""


def log_loss() -> None:
    """Do nothing."""


class Saver:
    def __call__(self) -> None:
        """Do nothing."""

    def __repr__(self) -> str:
        return "Saver(3)"


def test_printing_an_engine_shows_its_handlers_by_event_in_order_and_where_it_stands() -> None:
    engine: Engine[Any, Any] = Engine(step)
    engine.register_events("halfway")
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=100), log_loss)
    engine.add_event_handler(Events.ITERATION_COMPLETED, Saver())
    engine.add_event_handler("halfway", log_loss)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    engine.run([1, 2, 3], max_epochs=2)

    assert str(engine).splitlines() == [
        "Engine(step): epoch 1, iteration 2 of 2 epochs",
        "    Events.ITERATION_COMPLETED(Periodic(start=0, step=100, stop=None)): log_loss",
        "    Events.ITERATION_COMPLETED: Saver(3)",
        "    Events.ITERATION_COMPLETED(Once(values=(2,))): Engine.terminate",
        "    halfway: log_loss",
    ]


def test_a_handler_that_was_taken_off_is_not_shown() -> None:
    engine: Engine[Any, Any] = Engine(step)
    engine.add_event_handler(Events.STARTED, log_loss).remove()

    assert "log_loss" not in repr(engine)
