from __future__ import annotations

import pytest

from camshaft.engine import Engine, EventEnum, Events
from camshaft.handlers import global_step_from_engine


class Backward(EventEnum):
    DONE = "done"


@pytest.fixture
def trainer():
    engine = Engine(lambda engine, batch: None)
    engine.run([1, 2, 3], max_epochs=2)
    return engine


@pytest.mark.parametrize(
    ("event", "step"),
    [
        (Events.ITERATION_COMPLETED, 6),
        (Events.ITERATION_COMPLETED(every=2), 6),
        (Events.EPOCH_COMPLETED, 2),
        (Events.COMPLETED, 2),
    ],
)
def test_the_counter_of_the_event_is_read_from_the_engine(trainer, event, step):
    other = Engine(lambda engine, batch: None)

    assert global_step_from_engine(trainer)(other, event) == step


def test_an_event_can_be_set_once_and_for_all(trainer):
    step = global_step_from_engine(trainer, custom_event_name=Events.ITERATION_COMPLETED)

    assert step(None, Events.COMPLETED) == 6


def test_a_custom_event_is_read_by_its_own_counter(trainer):
    trainer.register_events(*Backward, event_to_attr={Backward.DONE: "backward_count"})
    trainer.state.backward_count = 17

    assert global_step_from_engine(trainer)(None, Backward.DONE) == 17


def test_an_event_without_a_counter_falls_back_to_an_attribute(trainer):
    trainer.state.samples = 99

    assert global_step_from_engine(trainer, fallback_attr="samples")(None, Backward.DONE) == 99


def test_the_counter_is_read_when_asked_for(trainer):
    step = global_step_from_engine(trainer)

    trainer.run([1], max_epochs=5)

    assert step(None, Events.EPOCH_COMPLETED) == 5
