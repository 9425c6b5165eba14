"""Let one thread do something between any two instructions of what another one does, and look whether all is well.

python interleaved_runs.py 1      after every instruction, minutes
python interleaved_runs.py 50     after each fiftieth
"""

from __future__ import annotations

import argparse
import sys
import threading
import warnings
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any, NamedTuple

import camshaft.engine
from camshaft.engine import Engine, Events, RunningError

DATA, EPOCHS = "abc", 2
NUMBERS = list(range(1, EPOCHS * len(DATA) + 1))
Action = Callable[[], object]


class Pair(NamedTuple):
    """What one thread does, what another one does meanwhile, and whether all is well afterwards."""

    action: Action
    other: Action
    is_well: Callable[[], bool]


class Watched:
    """An engine whose events and batches are written down, and where it was when another thread looked."""

    def __init__(self) -> None:
        self.batches: list[str] = []
        self.fired: list[tuple[Events, int]] = []
        self.engine: Engine[Any, Any] = Engine(lambda engine, batch: self.batches.append(batch))
        for event in Events:
            self.engine.add_event_handler(event, self._note, event)
        self.is_inside, self.iteration = False, 0

    def _note(self, engine: Engine[Any, Any], event: Events) -> None:
        self.fired.append((event, engine.state.iteration))

    def run(self) -> None:
        self.engine.run(DATA, max_epochs=EPOCHS)

    def look(self) -> None:
        """Note where the engine is: inside an epoch, where nothing that is asked for may be lost, or elsewhere."""
        event, self.iteration = self.engine.last_event_name, self.engine.state.iteration
        is_between = event is Events.ITERATION_COMPLETED and self.iteration % len(DATA) > 0
        inside = (Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED)
        self.is_inside = self.engine.is_running and (is_between or event in inside)

    def asks(self, action: Action) -> Action:
        """Return what looks and then does something, which may be refused where no epoch is going on."""

        def ask() -> None:
            self.look()
            try:
                action()
            except RunningError:
                if self.is_inside:
                    raise

        return ask

    def at(self, event: Events) -> list[int]:
        """Return the iterations at which an event was fired."""
        return [iteration for each, iteration in self.fired if each is event]

    def goes_on(self) -> bool:
        """Go on until nothing is left; return whether every batch was there once."""
        while not self.engine.position.over:
            self.engine.run(DATA)
        return self.batches == list(DATA * EPOCHS) and self.at(Events.ITERATION_STARTED) == NUMBERS


# ---------------------------------------------------------------------- another thread asks a run for something


def terminate() -> Pair:
    it = Watched()
    return Pair(it.run, it.asks(it.engine.terminate), lambda: _is_told(it, Events.TERMINATE) and it.goes_on())


def interrupt() -> Pair:
    it = Watched()
    return Pair(it.run, it.asks(it.engine.interrupt), lambda: _is_told(it, Events.INTERRUPT) and it.goes_on())


def terminate_epoch() -> Pair:
    it = Watched()

    def is_well() -> bool:
        first, _, second = "".join(it.batches).rpartition("a")
        are_short = DATA.startswith(first) and DATA.startswith("a" + second) and DATA in (first, "a" + second)
        numbers = it.at(Events.ITERATION_STARTED)
        return _is_told(it, Events.TERMINATE_SINGLE_EPOCH) and are_short and numbers == NUMBERS[: len(numbers)]

    return Pair(it.run, it.asks(it.engine.terminate_epoch), is_well)


def _is_told(it: Watched, event: Events) -> bool:
    return bool(it.at(event)) or not it.is_inside


def request() -> Pair:
    it, done = Watched(), list[int]()
    it.engine.add_request("note", lambda: done.append(1))

    def is_well() -> bool:
        it.run()
        return done == [1] and it.batches == list(DATA * EPOCHS * 2)

    return Pair(it.run, it.asks(lambda: it.engine.request("note")), is_well)


def set_data() -> Pair:
    it = Watched()

    def is_well() -> bool:
        before = sum(batch in DATA for batch in it.batches)
        new = it.batches[before:]
        is_cut = it.batches[:before] == list(DATA * EPOCHS)[:before] and (not new or new[0] == "x")
        return is_cut and len(it.batches) == len(NUMBERS) and (before <= it.iteration + 1 or not it.is_inside)

    return Pair(it.run, it.asks(lambda: it.engine.set_data("xyz")), is_well)


# ---------------------------------------------------------------------- another thread changes the handlers


def attach_to_a_run() -> Pair:
    it, called = Watched(), list[int]()

    def attach() -> None:
        it.engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: called.append(engine.state.iteration))

    def is_well() -> bool:
        return called == NUMBERS[len(NUMBERS) - len(called) :] and len(called) >= len(NUMBERS) - it.iteration

    return Pair(it.run, it.asks(attach), is_well)


def attach_a_filtered_one_to_a_run() -> Pair:
    it, called = Watched(), list[int]()
    even = Events.ITERATION_COMPLETED(every=2)

    def attach() -> None:
        it.engine.add_event_handler(even, lambda engine: called.append(engine.state.iteration))

    def is_well() -> bool:
        due = NUMBERS[1::2]
        return called == due[len(due) - len(called) :] and set(called) >= {each for each in due if each > it.iteration}

    return Pair(it.run, it.asks(attach), is_well)


def remove_from_a_run() -> Pair:
    it, called = Watched(), list[int]()
    handle = it.engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: called.append(engine.state.iteration)
    )
    return Pair(
        it.run, it.asks(handle.remove), lambda: called == NUMBERS[: len(called)] and len(called) <= it.iteration + 1
    )


def attach_twice() -> Pair:
    it, called = Watched(), list[str]()

    def is_well() -> bool:
        it.run()
        return sorted(called) == ["one", "two"]

    return Pair(
        lambda: it.engine.add_event_handler(Events.STARTED, called.append, "one"),
        lambda: it.engine.add_event_handler(Events.STARTED, called.append, "two"),
        is_well,
    )


def register_twice() -> Pair:
    it, called = Watched(), list[str]()

    def register(name: str) -> None:
        it.engine.register_events("custom")
        it.engine.add_event_handler("custom", called.append, name)

    def is_well() -> bool:
        it.engine.fire_event("custom")
        return sorted(called) == ["one", "two"]

    return Pair(lambda: register("one"), lambda: register("two"), is_well)


def remove_twice() -> Pair:
    it, called = Watched(), list[int]()
    handle = it.engine.add_event_handler(Events.STARTED | Events.COMPLETED, called.append, 1)

    def is_well() -> bool:
        it.run()
        return called == []

    return Pair(handle.remove, handle.remove, is_well)


# ---------------------------------------------------------------------- a run begins and ends meanwhile


def run_while_it_is_terminated() -> Pair:
    it = Watched()
    return Pair(it.engine.terminate, it.run, it.goes_on)


def run_while_a_handler_is_attached() -> Pair:
    it, called = Watched(), list[int]()

    def is_well() -> bool:
        it.run()
        return len(called) in (1, 2)

    return Pair(lambda: it.engine.add_event_handler(Events.STARTED, called.append, 1), it.run, is_well)


PAIRS: dict[str, Callable[[], Pair]] = {
    each.__name__: each
    for each in (
        terminate, interrupt, terminate_epoch, request, set_data, attach_to_a_run, attach_a_filtered_one_to_a_run,
        remove_from_a_run, attach_twice, register_twice, remove_twice, run_while_it_is_terminated,
        run_while_a_handler_is_attached,
    )
}  # fmt: skip


class Interleaving:
    """Does the one thing, and the other in another thread, from beginning to end, before an instruction of the one.

    Args:
        pair: both of them.
        step: the number of the instruction, from 1; only those of the engine's own code count. 0 for never.

    Attributes:
        steps: how many instructions there were.
        raised: what the other thread has raised.
    """

    def __init__(self, pair: Pair, step: int) -> None:
        self.steps, self.raised = 0, list[BaseException]()
        self._other, self._step = pair.other, step
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            pair.action()
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, event: str, arg: object) -> Any:
        if not frame.f_globals.get("__name__", "").startswith(camshaft.engine.__name__):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._go_on

    def _go_on(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "opcode":
            self.steps += 1
            if self.steps == self._step:
                thread = threading.Thread(target=self._do_other)
                thread.start()
                thread.join()
        return self._go_on

    def _do_other(self) -> None:
        try:
            self._other()
        except BaseException as error:  # noqa: BLE001  # told afterwards, whatever it is
            self.raised.append(error)


def lost(make_pair: Callable[[], Pair], stride: int) -> list[str]:
    """Try a pair at each `stride`-th instruction; return what went wrong."""
    Interleaving(make_pair(), 0)  # instructions are counted from the second time on
    found: list[str] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "terminate.. was called before this run")
        for step in count(1, stride):
            pair = make_pair()
            try:
                done = Interleaving(pair, step)
                if done.steps < step:
                    return found
                problem: object = done.raised or (None if pair.is_well() else "something was lost")
            except Exception as error:  # noqa: BLE001  # a defect of the engine, whatever it is
                problem = error
            if problem is not None:
                found.append(f"{make_pair.__name__} at step {step}: {problem!r}")
    raise AssertionError  # a run has an end


def main() -> int:
    """Try them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stride", type=int)
    parser.add_argument("names", nargs="*", default=list(PAIRS))
    options = parser.parse_args()
    total = 0
    for name in options.names:
        found = lost(PAIRS[name], options.stride)
        total += len(found)
        sys.stdout.write(f"{name:<36}{len(found):>5} lost\n" + "".join(f"    {each}\n" for each in found[:5]))
        sys.stdout.flush()
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
