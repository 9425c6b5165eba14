"""What a run leaves behind: after errors, in copies, for the next run."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning, Events
from camshaft.engine._run import Run
from camshaft.engine.testing import record_events


@pytest.mark.parametrize(
    "event", [Events.STARTED, Events.ITERATION_STARTED(once=2), Events.ITERATION_COMPLETED(once=2)]
)
def test_a_copy_made_inside_a_run_stands_there_and_is_not_running(event: Any) -> None:
    copies: list[Engine[Any, Any]] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: (engine.state.iteration, batch))
    engine.add_event_handler(event, lambda engine: copies.append(deepcopy(engine)))
    engine.run("abc", max_epochs=2)
    copied = copies[0]
    done = copied.position.iteration

    assert not copied.is_running
    assert copied.state.iteration == done
    copied.terminate()
    assert engine.position.over
    assert not engine.should_terminate
    log = record_events(copied)
    with pytest.warns(EngineWarning, match="terminate"):
        copied.run()
    copied.run()

    assert copied.state.iteration == 6
    assert log.names.count("ITERATION_COMPLETED") == 6 - done


def test_handlers_of_a_copy_act_on_the_copy() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    copied = deepcopy(engine)
    state = copied.run("abc", max_epochs=2)

    assert state.iteration == 2
    assert not engine.should_terminate
    assert copied.has_event_handler(copied.terminate)
    assert deepcopy(Events.STARTED(every=2)).filter == Events.STARTED(every=2).filter


def test_a_state_saved_after_a_failure_is_inexact_until_the_next_run() -> None:
    def step(engine: Engine[Any, Any], batch: Any) -> None:
        if batch == "b":
            raise OSError("disk")

    engine: Engine[Any, Any] = Engine(step)
    assert engine.is_exact
    with pytest.raises(OSError, match="disk"):
        engine.run("abc")
    assert not engine.is_exact
    engine.run("ac")

    assert engine.is_exact


def test_a_loaded_state_is_exact_whatever_was_before() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: 1 / batch)
    with pytest.raises(ZeroDivisionError):
        engine.run([1, 0])
    engine.load_state_dict({"iteration": 1, "max_epochs": 1, "epoch_length": 2})

    assert engine.is_exact


def test_an_iteration_number_is_given_out_once_though_its_epoch_is_cut_off() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    calls: list[int] = []

    @engine.on(Events.ITERATION_STARTED(once=14))
    def cut() -> None:
        calls.append(engine.state.epoch)
        engine.terminate_epoch()

    numbers: list[int] = []
    engine.add_event_handler(Events.ITERATION_STARTED, lambda: numbers.append(engine.state.iteration))
    state = engine.run(range(10), max_epochs=3)

    assert calls == [2]
    assert state.iteration == 24
    assert numbers == list(range(1, 25))


def test_an_error_that_comes_while_a_run_is_left_does_not_lose_its_position(monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=4), engine.terminate)
    leave, calls = Run.leave, []

    def cut_short(run: Run) -> None:
        calls.append(run)
        if len(calls) == 1:
            raise TimeoutError("from a signal handler")
        leave(run)

    monkeypatch.setattr(Run, "leave", cut_short)
    with pytest.raises(TimeoutError):
        engine.run("abc", max_epochs=2)

    assert engine.state_dict()["iteration"] == 4
    assert engine.run().iteration == 6


@pytest.mark.parametrize("event", [Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED, Events.ITERATION_COMPLETED])
def test_an_epoch_that_was_asked_to_end_ends_though_something_raises(event: Events) -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)

    def stop() -> None:
        engine.terminate_epoch()
        raise OSError("disk")

    with engine.add_event_handler(event(once=2), stop), pytest.raises(OSError, match="disk"):
        engine.run("abcd", max_epochs=2)
    log = record_events(engine)
    engine.run()

    assert log.names[:4] == ["STARTED", "TERMINATE_SINGLE_EPOCH", "EPOCH_COMPLETED", "EPOCH_STARTED"]


def test_a_loaded_position_is_saved_again_as_it_was() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.terminate_epoch)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate)
    engine.run([1, 2, 3], max_epochs=4, epoch_length=2)
    saved = engine.state_dict()
    other: Engine[Any, Any] = Engine(lambda engine, batch: None)
    other.load_state_dict(saved)

    assert "position" in saved
    assert other.state_dict() == saved


def test_a_state_without_a_limit_is_that_of_a_new_run() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    engine.run("abc", max_epochs=2)
    engine.state.max_epochs = None
    other: Engine[Any, Any] = Engine(lambda engine, batch: None)
    other.load_state_dict(engine.state_dict())

    assert other.run("abc").iteration == 3


class Keeper:
    """Something with a state, which may refuse one."""

    def __init__(self, value: int, refuses: bool = False) -> None:
        self.value = value
        self.refuses = refuses

    def state_dict(self) -> dict[str, int]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, int]) -> None:
        if self.refuses and state["value"] != self.value:
            raise ValueError("refused")
        self.value = state["value"]


def test_the_objects_of_an_engine_are_loaded_all_or_none() -> None:
    saved: Engine[Any, Any] = Engine(lambda engine, batch: None)
    saved.stateful.update(first=Keeper(1), second=Keeper(2))
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    first = Keeper(10)
    engine.stateful.update(first=first, second=Keeper(20, refuses=True))

    with pytest.raises(ValueError, match="refused"):
        engine.load_state_dict(saved.state_dict())
    assert first.value == 10


def test_calls_that_cannot_be_made_are_refused_at_once() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)

    with pytest.raises(ArgumentTypeError, match="`callback` must be callable, got None"):
        engine.at_safe_point(None)  # type: ignore[arg-type]  # what is tried
    with pytest.raises(ArgumentTypeError, match="`wrap` must be callable"):
        engine.wrap_handlers(None)  # type: ignore[arg-type]  # what is tried
    with pytest.raises(ArgumentError, match="`event` must be known"):
        engine.remove_event_handler(print, None)  # type: ignore[arg-type]  # what is tried


def test_an_early_terminate_is_honoured_once_though_its_warning_is_an_error() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.terminate()

    with pytest.raises(EngineWarning, match="before this run"):
        engine.run("ab")
    assert engine.run("ab").iteration == 2


def test_data_that_cannot_give_its_state_does_not_hide_what_has_failed() -> None:
    class Broken:
        def __iter__(self) -> Any:
            return iter("abc")

        def state_dict(self) -> Any:
            raise OSError("no state")

        def load_state_dict(self, state: Any) -> None: ...

    engine: Engine[Any, Any] = Engine(lambda engine, batch: 1 // 0)

    with pytest.warns(EngineWarning, match="no state.*not saved"), pytest.raises(ZeroDivisionError):
        engine.run(Broken())
