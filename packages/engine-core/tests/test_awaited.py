"""What is called at a safe point after work of another thread is done."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from camshaft.engine import Engine, Events


def test_it_is_called_at_the_first_safe_point_after_the_work_is_done() -> None:
    work: Future[None] = Future()
    called: list[int] = []

    def step(engine: Engine[int, None], batch: int) -> None:
        if batch == 2:
            engine.at_safe_point(lambda: called.append(engine.state.iteration), after=work)
        if batch == 5:
            thread = threading.Thread(target=work.set_result, args=(None,))
            thread.start()
            thread.join()

    Engine(step).run(range(9))

    assert called == [6]


@pytest.mark.parametrize("event", [Events.STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED])
@pytest.mark.parametrize("way", ["to the end", "terminate", "interrupt"])
def test_it_is_called_at_the_last_safe_point_if_the_work_is_not_done_by_then(event: Events, way: str) -> None:
    called: list[object] = []
    engine: Engine[int, None] = Engine(lambda engine, batch: None)
    engine.add_event_handler(event, lambda: engine.at_safe_point(lambda: called.append(event), after=Future()))
    if way != "to the end":
        engine.add_event_handler(Events.EPOCH_COMPLETED, getattr(engine, way))

    engine.run([1])

    assert called == ([event] if (event, way) != (Events.COMPLETED, "interrupt") else [])


def test_it_is_called_when_the_run_fails() -> None:
    called: list[str] = []

    def step(engine: Engine[int, None], batch: int) -> None:
        engine.at_safe_point(lambda: called.append("at the end"), after=Future())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Engine(step).run([1])

    assert called == ["at the end"]


def test_what_it_asks_for_at_the_last_safe_point_is_called_there() -> None:
    called: list[str] = []
    engine: Engine[int, None] = Engine(lambda engine, batch: None)

    def begin() -> None:
        engine.at_safe_point(lambda: called.append("the second"), after=Future())
        called.append("the first")

    engine.add_event_handler(Events.COMPLETED, lambda: engine.at_safe_point(begin, after=Future()))
    engine.run([1])

    assert called == ["the first", "the second"]


def test_it_is_called_at_once_outside_a_run() -> None:
    called: list[str] = []

    Engine(lambda engine, batch: None).at_safe_point(lambda: called.append("now"), after=Future())

    assert called == ["now"]


def test_it_is_called_once_when_the_work_is_done_later_than_the_run() -> None:
    work: Future[None] = Future()
    called: list[str] = []
    engine: Engine[int, None] = Engine(
        lambda engine, batch: engine.at_safe_point(lambda: called.append("once"), after=work) if batch == 1 else None
    )
    engine.run([1])
    work.set_result(None)
    engine.run([2])

    assert called == ["once"]


def test_no_end_of_work_goes_unnoticed_whenever_it_comes() -> None:
    called: list[int] = []

    def step(engine: Engine[None, None], batch: None) -> None:
        work: Future[None] = Future()
        engine.at_safe_point(lambda: called.append(engine.state.iteration), after=work)
        threading.Thread(target=work.set_result, args=(None,)).start()

    Engine(step).run(max_epochs=1, epoch_length=500)

    assert len(called) == 500
