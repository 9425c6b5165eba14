from __future__ import annotations

import contextlib
import gc
import logging
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from camshaft.engine import (
    ArgumentError,
    ArgumentTypeError,
    Engine,
    EngineWarning,
    Events,
    Position,
    RunningError,
    RunPlan,
    State,
)
from camshaft.engine.testing import record_events

EVERY_EVENT = [
    Events.STARTED, Events.EPOCH_STARTED, Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED,
    Events.ITERATION_STARTED, Events.ITERATION_COMPLETED, Events.DATALOADER_STOP_ITERATION, Events.EPOCH_COMPLETED,
]  # fmt: skip


class Failure(Exception):
    pass


def fail(*args: Any) -> None:
    raise Failure


def make(seen: list[Any] | None = None) -> Engine[Any, Any]:
    return Engine(lambda engine, batch: None if seen is None else seen.append(batch))


# ---------------------------------------------------------------------- new runs and continued ones


def test_a_first_run_and_a_run_after_a_finished_one_are_new() -> None:
    engine = make()
    resumed: list[bool] = []
    engine.add_event_handler(Events.STARTED, lambda: resumed.append(engine.state.resumed))
    assert engine.run([1, 2], max_epochs=2).iteration == 4
    state = engine.run([1, 2, 3])

    assert (state.iteration, state.epoch, state.max_epochs, state.epoch_length) == (3, 1, 1, 3)
    assert resumed == [False, False]


def test_a_new_run_keeps_metrics_and_user_attributes() -> None:
    engine = make()
    engine.state.metrics["accuracy"] = 0.5
    engine.state.alpha = 3
    engine.run([1])
    engine.run([1])

    assert engine.state.metrics == {"accuracy": 0.5}
    assert engine.state.alpha == 3


def test_a_finished_run_goes_on_with_a_larger_limit_and_refuses_a_smaller_one() -> None:
    engine = make()
    engine.run([1, 2], max_epochs=2)
    with pytest.raises(
        ArgumentError, match=r"`max_epochs` must be .* \(2\), got 1; set `engine.state.max_epochs = None`"
    ):
        engine.run([1, 2], max_epochs=1)
    assert engine.run([1, 2], max_epochs=3).iteration == 6
    assert engine.state.resumed
    assert engine.run([1, 2], max_epochs=3).iteration == 6
    assert not engine.state.resumed


def test_max_epochs_none_forces_a_new_run() -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate)
    engine.run([1, 2], max_epochs=3)
    engine.state.max_epochs = None
    state = engine.run([1, 2], max_epochs=1)

    assert not state.resumed
    assert state.iteration == 2


def test_a_continued_run_refuses_another_epoch_length_and_says_how_to_restart() -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate)
    engine.run([1, 2], max_epochs=3)
    before = (engine.state_dict(), vars(engine.state).copy())
    with pytest.raises(ArgumentError, match=r"`epoch_length` must stay 2.*got 5.*max_epochs = None"):
        engine.run([1, 2], epoch_length=5)

    assert before == (engine.state_dict(), vars(engine.state))
    assert engine.run([1, 2], epoch_length=2).iteration == 6


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"max_epochs": 0}, "max_epochs"),
        ({"max_epochs": 1.5}, "max_epochs"),
        ({"max_epochs": True}, "max_epochs"),
        ({"epoch_length": 0}, "epoch_length"),
        ({"epoch_length": "3"}, "epoch_length"),
        ({"max_iters": -1}, "max_iters"),
        ({"max_epochs": 1, "max_iters": 1}, "max_iters"),
        ({"seed": 1.5}, "seed"),
        ({"seed": True}, "seed"),
    ],
)
def test_arguments_of_a_run_out_of_their_range_are_refused_and_the_engine_is_unchanged(
    arguments: dict[str, Any], name: str
) -> None:
    engine = make()
    before = vars(engine.state).copy()
    with pytest.raises(ArgumentError, match=f"`{name}`"):
        engine.run([1], **arguments)

    assert before == vars(engine.state)
    assert not engine.is_running


def test_the_two_limits_exclude_each_other_in_a_continued_run_too() -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.terminate)
    engine.run([1, 2], max_epochs=2)
    with pytest.raises(ArgumentError, match=r"`max_iters` excludes .*`max_epochs` \(2\), got 7"):
        engine.run(max_iters=7)
    engine.state.max_epochs, engine.state.max_iters = None, 3
    assert engine.run().iteration == 3

    with pytest.raises(ArgumentError, match="`max_iters` must be .*got 2"):
        engine.run(max_iters=2)
    other = make()
    other.add_event_handler(Events.ITERATION_COMPLETED(once=1), other.terminate)
    other.run([1, 2], max_iters=2)
    with pytest.raises(ArgumentError, match=r"`max_epochs` excludes .*`max_iters` \(2\), got 7"):
        other.run(max_epochs=7)


def test_a_run_needs_data_or_the_length_of_an_epoch() -> None:
    with pytest.raises(ArgumentError, match="`epoch_length` must be given"):
        make().run()


def test_the_length_of_one_run_is_never_carried_to_other_data_without_a_length() -> None:
    engine = make()
    assert engine.run(iter([1, 2, 3])).epoch_length == 3
    assert engine.run(iter([1, 2, 3, 4, 5])).epoch_length == 5


def test_a_length_once_found_is_remembered_for_the_same_data() -> None:
    class Unsized:
        def __iter__(self) -> Iterator[int]:
            return iter([1, 2, 3])

    engine, data = make(), Unsized()
    engine.run(data)
    engine.state.max_epochs = None
    log = record_events(engine)
    engine.run(data, max_epochs=2)

    assert log.names.count("DATALOADER_STOP_ITERATION") == 1
    assert log.names.count("GET_BATCH_STARTED") == 6


def test_a_length_found_with_the_help_of_other_data_is_not_remembered() -> None:
    class Unsized:
        def __iter__(self) -> Iterator[int]:
            return iter([1, 2, 3])

    engine, data = make(), Unsized()
    with engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda: engine.set_data(data)):
        assert engine.run(iter([1, 2])).epoch_length == 4

    assert engine.run(data).epoch_length == 3


def test_the_same_data_goes_on_where_it_was_and_other_data_starts_at_its_beginning() -> None:
    seen: list[Any] = []
    engine = make(seen)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    data = "abcd"
    engine.run(data, max_epochs=2)
    engine.run(data)
    assert "".join(seen) == "abcdabcd"

    del seen[:]
    other = make(seen)
    other.add_event_handler(Events.ITERATION_COMPLETED(once=2), other.terminate)
    other.run(data, max_epochs=2)
    other.run("wxyz")
    assert "".join(seen) == "abwxyzwx"


def test_a_seed_is_kept_in_the_state_of_the_run_and_of_its_continuation() -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.terminate)
    assert engine.run([1, 2], max_epochs=2, seed=12).seed == 12
    assert engine.run().seed == 12
    assert engine.run([1]).seed is None


class Counting:
    """Data that keeps its place across `iter`, and counts how often it is asked for it."""

    def __init__(self, length: int = 5) -> None:
        self.length, self.place, self.asked = length, 0, 0

    def __iter__(self) -> Iterator[int]:
        while self.place < self.length:
            self.place += 1
            yield self.place
        self.place = 0

    def state_dict(self) -> dict[str, int]:
        self.asked += 1
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.place = state["place"]


def test_stateful_data_is_opened_through_its_own_state() -> None:
    seen: list[Any] = []
    engine = make(seen)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    engine.run(Counting(), max_epochs=2, epoch_length=5)
    saved = engine.state_dict()
    assert saved["position"]["data_state"] == {"place": 2}
    engine.run()
    assert seen == [1, 2, 3, 4, 5] * 2

    del seen[:]
    other = make(seen)
    other.load_state_dict(saved)
    other.run(Counting())
    assert seen == [3, 4, 5, 1, 2, 3, 4, 5]

    lost = make(seen)
    lost.add_event_handler(Events.ITERATION_STARTED(once=2), lost.terminate)
    lost.run(Counting(), max_epochs=2, epoch_length=5)
    with pytest.warns(EngineWarning, match="fetched for iteration 2"):
        lost.run()


def test_a_suspended_run_over_stateful_data_can_be_saved() -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.interrupt)
    engine.run(Counting(), epoch_length=5)

    assert engine.state_dict()["position"]["data_state"] == {"place": 3}


def test_reading_the_position_never_asks_the_data() -> None:
    data, engine = Counting(), make()
    asked: list[int] = []

    @engine.on(Events.ITERATION_COMPLETED)
    def read() -> None:
        asked.append(engine.position.batch and data.asked)

    engine.run(data, epoch_length=5)

    assert asked == [0] * 5


def test_what_is_saved_at_started_of_a_continued_run_is_where_it_stands_not_where_untouched_data_does() -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate)
    engine.run(Counting(), epoch_length=5, max_epochs=2)
    other = make()
    other.load_state_dict(engine.state_dict())
    saved: list[Any] = []
    other.add_event_handler(Events.STARTED, lambda: saved.append(other.state_dict()["position"]["data_state"]))
    other.add_event_handler(Events.STARTED, other.terminate)
    other.run(Counting())

    assert [*saved, other.state_dict()["position"]["data_state"]] == [{"place": 3}, {"place": 3}]


def test_a_finished_run_over_stateful_data_goes_on_inside_its_pass_when_its_limit_is_raised() -> None:
    engine = make()
    engine.run(Counting(), epoch_length=2)
    used: list[Any] = []
    other = make(used)
    other.load_state_dict(engine.state_dict())
    other.run(Counting(), max_epochs=2)

    assert used == [3, 4]


# ---------------------------------------------------------------------- running, re-entering


def test_run_inside_its_own_run_is_refused_and_the_running_one_unharmed() -> None:
    seen: list[Any] = []
    engine = make(seen)
    refused: list[str] = []

    @engine.on(Events.ITERATION_STARTED)
    def reenter() -> None:
        try:
            engine.run([9])
        except RunningError as error:
            refused.append(str(error))

    state = engine.run([1, 2])

    assert seen == [1, 2]
    assert len(refused) == 2
    assert "run() must not be called inside a run" in refused[0]
    assert state.dataloader == [1, 2]


def test_load_state_dict_inside_the_run_is_refused_and_the_run_unharmed() -> None:
    engine = make()

    @engine.on(Events.ITERATION_COMPLETED)
    def load() -> None:
        with pytest.raises(RunningError):
            engine.load_state_dict({"iteration": 0, "max_epochs": 9, "epoch_length": 9})

    assert engine.run([1, 2]).iteration == 2


def test_another_engine_runs_inside_a_handler() -> None:
    outer, inner = make(), make()
    running: list[tuple[bool, bool]] = []
    inner.add_event_handler(Events.COMPLETED, lambda: running.append((outer.is_running, inner.is_running)))
    outer.add_event_handler(Events.ITERATION_COMPLETED, inner.run, [1, 2, 3])
    outer.run([1, 2])

    assert running == [(True, True)] * 2
    assert (outer.is_running, inner.is_running) == (False, False)
    assert (outer.state.iteration, inner.state.iteration) == (2, 3)


# ---------------------------------------------------------------------- failing


@pytest.mark.parametrize("error", [Failure, KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration])
def test_an_exception_of_the_step_is_told_once_and_propagates(error: type[BaseException]) -> None:
    def step(engine: Engine[Any, Any], batch: Any) -> None:
        if batch == 2:
            raise error

    engine: Engine[Any, Any] = Engine(step)
    told: list[BaseException] = []
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: told.append(error))
    with pytest.raises(error) as caught:
        engine.run([1, 2, 3], max_epochs=2)

    assert told == [caught.value]
    assert engine.state.iteration == 1
    assert not engine.is_running
    assert not engine.is_exact


def test_the_next_run_after_a_failure_goes_on_at_the_failed_iteration() -> None:
    seen: list[Any] = []

    def step(engine: Engine[Any, Any], batch: Any) -> None:
        seen.append(batch)
        if len(seen) == 2:
            raise Failure

    engine: Engine[Any, Any] = Engine(step)
    with pytest.raises(Failure):
        engine.run("abc", max_epochs=2)
    log = record_events(engine)
    state = engine.run()

    assert "".join(seen) == "abbcabc"
    assert log.names[:3] == ["STARTED", "ITERATION_COMPLETED", "GET_BATCH_STARTED"]
    assert state.iteration == 6


def test_once_a_handler_of_failures_was_removed_errors_still_propagate() -> None:
    engine = Engine(fail)
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda: None).remove()

    with pytest.raises(Failure):
        engine.run([1])


@pytest.mark.parametrize("event", EVERY_EVENT)
def test_a_handler_that_raises_ends_the_run_behind_its_event_which_does_not_come_again(event: Events) -> None:
    whole = record_events(expected := make())
    expected.run([1, 2], max_epochs=2)
    engine = make()
    log = record_events(engine)
    armed = [True]

    @engine.on(event)
    def once() -> None:
        if armed and engine.state.iteration + engine.state.epoch >= (0 if event is Events.STARTED else 1):
            armed.clear()
            raise Failure

    with pytest.raises(Failure):
        engine.run([1, 2], max_epochs=2)
    assert log.names[-2:] == [event.name, "EXCEPTION_RAISED"]
    first = log[:-1]
    log.clear()
    engine.run()

    assert first + log[1:] == list(whole)
    assert log.names[0] == "STARTED"


def test_a_failed_evaluator_begins_anew() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: fail() if batch == 2 and not healed else None)
    healed: list[bool] = []
    with pytest.raises(Failure):
        engine.run([1, 2, 3])
    healed.append(True)
    state = engine.run([1, 2, 3])

    assert (state.iteration, state.resumed) == (3, False)


def test_a_handler_of_failures_that_raises_replaces_the_exception_chained() -> None:
    engine = Engine(fail)

    def replace(engine: Engine[Any, Any], error: BaseException) -> None:
        raise OSError("instead")

    engine.add_event_handler(Events.EXCEPTION_RAISED, replace)
    with pytest.raises(OSError, match="instead") as caught:
        engine.run([1])

    assert isinstance(caught.value.__context__, Failure)
    assert not engine.is_running


def test_terminate_in_a_handler_of_failures_makes_a_clean_end() -> None:
    def step(engine: Engine[Any, Any], batch: Any) -> None:
        if batch == 2:
            raise KeyboardInterrupt

    engine: Engine[Any, Any] = Engine(step)
    log = record_events(engine)
    exact: list[bool] = []
    engine.add_event_handler(Events.EXCEPTION_RAISED, engine.terminate)
    engine.add_event_handler(Events.EXCEPTION_RAISED, engine.at_safe_point, lambda: exact.append(engine.is_exact))
    engine.add_event_handler(Events.COMPLETED, engine.at_safe_point, lambda: exact.append(engine.is_exact))
    state = engine.run([1, 2, 3], max_epochs=2)

    assert log.names[-3:] == ["EXCEPTION_RAISED", "TERMINATE", "COMPLETED"]
    assert state.iteration == 1
    assert exact == [False, False]
    assert not engine.is_exact


def test_terminate_before_the_exception_does_not_handle_it() -> None:
    def step(engine: Engine[Any, Any], batch: Any) -> None:
        engine.terminate()
        raise Failure

    engine: Engine[Any, Any] = Engine(step)
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda: None)
    with pytest.raises(Failure):
        engine.run([1])

    assert not engine.should_terminate


def test_other_stops_in_a_handler_of_failures_have_no_effect() -> None:
    engine = Engine(fail)
    log = record_events(engine)
    engine.add_event_handler(Events.EXCEPTION_RAISED, engine.interrupt)
    engine.add_event_handler(Events.EXCEPTION_RAISED, engine.terminate_epoch)
    with pytest.raises(Failure):
        engine.run([1], max_epochs=2)

    assert log.names[-1] == "EXCEPTION_RAISED"
    assert not engine.should_interrupt


@pytest.mark.parametrize("event", [Events.TERMINATE, Events.COMPLETED, Events.INTERRUPT, Events.TERMINATE_SINGLE_EPOCH])
def test_a_failure_while_the_run_ends_propagates_and_leaves_a_working_engine(event: Events) -> None:
    stop = {Events.INTERRUPT: "interrupt", Events.TERMINATE_SINGLE_EPOCH: "terminate_epoch"}.get(event, "terminate")
    engine = make()
    log = record_events(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), getattr(engine, stop))
    handle = engine.add_event_handler(event, fail)
    with pytest.raises(Failure):
        engine.run([1, 2], max_epochs=2)
    assert log.names[-2:] == [event.name, "EXCEPTION_RAISED"]
    handle.remove()

    assert engine.run().iteration == (3 if stop == "terminate_epoch" else 4)


def test_a_failure_of_the_logger_leaves_a_working_engine() -> None:
    class Broken(logging.Logger):
        def info(self, *args: Any, **kwargs: Any) -> None:
            raise Failure

    engine = make()
    working, engine.logger = engine.logger, Broken("broken")
    with pytest.raises(Failure):
        engine.run([1])
    engine.logger = working

    assert not engine.is_running
    assert engine.run([1]).iteration == 1


def test_data_that_cannot_say_where_it_stands_leaves_a_working_engine() -> None:
    class Saving(list[int]):
        def state_dict(self) -> None:
            raise Failure

        def load_state_dict(self, state: object) -> None:
            pass

    engine = make()
    handle = engine.add_event_handler(Events.ITERATION_COMPLETED, engine.terminate)
    with pytest.raises(Failure):
        engine.run(Saving([1, 2]), max_epochs=2)
    handle.remove()

    assert not engine.is_running
    assert engine.run([1, 2]).iteration >= 3


# ---------------------------------------------------------------------- hooks, logs, types


def test_prepare_may_refuse_before_anything_changes_or_change_the_plan() -> None:
    class Careful(Engine[Any, Any]):
        def prepare(self, plan: RunPlan) -> RunPlan:
            if plan.seed == 13:
                raise Failure
            return plan.replace(seed=7)

    engine = Careful(lambda engine, batch: None)
    before = vars(engine.state).copy()
    with pytest.raises(Failure):
        engine.run([1], seed=13)
    assert before == vars(engine.state)
    assert not engine.is_running

    assert engine.run([1]).seed == 7


def test_sources_and_hooks_are_told_the_position() -> None:
    opened: list[tuple[int, int, bool]] = []
    resumed: list[str | None] = []
    closed: list[str] = []

    class Source:
        def __init__(self, data: Any) -> None:
            self.data = data

        def open(self, position: Position) -> Iterator[Any]:
            opened.append((position.data_pass, position.batch, position.pass_open))
            return iter(self.data[position.batch :])

        def state(self, position: Position) -> Any:
            return {"asked": position.next_event}

        def close(self) -> None:
            closed.append(self.data)

    class Opening(Engine[Any, Any]):
        def make_source(self, data: Any) -> Source:
            return Source(data)

        def resumed(self, position: Position) -> None:
            resumed.append(position.next_event)

    engine = Opening(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate)
    engine.run("ab", max_epochs=2)
    assert opened == [(0, 0, False), (1, 0, False)]
    assert engine.state_dict()["position"]["data_state"] == {"asked": "GET_BATCH_STARTED"}
    engine.run()

    assert opened[2:] == [(1, 1, True)]
    assert resumed == ["GET_BATCH_STARTED"]
    assert closed == ["ab", "ab"]


def test_the_run_is_logged_at_its_start_its_epochs_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    engine = make()
    engine.logger = logging.getLogger("mine")
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate)
    with caplog.at_level(logging.INFO, "mine"):
        engine.run([1, 2], max_epochs=2)
        engine.run()

    assert [record.getMessage() for record in caplog.records] == [
        "run starts: 2 epochs, epoch length 2",
        "epoch 1 completed: 2 iterations in all",
        "run ends: epoch 2, iteration 3",
        "run continues: 2 epochs, epoch length 2",
        "epoch 2 completed: 4 iterations in all",
        "run ends: epoch 2, iteration 4",
    ]


def test_a_state_that_is_none_is_refused_and_one_set_between_runs_counts() -> None:
    engine = make()
    with pytest.raises(ArgumentTypeError, match="`state`"):
        engine.state = {}  # type: ignore[assignment]  # what is tried is what is refused
    engine.register_events("halfway", event_to_attr={"halfway": "halves"})
    engine.state = State(alpha=1)

    assert engine.state.halves == 0
    assert engine.run([1]).alpha == 1


# ---------------------------------------------------------------------- memory


@pytest.mark.parametrize("ending", ["finished", "failed", "terminated", "interrupted", "failed twice"])
def test_an_unreferenced_engine_is_freed_without_the_cycle_collector(ending: str) -> None:
    gc.collect()
    gc.disable()
    try:
        engine = make()
        engine.register_events("halfway")
        record_events(engine)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda engine: None)
        stop = {"failed": fail, "failed twice": fail, "terminated": Engine.terminate, "interrupted": Engine.interrupt}
        if ending in stop:
            engine.add_event_handler(Events.ITERATION_STARTED(once=2), stop[ending])
        if ending == "failed twice":
            engine.add_event_handler(Events.EXCEPTION_RAISED, fail)
        with contextlib.suppress(Failure):
            engine.run([1, 2, 3], max_epochs=2)
        reference = weakref.ref(engine)
        del engine
        assert reference() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("ending", ["finished", "failed", "terminated"])
def test_a_run_keeps_no_reference_to_its_batches(ending: str) -> None:
    class Tracked:
        pass

    references: list[weakref.ref[Any]] = []

    def produce(_: int) -> Tracked:
        batch = Tracked()
        references.append(weakref.ref(batch))
        return batch

    gc.disable()
    try:
        engine = make()
        if ending != "finished":
            engine.add_event_handler(Events.ITERATION_STARTED(once=2), fail if ending == "failed" else engine.terminate)
        with contextlib.suppress(Failure):
            engine.run(map(produce, range(3)))
        assert [reference() for reference in references] == [None] * len(references)
    finally:
        gc.enable()


@pytest.mark.parametrize("fails", [False, True])
def test_memory_stays_flat_over_many_runs(fails: bool) -> None:
    def step(engine: Engine[Any, Any], batch: Any) -> None:
        if fails and batch == 2:
            raise Failure

    engine: Engine[Any, Any] = Engine(step)
    record_events(engine).stop()
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda: None)

    def runs(count: int) -> None:
        for _ in range(count):
            with contextlib.suppress(Failure):
                engine.run([1, 2, 3])

    tracemalloc.start()
    try:
        runs(2000)  # the interpreter keeps some memory of its own for the next objects, up to a limit
        before = tracemalloc.get_traced_memory()[0]
        runs(1000)
        assert tracemalloc.get_traced_memory()[0] - before < 4096
    finally:
        tracemalloc.stop()


def test_no_output_but_the_last_is_kept() -> None:
    class Output:
        pass

    references: list[weakref.ref[Any]] = []

    def step(engine: Engine[Any, Any], batch: Any) -> Output:
        output = Output()
        references.append(weakref.ref(output))
        return output

    engine: Engine[Any, Any] = Engine(step)
    engine.run([1, 2, 3])
    assert [reference() is not None for reference in references] == [False, False, True]
    engine.add_event_handler(Events.STARTED, lambda: references.append(engine.state.output))
    engine.run([1])

    assert references[3] is None
