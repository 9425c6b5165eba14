from __future__ import annotations

import gc
import weakref

import pytest

from camshaft.engine import Engine, Events
from camshaft.handlers import Logger, global_step_from_engine


class ListLogger(Logger):
    def __init__(self):
        self.rows = []
        self.is_closed = False

    def write(self, values, step):
        self.rows.append((step, dict(values)))

    def close(self):
        self.is_closed = True


def make_engine():
    return Engine(lambda engine, batch: batch)


def test_values_are_written_with_the_counter_of_the_event():
    engine, logger = make_engine(), ListLogger()
    logger.attach(engine, Events.ITERATION_COMPLETED(every=2), output_transform=lambda output: {"loss": output})
    logger.attach(engine, Events.EPOCH_COMPLETED, output_transform=lambda output: {"last": output})

    engine.run([1, 2, 3], max_epochs=2)

    assert logger.rows == [
        (2, {"loss": 2}), (1, {"last": 3}), (4, {"loss": 1}), (6, {"loss": 3}), (2, {"last": 3}),
    ]  # fmt: skip


def test_each_event_of_a_list_has_its_own_counter():
    engine, logger = make_engine(), ListLogger()
    logger.attach(engine, Events.ITERATION_COMPLETED | Events.EPOCH_COMPLETED, output_transform=lambda output: output)

    engine.run([1, 2])

    assert [step for step, _ in logger.rows] == [1, 2, 1]


def test_without_a_choice_all_metrics_are_written():
    engine, logger = make_engine(), ListLogger()
    engine.state.metrics.update(accuracy=0.5, matrix=[1])
    logger.attach(engine)

    engine.run([1])

    assert logger.rows == [(1, {"accuracy": 0.5})]


def test_a_tag_goes_in_front_of_each_name():
    engine, logger = make_engine(), ListLogger()
    engine.state.metrics.update(accuracy=0.5)
    logger.attach(engine, tag="test", metric_names=["accuracy"], values=lambda engine: {"lr": 0.1})

    engine.run([1])

    assert logger.rows == [(1, {"test/accuracy": 0.5, "test/lr": 0.1})]


def test_an_evaluation_is_written_under_the_step_of_its_trainer():
    trainer, evaluator, logger = make_engine(), make_engine(), ListLogger()
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([5]))
    logger.attach(
        evaluator, Events.COMPLETED, output_transform=lambda output: output,
        global_step_transform=global_step_from_engine(trainer),
    )  # fmt: skip

    trainer.run([1, 2], max_epochs=3)

    assert [step for step, _ in logger.rows] == [1, 2, 3]


def test_nothing_is_written_where_there_is_no_value():
    engine, logger = make_engine(), ListLogger()
    logger.attach(engine, Events.STARTED, output_transform=lambda output: output)
    logger.attach(engine, Events.COMPLETED, metric_names=["missing"])

    engine.run([1])

    assert logger.rows == []


def test_any_event_can_be_logged_at():
    engine, logger = make_engine(), ListLogger()
    logger.attach(engine, Events.EXCEPTION_RAISED | Events.TERMINATE_SINGLE_EPOCH, values=lambda engine: {"at": 1})
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda: engine.terminate_epoch())
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        engine.run([1, 2], max_epochs=2)

    assert logger.rows == [(1, {"at": 1}), (2, {"at": 1})]


def test_a_block_closes_the_logger():
    with ListLogger() as logger:
        assert not logger.is_closed

    assert logger.is_closed


def test_a_logger_keeps_no_engine_alive():
    engine, logger = make_engine(), ListLogger()
    logger.attach(engine, Events.ITERATION_COMPLETED, output_transform=lambda output: output)
    engine.run([1])
    reference = weakref.ref(engine)

    gc.disable()
    try:
        del engine
        assert reference() is None
    finally:
        gc.enable()
