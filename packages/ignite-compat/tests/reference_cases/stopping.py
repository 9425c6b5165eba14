"""Stopping, timing, storing."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import torch

from ignite.engine import Engine, EventEnum, Events
from ignite.handlers import (
    BasicTimeProfiler,
    EarlyStopping,
    EpochOutputStore,
    HandlersTimeProfiler,
    TerminateOnNan,
    TimeLimit,
    Timer,
)
from reference_cases.tools import case, error_of, warnings_of


def stopped(scores, patience=2, **options):
    trainer = Engine(lambda engine, batch: batch)
    handler = EarlyStopping(patience, lambda engine: engine.state.output, trainer, **options)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, handler)
    trainer.run(scores)
    return trainer.state.iteration, handler.state_dict()


@case
def early_stopping():
    return [
        stopped([1.0, 3.0, 2.0, 2.0, 9.0]), stopped([1.0, 1.05, 1.1, 1.15, 1.2], min_delta=0.1),
        stopped([1.0, 1.05, 1.1, 1.15, 1.2], threshold=0.1),
        stopped([1.0, 1.05, 1.1, 1.15, 1.2], min_delta=0.1, cumulative_delta=True),
        stopped([1.0, 1.06, 1.12, 1.18, 1.2, 1.2], threshold=0.1, cumulative=True),
        stopped([3.0, 2.0, 1.0, 1.0, 1.0], mode="min"),
        stopped([1.0, 1.2, 1.3, 1.35, 1.36], threshold=0.1, threshold_mode="rel"), stopped([1.0, 1.0, 1.0], 1),
    ]  # fmt: skip


@case
def errors_of_early_stopping():
    engine = Engine(lambda engine, batch: None)
    options = [{"patience": 0}, {"min_delta": -1}, {"threshold": -1}, {"score_function": 3}, {"trainer": 3},
               {"mode": "x"}, {"threshold_mode": "x"}]  # fmt: skip
    usual = {"patience": 2, "score_function": lambda engine: 0.0, "trainer": engine}
    handler = EarlyStopping(**usual)
    deprecated = [{"min_delta": 0.5}, {"cumulative_delta": True}, {"min_delta_mode": "rel"}]
    return [
        [error_of(lambda option=option: EarlyStopping(**{**usual, **option})) for option in options],
        error_of(lambda: handler.load_state_dict({"counter": 1})),
        [warnings_of(lambda option=option: EarlyStopping(**usual, **option)) for option in deprecated],
    ]


@case
def stopped_by_nan():
    results = []
    for batches in ([1.0, float("nan"), 2.0], [1.0, float("inf")], [1.0, 2.0]):
        engine = Engine(lambda engine, batch: {"loss": [torch.tensor(batch), batch]})
        engine.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
        results.append([engine.run(batches).iteration, engine.should_terminate])
    return results


@case
def time_limits():
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED, TimeLimit(3600))
    return engine.run([0] * 3).iteration, error_of(lambda: TimeLimit(-1)), error_of(lambda: TimeLimit("a"))


@case
def counted_by_a_timer():
    engine, timer = Engine(lambda engine, batch: None), Timer(average=True)
    same = timer.attach(
        engine, start=Events.EPOCH_STARTED, resume=Events.ITERATION_STARTED, pause=Events.ITERATION_COMPLETED,
        step=Events.ITERATION_COMPLETED,
    )  # fmt: skip
    engine.run([0] * 4, max_epochs=2)
    return timer.step_count, timer.running, same is timer, timer.value() >= 0


@case
def stored_outputs():
    engine = Engine(lambda engine, batch: (batch, 2 * batch))
    store, named = EpochOutputStore(), EpochOutputStore(lambda output: output[1])
    store.attach(engine)
    named.attach(engine, "outputs")
    engine.run([1, 2], max_epochs=2)
    data = store.data
    store.reset()
    return data, named.data, engine.state.outputs, store.data


@case
def basic_profile():
    engine, profiler = Engine(lambda engine, batch: None), BasicTimeProfiler()

    def count(engine):
        pass

    engine.add_event_handler(Events.ITERATION_COMPLETED, count)
    engine.add_event_handler(Events.EPOCH_COMPLETED(every=2), count)
    profiler.attach(engine)
    engine.run([1, 2, 3], max_epochs=2)
    results = profiler.get_results()
    printed = profiler.print_results(results).splitlines()
    return [
        sorted(results),
        {name: sorted(results[name]) for name in ("processing_stats", "dataflow_stats")},
        {name: sorted(stats) for name, stats in results["event_handlers_stats"].items() if name != "total_time"},
        results["event_handlers_names"],
        [line for line in printed if not any(letter.isdigit() for letter in line)],
    ]


class Fired(EventEnum):
    FIRED = "fired"


@case
def profile_of_handlers():
    engine, profiler = Engine(lambda engine, batch: engine.fire_event(Fired.FIRED)), HandlersTimeProfiler()
    engine.register_events(*Fired)

    class Callable:
        def __call__(self, engine):
            pass

        def method(self, engine):
            pass

    handler = Callable()
    profiler.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: None)
    engine.add_event_handler(Fired.FIRED, handler)
    engine.add_event_handler(Events.EPOCH_COMPLETED, handler.method)
    engine.run([1, 2, 3], max_epochs=2)
    rows = profiler.get_results()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile.csv"
        with contextlib.suppress(ModuleNotFoundError):
            profiler.write_results(str(path))
        lines = path.read_text().splitlines() if path.exists() else []
    return [
        sorted([row[0].rsplit(".", 1)[-1], row[1], len(row)] for row in rows),
        sorted(lines[0].replace("profile_of_handlers.<locals>.", "").split(",")) if lines else None,
        len(lines),
    ]
