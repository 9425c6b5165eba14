"""One thread runs an engine, others ask things of it or change its handlers; many threads run engines of their own."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from interleaved_runs import PAIRS, lost

from camshaft.engine import Engine, Events, RunningError

ROUNDS, THREADS, PATIENCE_S = 30, 4, 120


@pytest.fixture(autouse=True)
def _many_switches() -> Iterator[None]:
    """Let threads take turns as often as they can, where a lock around the interpreter makes them take turns."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def begin(action: Callable[[], object]) -> Future[object]:
    """Begin something in a thread of its own; the future tells how it ended."""
    future: Future[object] = Future()

    def work() -> None:
        try:
            future.set_result(action())
        except BaseException as error:  # noqa: BLE001  # told by the future
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


def together(*actions: Callable[[], object]) -> None:
    """Do things in several threads that begin together; raise what one of them raised."""
    barrier = threading.Barrier(len(actions))

    def begin_with_all(action: Callable[[], object]) -> Future[object]:
        return begin(lambda: (barrier.wait(), action()))

    for future in [begin_with_all(action) for action in actions]:
        future.result(PATIENCE_S)


def each_thread(action: Callable[[int], object]) -> list[Callable[[], object]]:
    """Return the same thing to do for several threads, each with its number."""
    return [lambda number=number: action(number) for number in range(THREADS)]  # type: ignore[misc]  # a default


@contextmanager
def running(engine: Engine[Any, Any], data: Iterable[Any] | None = None) -> Iterator[None]:
    """Run an engine in another thread during the block, over data without an end."""
    started = threading.Event()
    with engine.add_event_handler(Events.STARTED, started.set):
        run = begin(lambda: engine.run(itertools.count() if data is None else data, 10**9, 10**9))
        started.wait(PATIENCE_S)
        try:
            yield
        finally:
            engine.terminate()
            run.result(PATIENCE_S)


def make(seen: list[Any] | None = None) -> Engine[Any, Any]:
    return Engine(lambda engine, batch: None if seen is None else seen.append(batch))


# ---------------------------------------------------------------------- handlers


def test_no_handler_is_lost_that_threads_attach_together() -> None:
    for _ in range(ROUNDS):
        engine, called = make(), list[tuple[int, int]]()

        def attach(thread: int) -> None:
            for count in range(20):
                engine.add_event_handler(Events.COMPLETED, called.append, (thread, count))  # noqa: B023  # used here

        together(*each_thread(attach))
        engine.run([1])

        assert sorted(called) == list(itertools.product(range(THREADS), range(20)))


def test_no_handler_is_lost_of_an_event_that_threads_register_together() -> None:
    for _ in range(ROUNDS):
        engine, called = make(), list[int]()

        def attach(thread: int) -> None:
            engine.register_events("custom")  # noqa: B023  # used here
            engine.add_event_handler("custom", called.append, thread)  # noqa: B023  # used here

        together(*each_thread(attach))
        engine.fire_event("custom")

        assert sorted(called) == list(range(THREADS))


def test_handlers_that_come_and_go_in_other_threads_are_called_and_those_that_stay_are_called_once_an_iteration() -> (
    None
):
    engine, seen = make(), list[int]()
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.iteration))
    events = [Events.ITERATION_COMPLETED, Events.GET_BATCH_STARTED(every=2), Events.ITERATION_STARTED]

    def come_and_go(thread: int) -> None:
        for count in range(ROUNDS):
            called = threading.Event()
            with engine.add_event_handler(events[(thread + count) % 3], called.set):
                assert called.wait(PATIENCE_S)

    with running(engine):
        together(*each_thread(come_and_go), lambda: [repr(engine) for _ in range(ROUNDS)])

    assert seen == list(range(1, engine.state.iteration + 1))
    assert repr(engine).count("Event.set") == 0


def test_a_handle_may_be_removed_in_several_threads() -> None:
    for _ in range(ROUNDS):
        engine, called = make(), list[int]()
        handle = engine.add_event_handler(Events.COMPLETED | Events.STARTED, called.append, 1)

        together(*[handle.remove] * THREADS)
        engine.run([1])

        assert called == []


# ---------------------------------------------------------------------- requests


@pytest.mark.filterwarnings("ignore:terminate.. was called before this run:camshaft.engine.EngineWarning")
def test_terminate_ends_a_run_whenever_it_comes() -> None:
    for _ in range(ROUNDS):
        engine, knows_that_it_runs = make(), list[bool]()
        engine.add_event_handler(Events.COMPLETED, lambda engine: knows_that_it_runs.append(engine.is_running))  # noqa: B023  # used here

        together(lambda: engine.run(itertools.count(), epoch_length=10**9), engine.terminate)  # noqa: B023  # used here

        assert knows_that_it_runs == [True]
        assert not engine.is_running


def test_epochs_that_another_thread_ends_end_one_by_one() -> None:
    engine, iterations, epochs = make(), list[int](), list[int]()
    engine.add_event_handler(Events.ITERATION_STARTED, lambda engine: iterations.append(engine.state.iteration))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: epochs.append(engine.state.epoch))

    with running(engine):
        while len(epochs) < ROUNDS:
            with suppress(RunningError):  # it is between two epochs
                engine.terminate_epoch()

    assert epochs == list(range(1, len(epochs) + 1))
    assert iterations == list(range(1, len(iterations) + 1))


def test_a_run_that_another_thread_interrupts_again_and_again_gets_every_batch_once() -> None:
    seen: list[int] = []
    engine, is_done = make(seen), threading.Event()

    def run() -> None:
        try:
            engine.run(range(500), max_epochs=4)
            while not engine.position.over:
                engine.run()
        finally:
            is_done.set()

    def interrupt() -> None:
        while not is_done.is_set():
            with suppress(RunningError):  # it is between two runs
                engine.interrupt()

    together(run, interrupt)

    assert seen == 4 * list(range(500))


def test_what_threads_ask_for_by_name_is_done_as_often_as_they_ask() -> None:
    engine, done = make(), list[int]()
    engine.add_request("note", lambda: done.append(threading.get_ident()))

    def ask(thread: int) -> None:
        for _ in range(ROUNDS):
            engine.request("note")

    with running(engine):
        together(*each_thread(ask))

    assert len(done) == THREADS * ROUNDS
    assert len(set(done)) == 1


def test_what_waits_for_the_work_of_threads_is_called_once_in_the_thread_of_the_run() -> None:
    engine, called = make(), list[tuple[int, int]]()
    works: list[Future[None]] = [Future() for _ in range(THREADS * ROUNDS)]

    def wait_for_all() -> None:
        for number, work in enumerate(works):
            engine.at_safe_point(lambda number=number: called.append((number, threading.get_ident())), after=work)  # type: ignore[misc]  # a default

    engine.add_event_handler(Events.STARTED, wait_for_all)

    def finish(thread: int) -> None:
        for work in works[thread::THREADS]:
            work.set_result(None)

    with running(engine):
        together(*each_thread(finish))

    assert sorted(number for number, _ in called) == list(range(len(works)))
    assert len({thread for _, thread in called}) == 1


def test_data_that_another_thread_sets_is_read_from_its_first_batch() -> None:
    seen: list[tuple[int, int]] = []
    engine = make(seen)

    def data(number: int) -> Iterator[tuple[int, int]]:
        return zip(itertools.repeat(number), itertools.count())

    with running(engine, data(0)):
        for number in range(1, ROUNDS):
            is_new = threading.Event()
            engine.set_data(data(number))
            with engine.add_event_handler(Events.ITERATION_COMPLETED, is_new.set):
                is_new.wait(PATIENCE_S)

    numbers = [number for number, _ in seen]
    assert numbers == sorted(numbers)
    assert all(index == 0 or seen[place - 1] == (number, index - 1) for place, (number, index) in enumerate(seen))


# ---------------------------------------------------------------------- runs of several threads


def test_engines_in_many_threads_do_what_each_does_alone() -> None:
    every = Events.ITERATION_COMPLETED(every=3) | Events.EPOCH_COMPLETED

    def train() -> list[Any]:
        seen: list[Any] = []
        evaluator, trainer = make(seen), make(seen)

        @trainer.on(every)
        def evaluate(engine: Engine[Any, Any]) -> None:
            engine.at_safe_point(lambda: seen.append(("saved", engine.position)))
            evaluator.run("xy", max_epochs=2)
            evaluator.at_safe_point(lambda: seen.append(("evaluated", evaluator.position)))

        trainer.run("abcde", max_epochs=ROUNDS)
        return seen

    alone, found = train(), list[list[Any]]()
    together(*[lambda: found.append(train())] * THREADS)

    assert found == [alone] * THREADS


def test_one_engine_runs_in_one_thread_at_a_time() -> None:
    engine = make()
    with running(engine), pytest.raises(RunningError, match="inside a run of the same engine"):
        engine.run([1])


# ---------------------------------------------------------------------- between any two instructions


@pytest.mark.parametrize("name", PAIRS)
def test_nothing_is_lost_between_two_instructions_of_another_thread(name: str) -> None:
    assert lost(PAIRS[name], stride=97) == []
