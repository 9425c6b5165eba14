"""Checkpoints."""

from __future__ import annotations

import os
import tempfile

from ignite.engine import Engine, Events
from ignite.handlers import (
    Checkpoint,
    DiskSaver,
    ModelCheckpoint,
)
from ignite.handlers.checkpoint import CheckpointEvents
from reference_cases.tools import case, error_of, make_network


@case
def names_of_checkpoints():
    results = []
    usual = {"n_saved": 2}
    for options in (
        {}, {"filename_prefix": "best"}, {"score_function": lambda engine: engine.state.output},
        {"score_function": lambda engine: engine.state.output, "score_name": "loss"}, {"score_name": "acc"},
        {"global_step_transform": lambda engine, event: engine.state.epoch}, {"n_saved": None},
        {"score_name": "acc", "global_step_transform": lambda *_: 7, "filename_prefix": "p"}, {"include_self": True},
        {"filename_pattern": "{filename_prefix}_{global_step}-{name}.{ext}", "filename_prefix": "x"},
        {"greater_or_equal": True, "score_function": lambda engine: 1.0, "score_name": "same",
         "global_step_transform": lambda engine, event: engine.state.iteration},
    ):  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            trainer = Engine(lambda engine, batch: batch)
            trainer.state.metrics["acc"] = 0.25
            handler = Checkpoint({"model": make_network(), "trainer": trainer}, folder, **{**usual, **options})
            trainer.add_event_handler(Events.EPOCH_COMPLETED, handler)
            trainer.run([0.5, 0.75, 0.625], max_epochs=3)
            state = handler.state_dict()
            results.append([sorted(os.listdir(folder)), handler.last_checkpoint, state])  # noqa: PTH208
    return results


@case
def model_checkpoints():
    with tempfile.TemporaryDirectory() as folder:
        trainer = Engine(lambda engine, batch: None)
        handler = ModelCheckpoint(folder, "myprefix", n_saved=2, create_dir=True)
        trainer.add_event_handler(Events.EPOCH_COMPLETED(every=2), handler, {"mymodel": make_network()})
        trainer.run([0, 1, 2, 3, 4], max_epochs=6)
        errors = [
            error_of(lambda: ModelCheckpoint(folder, "other")), error_of(lambda: DiskSaver(folder)),
            error_of(lambda: DiskSaver(folder + "/missing", create_dir=False)), error_of(lambda: handler(trainer)),
        ]  # fmt: skip
        return sorted(os.listdir(folder)), handler.last_checkpoint, errors, isinstance(handler, Checkpoint)  # noqa: PTH208


@case
def model_checkpoint_with_objects_by_name():
    with tempfile.TemporaryDirectory() as folder:
        trainer, handler = Engine(lambda engine, batch: None), ModelCheckpoint(folder, "p", n_saved=None)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, handler, to_save={"model": make_network()})
        trainer.run([0, 1], max_epochs=2)
        return sorted(os.listdir(folder)), handler.last_checkpoint  # noqa: PTH208


@case
def save_handlers_of_ones_own():
    saved = []
    engine = Engine(lambda engine, batch: None)
    model = make_network()
    for handler in (lambda c, f, m: saved.append([sorted(c), f, dict(m)]), lambda c, f: saved.append([sorted(c), f])):
        Checkpoint({"model": model, "engine": engine}, handler, n_saved=None)(engine)
    return saved


@case
def saved_event():
    with tempfile.TemporaryDirectory() as folder:
        trainer, seen = Engine(lambda engine, batch: None), []
        trainer.register_events(*CheckpointEvents)
        trainer.add_event_handler(Checkpoint.SAVED_CHECKPOINT, lambda engine: seen.append(engine.state.epoch))
        trainer.add_event_handler(Events.EPOCH_COMPLETED(every=2), Checkpoint({"model": make_network()}, folder))
        trainer.run([0], max_epochs=5)
        return seen


@case
def patterns_of_names():
    return [
        Checkpoint.setup_filename_pattern(),
        Checkpoint.setup_filename_pattern(with_prefix=False, with_score=False, with_score_name=False),
        Checkpoint.setup_filename_pattern(with_score_name=False, with_global_step=False),
        error_of(lambda: Checkpoint.setup_filename_pattern(with_score=False)),
        error_of(lambda: Checkpoint.get_default_score_fn("acc", 2.0)),
    ]
