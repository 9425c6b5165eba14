from __future__ import annotations

import dis
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from camshaft.handlers.checkpoint import _deferred_signals
from camshaft.handlers.checkpoint._deferred_signals import deferred_signals

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals of POSIX")


@pytest.fixture
def arrived() -> Iterator[list[str]]:
    """Which handlers were called: that of SIGUSR1 goes on, that of SIGUSR2 raises."""
    calls: list[str] = []

    def raise_error(number: int, frame: object) -> None:
        calls.append("raises")
        raise TimeoutError("the time is over")

    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2)
    signal.signal(signal.SIGUSR1, lambda number, frame: calls.append("goes on"))
    signal.signal(signal.SIGUSR2, raise_error)
    yield calls
    signal.signal(signal.SIGUSR1, before[0])
    signal.signal(signal.SIGUSR2, before[1])


def test_a_signal_waits_for_the_end_of_the_outermost_block(arrived: list[str]) -> None:
    with deferred_signals():
        with deferred_signals():
            signal.raise_signal(signal.SIGUSR1)
        assert arrived == []

    assert arrived == ["goes on"]


def test_a_keyboard_interrupt_comes_up_after_the_block() -> None:
    done = []

    def work() -> None:
        with deferred_signals():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("the block")
        done.append("what comes after")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the block"]


def test_handlers_can_be_called_in_the_middle(arrived: list[str]) -> None:
    with deferred_signals() as signals:
        signal.raise_signal(signal.SIGUSR1)
        signals.handle()
        assert arrived == ["goes on"]
    assert arrived == ["goes on"]


def test_what_a_handler_raises_in_the_middle_leaves_all_blocks_as_it_is(arrived: list[str]) -> None:
    def work() -> None:
        with deferred_signals():
            try:
                with deferred_signals() as signals:
                    signal.raise_signal(signal.SIGUSR2)
                    signals.handle()
            except OSError:  # a TimeoutError is one
                raise AssertionError("it was taken for an error of the block") from None

    with pytest.raises(TimeoutError, match="the time is over"):
        work()
    assert arrived == ["raises"]


def test_every_signal_gets_its_handler_also_if_that_of_another_raises(arrived: list[str]) -> None:
    def work() -> None:
        with deferred_signals():
            for each in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2):
                signal.raise_signal(each)

    with pytest.raises(TimeoutError):
        work()
    assert arrived == ["raises", "goes on"]


def test_the_error_of_the_block_is_not_lost() -> None:
    def work() -> None:
        with deferred_signals():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("the disk is full")

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert isinstance(caught.value.__context__, ValueError)


def test_handlers_are_put_back(arrived: list[str]) -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with deferred_signals():
        assert signal.getsignal(signal.SIGUSR1) is not before[signal.SIGUSR1]

    assert before == {number: signal.getsignal(number) for number in signal.valid_signals()}


def test_a_handler_that_is_set_inside_the_block_stays(arrived: list[str]) -> None:
    with deferred_signals():
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN


def test_a_stand_in_that_was_left_behind_does_what_the_handler_does_and_puts_it_back(arrived: list[str]) -> None:
    handler = signal.getsignal(signal.SIGUSR1)
    with deferred_signals():
        stand_in = signal.getsignal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, stand_in)
    signal.raise_signal(signal.SIGUSR1)

    assert arrived == ["goes on"]
    assert signal.getsignal(signal.SIGUSR1) is handler


def test_signals_come_up_at_once_where_they_are_let_through(arrived: list[str]) -> None:
    with deferred_signals() as signals:
        with signals.let_through():
            signal.raise_signal(signal.SIGUSR1)
            assert arrived == ["goes on"]
        signal.raise_signal(signal.SIGUSR1)
        assert arrived == ["goes on"]
    assert arrived == ["goes on", "goes on"]


def test_another_thread_than_the_main_one_changes_nothing(arrived: list[str]) -> None:
    handlers = []

    def work() -> None:
        with deferred_signals() as signals:
            signals.handle()
            handlers.append(signal.getsignal(signal.SIGUSR1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGUSR1)]


# In a process of its own: one that other tests have given threads may not survive a fork.
FORKING = """
import os, signal, sys, threading
from camshaft.handlers.checkpoint._deferred_signals import deferred_signals

def fork():
    child = os.fork()
    if child == 0:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            os._exit(3)
        os._exit(4)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

statuses = []
signal.signal(signal.SIGINT, signal.default_int_handler)
with deferred_signals():
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
sys.exit(statuses[0])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_forked_by_another_thread_meanwhile_handles_its_own_signals() -> None:
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=False)

    assert done.returncode == 3, done.stderr


class SignalAtPlace:
    """A trace function that raises a signal at one of the places where Python calls handlers in the tested module."""

    def __init__(self, number: int, place: int) -> None:
        self.number = number
        self.left = place
        self.is_place = True

    def __call__(self, frame: FrameType, event: str, argument: object) -> SignalAtPlace:
        frame.f_trace_opcodes = frame.f_code.co_filename == _deferred_signals.__file__
        frame.f_trace_lines = False
        if event == "opcode":
            self.left -= self.is_place
            if self.is_place and self.left == 0:
                signal.raise_signal(self.number)
            instruction = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            self.is_place = instruction.startswith(("CALL", "JUMP_BACKWARD", "RESUME"))
        return self


def two_blocks() -> None:
    with deferred_signals() as signals:
        signals.handle()
        with signals.let_through(), deferred_signals():
            pass


def signalled_at(place: int, number: int) -> bool:
    """Go through blocks with a signal at one place; return False if there are not so many."""
    before, trace = sys.gettrace(), SignalAtPlace(number, place)
    sys.settrace(trace)
    try:
        two_blocks()
    finally:
        sys.settrace(before)
    return trace.left <= 0


@pytest.fixture
def few_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few signals, few places."""
    monkeypatch.setattr(_deferred_signals, "_NUMBERS", (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2))


@pytest.mark.usefixtures("few_signals")
def test_a_signal_at_any_moment_is_handled_once_and_nothing_stays_behind(arrived: list[str]) -> None:
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    place = 1
    while signalled_at(place, signal.SIGUSR1):
        assert arrived == ["goes on"], place
        assert handlers == {number: signal.getsignal(number) for number in signal.valid_signals()}, place
        arrived.clear()
        place += 1
    assert place > 50


@pytest.mark.usefixtures("few_signals")
def test_what_a_handler_raises_at_any_moment_comes_up_and_nothing_stays_behind(arrived: list[str]) -> None:
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    place, is_there = 1, True
    while is_there:
        arrived.clear()
        try:
            is_there = signalled_at(place, signal.SIGUSR2)
        except TimeoutError:
            assert arrived == ["raises"], place
        else:
            assert not is_there, f"the error that was raised at place {place} was lost"
        assert handlers == {number: signal.getsignal(number) for number in signal.valid_signals()}, place
        with deferred_signals():
            signal.raise_signal(signal.SIGUSR1)
            assert "goes on" not in arrived, place
        assert arrived[-1] == "goes on", place
        place += 1
    assert place > 50


def test_a_block_in_what_is_let_through_is_complete_as_well(arrived: list[str]) -> None:
    done = []

    def work() -> None:
        with deferred_signals() as signals, signals.let_through():
            with deferred_signals():
                signal.raise_signal(signal.SIGUSR2)
                done.append("the inner block")
            done.append("what comes after")

    with pytest.raises(TimeoutError):
        work()
    assert done == ["the inner block"]
