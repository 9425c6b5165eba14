"""A Ctrl-C at any moment: wherever the interpreter may deliver a signal, the engine can go on afterwards.

The interpreter looks for signals when a function is entered and when a call has returned. The first tests raise at
each of these moments in turn, the last one with real signals.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from camshaft.engine import Engine, Events
from camshaft.engine import __file__ as engine_file

FOLDER = str(Path(engine_file).parent)
STORM = Path(__file__).parent / "interrupt_storm.py"


class At:
    """A profile function that raises KeyboardInterrupt at the n-th moment inside the package."""

    def __init__(self, moment: int) -> None:
        self.left = moment
        self.place = ""

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event not in ("call", "c_call", "c_return") or not frame.f_code.co_filename.startswith(FOLDER):
            return
        self.left -= 1
        if self.left == 0:
            self.place = f"{event} in {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
            raise KeyboardInterrupt


def interrupted_at(moment: int, call: Callable[[], object]) -> str | None:
    """Call, and raise at one moment; return where that was, None when the call was over before."""
    at = At(moment)
    sys.setprofile(at)
    try:
        call()
    except KeyboardInterrupt:
        return at.place
    finally:
        sys.setprofile(None)
    return at.place or None


class Stateful:
    """Data that knows where it is."""

    def __init__(self) -> None:
        self.place = 0

    def __iter__(self) -> Any:
        self.place %= 4
        while self.place < 4:
            self.place += 1
            yield self.place

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.place = state["place"]


def busy_engine() -> Engine[Any, Any]:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: batch)
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda: None)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: engine.at_safe_point(lambda: None))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=5), engine.terminate_epoch)
    return engine


DATA: dict[str, Callable[[], Any]] = {"sequence": lambda: "abcd", "stateful": Stateful}


@pytest.mark.parametrize("kind", DATA)
def test_after_an_interrupt_at_any_moment_the_engine_stands_still_and_goes_on(kind: str) -> None:
    moment, places = 0, set()
    while True:
        moment += 1
        engine, data = busy_engine(), DATA[kind]()
        place = interrupted_at(moment, partial(engine.run, data, max_epochs=3, epoch_length=4))
        if place is None:
            break
        places.add(place)
        assert not engine.is_running, place
        called: list[str] = []
        engine.at_safe_point(partial(called.append, "at once"))
        assert called == ["at once"], place

        other = busy_engine()
        other.load_state_dict(engine.state_dict())
        engine.run(data, max_epochs=3, epoch_length=4)
        assert engine.position.over, place
        assert engine.state.batch is None, place
    assert len(places) > 100  # moments in many places were tried


def test_after_an_interrupt_at_any_moment_of_an_inner_run_the_outer_one_reaches_its_safe_points() -> None:
    moment = 0
    while True:
        moment += 1
        saved: list[int] = []
        inner: Engine[Any, Any] = Engine(lambda engine, batch: batch)
        places: list[str | None] = []

        def evaluate(engine: Engine[Any, Any], inner: Any = inner, places: Any = places, moment: int = moment) -> None:
            places.append(interrupted_at(moment, lambda: inner.run("ab")))

        outer: Engine[Any, Any] = Engine(lambda engine, batch: batch)
        outer.add_event_handler(Events.ITERATION_COMPLETED(once=1), evaluate)
        outer.add_event_handler(
            Events.ITERATION_COMPLETED,
            lambda saved=saved, outer=outer: outer.at_safe_point(lambda: saved.append(outer.state.iteration)),
        )
        outer.run([1, 2, 3])

        assert saved == [1, 2, 3]
        if places == [None]:
            break


def recorder(fired: list[str], name: str) -> Callable[[Engine[Any, Any]], None]:
    """Return a handler that is called as it is, with nothing between the run and it."""

    def record(engine: Engine[Any, Any]) -> None:
        fired.append(name)

    return record


def test_no_epoch_event_is_lost_or_fired_twice_at_whatever_moment_an_interrupt_comes() -> None:
    moment = 0
    while True:
        moment += 1
        engine: Engine[Any, Any] = Engine(lambda engine, batch: batch)
        fired: list[str] = []
        for event in (Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, Events.DATALOADER_STOP_ITERATION):
            engine.add_event_handler(event, recorder(fired, event.name))
        place = interrupted_at(moment, partial(engine.run, "ab", max_epochs=2))
        if place is None:
            break
        if not engine.position.over:
            engine.run("ab", max_epochs=2)

        first = ["EPOCH_STARTED", "EPOCH_COMPLETED"]
        assert fired == [*first, "EPOCH_STARTED", "DATALOADER_STOP_ITERATION", "EPOCH_COMPLETED"], place


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers that send signals")
def test_a_storm_of_signals_leaves_no_engine_that_cannot_go_on() -> None:
    done = subprocess.run([sys.executable, STORM, "300"], capture_output=True, text=True, timeout=240, check=False)

    assert done.stdout.split() == ["300", "interrupts,", "0", "stuck"], done.stdout + done.stderr
