"""What scripts written for Ignite do with handlers besides attaching them."""

from __future__ import annotations

import logging

import pytest
import torch

from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, EarlyStopping, ModelCheckpoint, TerminateOnNan, TimeLimit


def make_trainer():
    return Engine(lambda engine, batch: batch)


@pytest.mark.parametrize("kind", [EarlyStopping, TerminateOnNan, TimeLimit])
def test_a_handler_that_stops_writes_to_its_own_logger(kind, caplog):
    trainer = make_trainer()
    arguments = {EarlyStopping: (1, lambda engine: 0.0, trainer), TerminateOnNan: (), TimeLimit: (1e-9,)}
    handler = kind(*arguments[kind])
    handler.logger.setLevel(logging.INFO)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, handler)
    trainer.run([1.0, float("nan")])
    name = type(handler).__name__
    assert [f"{type(handler).__module__}.{name}"] == [
        record.name for record in caplog.records if name in record.message
    ]


def test_a_dict_of_objects_may_be_filled_after_the_checkpoint_is_made(tmp_path):
    to_save, trainer = {}, make_trainer()
    handler = Checkpoint(to_save, tmp_path)
    to_save["model"] = torch.nn.Linear(2, 1)
    trainer.add_event_handler(Events.COMPLETED, handler)
    trainer.run([1.0])
    assert ["model_1.pt"] == [path.name for path in tmp_path.iterdir()]
    assert to_save is handler.to_save


@pytest.mark.parametrize("error", [RuntimeError, TypeError, ValueError])
def test_a_model_checkpoint_without_objects_is_refused(tmp_path, error):
    handler, trainer = ModelCheckpoint(tmp_path), make_trainer()
    with pytest.raises(error, match="`to_save` must name at least one object"):
        handler(trainer, {})


def test_a_model_checkpoint_tells_its_arguments(tmp_path):
    def score(engine):
        return 0.5

    handler = ModelCheckpoint(tmp_path, "best", score_function=score, score_name="accuracy")
    assert (score, "accuracy", "best") == (handler.score_function, handler.score_name, handler.filename_prefix)
