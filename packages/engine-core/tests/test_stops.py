from __future__ import annotations

import threading
from typing import Any

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning, Events, RunningError
from camshaft.engine.testing import record_events

EVERY_EVENT = [
    Events.STARTED, Events.EPOCH_STARTED, Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED,
    Events.ITERATION_STARTED, Events.ITERATION_COMPLETED, Events.DATALOADER_STOP_ITERATION, Events.EPOCH_COMPLETED,
]  # fmt: skip


def make(seen: list[Any] | None = None) -> Engine[Any, Any]:
    return Engine(lambda engine, batch: None if seen is None else seen.append(batch))


# ---------------------------------------------------------------------- terminate


@pytest.mark.parametrize("event", EVERY_EVENT)
def test_terminate_takes_effect_right_behind_the_event_of_its_call(event: Events) -> None:
    engine = make()
    log = record_events(engine)
    engine.add_event_handler(event, engine.terminate)
    engine.run([1, 2], max_epochs=3)

    assert log.names[-3:] == [event.name, "TERMINATE", "COMPLETED"]
    assert log.names.count(event.name) == 1
    assert "TERMINATE_SINGLE_EPOCH" not in log.names


@pytest.mark.parametrize("event", EVERY_EVENT)
def test_terminate_can_leave_completed_out(event: Events) -> None:
    engine = make()
    log = record_events(engine)
    engine.add_event_handler(event, engine.terminate, skip_completed=True)
    engine.run([1, 2], max_epochs=3)

    assert log.names[-2:] == [event.name, "TERMINATE"]


def test_terminate_from_the_step_lets_iteration_completed_come_first() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: engine.terminate() if batch == 2 else None)
    log = record_events(engine)
    state = engine.run([1, 2, 3])

    assert log.names[-3:] == ["ITERATION_COMPLETED", "TERMINATE", "COMPLETED"]
    assert state.iteration == 2


def test_terminate_from_a_custom_event_of_the_step_lets_iteration_completed_come_first() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: engine.fire_event("halfway"))
    engine.register_events("halfway")
    engine.add_event_handler("halfway", engine.terminate)
    log = record_events(engine)
    engine.run([1, 2, 3])

    assert log.names[-3:] == ["ITERATION_COMPLETED", "TERMINATE", "COMPLETED"]


def test_all_handlers_of_the_event_run_before_terminate_takes_effect() -> None:
    engine = make()
    calls: list[str] = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, engine.terminate)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: calls.append("behind"))
    engine.run([1, 2])

    assert calls == ["behind"]


def test_should_terminate_stays_true_until_the_next_run_begins() -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.terminate)
    flags: list[bool] = []
    engine.add_event_handler(Events.STARTED, lambda: flags.append(engine.should_terminate))
    assert not engine.should_terminate
    engine.run([1, 2], max_epochs=2)
    assert engine.should_terminate
    engine.run()

    assert flags == [False, False]
    assert not engine.should_terminate


def test_terminate_before_a_run_is_kept_and_honoured_once() -> None:
    engine = make()
    log = record_events(engine)
    engine.terminate()
    assert engine.should_terminate
    with pytest.warns(EngineWarning, match="before this run"):
        engine.run([1, 2])
    assert log.names == ["STARTED", "TERMINATE", "COMPLETED"]

    assert engine.run([1, 2]).iteration == 2


def test_a_terminated_epoch_keeps_its_remaining_iterations() -> None:
    seen: list[Any] = []
    engine = make(seen)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    engine.run("abc", max_epochs=2)
    log = record_events(engine)
    state = engine.run()

    assert "".join(seen) == "abcabc"
    assert log.names[:3] == ["STARTED", "GET_BATCH_STARTED", "GET_BATCH_COMPLETED"]
    assert log.names.count("EPOCH_STARTED") == 1
    assert state.resumed


def test_data_that_cannot_be_opened_in_its_middle_starts_again_with_one_warning() -> None:
    class Plain:
        def __iter__(self) -> Any:
            return iter("abc")

    seen: list[Any] = []
    engine = make(seen)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    engine.run(Plain(), max_epochs=2, epoch_length=3)
    with pytest.warns(EngineWarning, match="after batch 2") as caught:
        engine.run()

    assert len(caught) == 1
    assert "".join(seen) == "ababca"


def test_terminate_at_the_very_end_leaves_a_finished_run() -> None:
    engine = make()
    engine.add_event_handler(Events.EPOCH_COMPLETED(once=2), engine.terminate)
    engine.run([1], max_epochs=2)
    log = record_events(engine)
    state = engine.run([1], max_epochs=2)

    assert not state.resumed
    assert log.names.count("EPOCH_COMPLETED") == 2


@pytest.mark.parametrize("event", [Events.TERMINATE, Events.COMPLETED])
def test_terminate_while_the_run_ends_fires_nothing_twice(event: Events) -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.terminate)
    engine.add_event_handler(event, engine.terminate)
    log = record_events(engine)
    engine.run([1, 2], max_epochs=2)

    assert log.names[-2:] == ["TERMINATE", "COMPLETED"]
    assert log.names.count("TERMINATE") == log.names.count("COMPLETED") == 1


def test_terminate_at_completed_changes_nothing() -> None:
    engine = make()
    engine.add_event_handler(Events.COMPLETED, engine.terminate)
    log = record_events(engine)
    engine.run([1], max_epochs=2)
    assert log.names.count("COMPLETED") == 1
    assert "TERMINATE" not in log.names

    assert engine.run([1], max_epochs=2).iteration == 2


def test_a_terminated_evaluator_begins_anew() -> None:
    seen: list[Any] = []
    engine = make(seen)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    for _ in range(2):
        state = engine.run("abc")
        assert not state.resumed

    assert "".join(seen) == "abab"


# ---------------------------------------------------------------------- terminate_epoch


@pytest.mark.parametrize("event", EVERY_EVENT[2:6])
@pytest.mark.parametrize("skip", [False, True])
def test_terminate_epoch_ends_the_epoch_and_starts_a_new_pass(event: Events, skip: bool) -> None:
    seen: list[Any] = []
    engine = make(seen)
    log = record_events(engine)

    @engine.on(event)
    def end() -> None:
        if engine.state.epoch == 1 and seen:
            engine.terminate_epoch(skip)

    engine.run("abc", max_epochs=2)
    place = log.names.index("TERMINATE_SINGLE_EPOCH")

    assert "".join(seen) == "aabc"
    assert log.names[place - 1] == event.name
    assert log[place].detail == (2 if event is Events.ITERATION_STARTED else 1)
    assert log.names[place + 1] == ("EPOCH_STARTED" if skip else "EPOCH_COMPLETED")
    assert log.names.count("DATALOADER_STOP_ITERATION") == 0


def test_terminate_epoch_from_the_step_lets_iteration_completed_come_first() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: engine.terminate_epoch())
    log = record_events(engine)
    engine.run([1, 2], max_epochs=2)

    place = log.names.index("TERMINATE_SINGLE_EPOCH")
    assert log.names[place - 1] == "ITERATION_COMPLETED"
    assert engine.state.iteration == 2


@pytest.mark.parametrize("event", [Events.STARTED, Events.EPOCH_STARTED])
def test_terminate_epoch_before_the_epoch_is_refused(event: Events) -> None:
    engine = make()
    engine.add_event_handler(event, engine.terminate_epoch)

    with pytest.raises(RunningError, match=event.name):
        engine.run([1])


@pytest.mark.parametrize(
    "event", [Events.EPOCH_COMPLETED, Events.TERMINATE_SINGLE_EPOCH, Events.COMPLETED, Events.DATALOADER_STOP_ITERATION]
)
def test_terminate_epoch_never_ends_an_epoch_twice(event: Events) -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.terminate_epoch)
    engine.add_event_handler(event, engine.terminate_epoch)
    log = record_events(engine)
    state = engine.run([1, 2], max_epochs=3)

    assert state.epoch == 3
    assert log.names.count("EPOCH_COMPLETED") == log.names.count("EPOCH_STARTED") == 3


def test_terminate_in_the_event_of_an_ended_epoch_comes_before_epoch_completed() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: engine.terminate_epoch())
    engine.add_event_handler(Events.TERMINATE_SINGLE_EPOCH, engine.terminate)
    log = record_events(engine)
    engine.run([1, 2], max_epochs=2)
    assert log.names[-3:] == ["TERMINATE_SINGLE_EPOCH", "TERMINATE", "COMPLETED"]
    log.clear()
    engine.run()

    assert log.names[:3] == ["STARTED", "EPOCH_COMPLETED", "EPOCH_STARTED"]


def test_terminate_wins_over_terminate_epoch_and_the_epoch_ends_when_the_run_goes_on() -> None:
    engine = make()

    @engine.on(Events.ITERATION_COMPLETED(once=1))
    def both() -> None:
        engine.terminate_epoch()
        engine.terminate()

    log = record_events(engine)
    engine.run([1, 2], max_epochs=2)
    assert log.names[-3:] == ["ITERATION_COMPLETED", "TERMINATE", "COMPLETED"]
    log.clear()
    engine.run()

    assert log.names[:4] == ["STARTED", "TERMINATE_SINGLE_EPOCH", "EPOCH_COMPLETED", "EPOCH_STARTED"]


# ---------------------------------------------------------------------- interrupt


@pytest.mark.parametrize("event", EVERY_EVENT)
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(event: Events) -> None:
    whole = record_events(expected := make())
    expected.run(iter("abcdef"), max_epochs=3, epoch_length=2)
    seen: list[Any] = []
    engine = make(seen)
    log = record_events(engine)
    engine.add_event_handler(event, engine.interrupt)
    data = iter("abcdef")
    state = engine.run(data, max_epochs=3, epoch_length=2)
    while log.names[-1] == "INTERRUPT":
        assert log.names[-2] == event.name
        assert state.batch is None
        assert engine.should_interrupt
        assert state is engine.run()

    assert [entry for entry in log if entry.event != "INTERRUPT"] == list(whole)
    assert "".join(seen) == "abcdef"
    assert not engine.should_interrupt


def test_an_interrupted_evaluator_can_be_continued() -> None:
    seen: list[Any] = []
    engine = make(seen)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    engine.run(iter("abc"), epoch_length=3)
    engine.run()

    assert "".join(seen) == "abc"


def test_setting_max_epochs_to_none_drops_the_suspended_run() -> None:
    seen: list[Any] = []
    engine = make(seen)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    engine.run("abc", max_epochs=2)
    engine.state.max_epochs = None
    engine.run("xyz")

    assert "".join(seen) == "abxy"  # interrupted again, at its own second iteration


def test_loading_a_state_drops_the_suspended_run() -> None:
    seen: list[Any] = []
    engine = make(seen)
    engine.add_event_handler(Events.ITERATION_STARTED(once=2), engine.interrupt)
    engine.run("abc")
    engine.load_state_dict({"iteration": 2, "max_epochs": 1, "epoch_length": 3})
    engine.run("xyz")

    assert "".join(seen) == "az"


@pytest.mark.parametrize("event", [Events.GET_BATCH_COMPLETED(once=1), Events.ITERATION_STARTED(once=2)])
def test_an_interrupted_run_given_other_data_starts_it_from_its_beginning(event: Any) -> None:
    seen: list[Any] = []
    engine = make(seen)
    engine.add_event_handler(event, engine.interrupt)
    engine.run("abcd")
    engine.run("wxyz")
    position = engine.position

    assert "".join(seen) == "awxy"
    assert (position.data_pass, position.batch) == (1, 3)


def test_data_set_while_a_batch_is_held_survives_the_interruption() -> None:
    seen: list[Any] = []
    engine = make(seen)

    @engine.on(Events.ITERATION_STARTED(once=2))
    def change() -> None:
        engine.set_data("xyz")
        engine.interrupt()

    engine.run(iter("abcd"), epoch_length=4)
    engine.run()

    assert "".join(seen) == "abxy"


@pytest.mark.parametrize("event", [Events.COMPLETED, Events.TERMINATE])
def test_an_interrupt_while_the_run_ends_suspends_nothing(event: Events) -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.terminate)
    engine.add_event_handler(event, engine.interrupt)
    log = record_events(engine)
    engine.run([1, 2], max_epochs=2)

    assert "INTERRUPT" not in log.names
    assert not engine.should_interrupt


@pytest.mark.parametrize("name", ["terminate_epoch", "interrupt"])
def test_other_stops_outside_a_run_are_refused(name: str) -> None:
    with pytest.raises(RunningError, match=rf"{name}\(\)"):
        getattr(make(), name)()


# ---------------------------------------------------------------------- set_data


def test_data_set_before_a_run_counts_only_when_the_run_is_given_none() -> None:
    seen: list[Any] = []
    engine = make(seen)
    engine.set_data("abc")
    engine.run("xy")
    engine.set_data("abc")
    engine.run()

    assert "".join(seen) == "xyabc"


@pytest.mark.parametrize(("data", "error"), [(3, ArgumentTypeError), ([], ArgumentError)])
def test_data_that_cannot_be_run_is_refused(data: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="data"):
        make().set_data(data)
    with pytest.raises(error, match="data"):
        make().run(data)


# ---------------------------------------------------------------------- safe points


def test_a_safe_point_comes_behind_all_handlers_of_the_event() -> None:
    engine = make()
    calls: list[str] = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: engine.at_safe_point(lambda: calls.append("saved")))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: calls.append("scheduled"))
    engine.add_event_handler(Events.COMPLETED, lambda: calls.append("completed"))
    engine.run([1])

    assert calls == ["scheduled", "saved", "completed"]


def test_outside_a_run_a_safe_point_is_now() -> None:
    calls: list[str] = []
    make().at_safe_point(lambda: calls.append("saved"))

    assert calls == ["saved"]


def test_a_safe_point_of_an_inner_engine_waits_for_the_outermost_one() -> None:
    outer, inner = make(), make()
    calls: list[str] = []
    inner.add_event_handler(Events.COMPLETED, lambda: inner.at_safe_point(lambda: calls.append("saved")))
    outer.add_event_handler(Events.EPOCH_COMPLETED, inner.run, [1])
    outer.add_event_handler(Events.EPOCH_COMPLETED, lambda: calls.append("scheduled"))
    outer.run([1])

    assert calls == ["scheduled", "saved"]


def test_an_engine_of_another_thread_has_safe_points_of_its_own() -> None:
    outer, other = make(), make()
    calls: list[str] = []
    other.add_event_handler(Events.COMPLETED, lambda: other.at_safe_point(lambda: calls.append("other")))

    def evaluate() -> None:
        thread = threading.Thread(target=other.run, args=([1],))
        thread.start()
        thread.join()
        calls.append("joined")

    outer.add_event_handler(Events.ITERATION_STARTED, evaluate)
    outer.run([1])

    assert calls == ["other", "joined"]


@pytest.mark.parametrize("event", [Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED])
def test_what_is_asked_for_between_fetch_and_step_waits_for_iteration_completed(event: Events) -> None:
    engine = make()
    log = record_events(engine)
    saved: list[tuple[str, int]] = []
    engine.add_event_handler(
        event(once=1), lambda: engine.at_safe_point(lambda: saved.append((log.names[-1], engine.position.iteration)))
    )
    engine.run([1, 2, 3])

    assert saved == [("ITERATION_COMPLETED", 1 if event is Events.ITERATION_STARTED else 2)]


def test_what_the_step_asks_for_waits_for_iteration_completed() -> None:
    saved: list[int] = []
    engine: Engine[Any, Any] = Engine(
        lambda engine, batch: engine.at_safe_point(lambda: saved.append(engine.position.iteration))
    )
    engine.run([1, 2])

    assert saved == [1, 2]


@pytest.mark.parametrize("stop", ["terminate", "terminate_epoch", "interrupt"])
def test_a_safe_point_comes_before_a_stop_takes_effect(stop: str) -> None:
    engine = make()
    log = record_events(engine)
    saved: list[str] = []

    @engine.on(Events.ITERATION_COMPLETED(once=1))
    def both() -> None:
        getattr(engine, stop)()
        engine.at_safe_point(lambda: saved.append(log.names[-1]))

    engine.run([1, 2], max_epochs=2)

    assert saved == ["ITERATION_COMPLETED"]


def test_a_stop_asked_for_at_the_safe_point_takes_effect_at_once() -> None:
    for stop, event in (
        ("terminate", "TERMINATE"),
        ("interrupt", "INTERRUPT"),
        ("terminate_epoch", "TERMINATE_SINGLE_EPOCH"),
    ):
        engine = make()
        log = record_events(engine)
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.at_safe_point, getattr(engine, stop))
        engine.run([1, 2], max_epochs=2)

        assert log.names[log.names.index("ITERATION_COMPLETED") + 1] == event


def test_safe_points_wait_while_they_are_held() -> None:
    engine = make()
    saved: list[tuple[int, bool]] = []
    engine.hold_safe_points(lambda: engine.state.iteration % 3 != 0)
    engine.add_event_handler(
        Events.ITERATION_COMPLETED(once=[1, 5]),
        lambda: engine.at_safe_point(lambda: saved.append((engine.state.iteration, engine.is_exact))),
    )
    engine.run(range(9))

    assert saved == [(3, True), (6, True)]


@pytest.mark.parametrize("stop", ["terminate", "interrupt", "complete", "max_iters"])
def test_a_run_that_ends_with_safe_points_held_calls_them_as_inexact(stop: str) -> None:
    engine = make()
    saved: list[bool] = []
    engine.hold_safe_points(lambda: True)
    engine.add_event_handler(
        Events.ITERATION_COMPLETED(once=2), engine.at_safe_point, lambda: saved.append(engine.is_exact)
    )
    if stop in ("terminate", "interrupt"):
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), getattr(engine, stop))
    limits: dict[str, int] = {"max_iters": 3} if stop == "max_iters" else {}
    engine.run(range(4), **limits)  # type: ignore[arg-type]  # an integer for max_iters

    assert saved == [False]
    assert not engine.is_exact  # it still holds them


def test_callbacks_run_in_order_and_may_ask_for_more() -> None:
    engine = make()
    calls: list[str] = []

    def first() -> None:
        calls.append("first")
        engine.at_safe_point(lambda: calls.append("third"))

    engine.add_event_handler(Events.ITERATION_COMPLETED, engine.at_safe_point, first)
    engine.add_event_handler(Events.ITERATION_COMPLETED, engine.at_safe_point, lambda: calls.append("second"))
    engine.run([1])

    assert calls == ["first", "second", "third"]


def test_a_callback_that_raises_fails_the_run_and_the_others_are_called_as_inexact() -> None:
    engine = make()
    calls: list[bool] = []

    def fail() -> None:
        raise OSError("disk full")

    engine.add_event_handler(Events.EPOCH_COMPLETED(once=1), engine.at_safe_point, fail)
    engine.add_event_handler(
        Events.EPOCH_COMPLETED(once=1), engine.at_safe_point, lambda: calls.append(engine.is_exact)
    )
    log = record_events(engine)
    with pytest.raises(OSError, match="disk full"):
        engine.run([1], max_epochs=2)
    assert (calls, log.names[-1]) == ([False], "EXCEPTION_RAISED")

    assert engine.run().iteration == 2
    assert calls == [False]


def test_a_callback_of_one_run_never_reaches_the_next() -> None:
    engine = make()
    calls: list[str] = []

    def fail() -> None:
        engine.at_safe_point(lambda: calls.append("late"))
        raise OSError

    engine.add_event_handler(Events.STARTED, fail)
    engine.add_event_handler(Events.EXCEPTION_RAISED, fail)
    with pytest.raises(OSError):  # noqa: PT011  # it has no text
        engine.run([1])
    engine.remove_event_handler(fail, Events.STARTED)
    engine.run([1])

    assert calls == []


@pytest.mark.parametrize("first", [True, False])
def test_what_a_safe_point_sees_does_not_depend_on_the_order_of_handlers(first: bool) -> None:
    engine = make()
    model = {"weight": 0}
    saved: list[int] = []

    def train() -> None:
        model["weight"] += 1

    def save() -> None:
        engine.at_safe_point(lambda: saved.append(model["weight"]))

    for handler in (save, train) if first else (train, save):
        engine.add_event_handler(Events.ITERATION_COMPLETED, handler)
    engine.run([1, 2])

    assert saved == [1, 2]
