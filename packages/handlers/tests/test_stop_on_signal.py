from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning, Events, RunningError
from camshaft.handlers import StopOnSignal

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals of POSIX")


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    """Check that a block puts the handlers back, and begin with those of a terminal."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)
    assert before == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]


class Loader(list[int]):
    """Looks like a data loader with workers."""

    def __init__(self, num_workers: int) -> None:
        super().__init__([1, 2, 3])
        self.num_workers = num_workers
        self.worker_init_fn: Any = None
        self.multiprocessing_context: Any = None


class Wrapper:
    """Shows the attributes of a loader, and hides from it what is set."""

    def __init__(self, loader: Any) -> None:
        self.wrapped = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["wrapped"], name)


class Starter:
    """Data that starts a process with its first batch, as a generator that goes through a loader does."""

    def __init__(self) -> None:
        self.process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)

    def __iter__(self) -> Iterator[int]:
        self.process.start()
        try:
            yield from (1, 2)
        finally:
            self.process.kill()
            self.process.join()


def engine_with_signals(*numbers: int, at: int = 2) -> Engine[int, None]:
    """Return an engine that is sent these signals in the step of an iteration."""

    def step(engine: Engine[int, None], batch: int) -> None:
        if engine.state.iteration == at:
            for number in numbers:
                os.kill(os.getpid(), number)

    return Engine(step)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)])
def test_a_signal_ends_the_run_after_the_step_with_its_status(number: int, status: int) -> None:
    engine, saved = engine_with_signals(number), []

    with pytest.raises(SystemExit) as raised, StopOnSignal(engine, lambda engine: saved.append(engine.state.iteration)):
        engine.run(range(5))

    assert (raised.value.code, saved, engine.state.iteration) == (status, [2], 2)


def test_a_run_without_a_signal_returns() -> None:
    engine, saved = engine_with_signals(), []

    with StopOnSignal(engine, saved.append) as stop:
        assert engine.run(range(5)).iteration == 5

    assert (saved, stop.signal_number) == ([], None)


def test_a_run_that_was_stopped_goes_on_where_it_was() -> None:
    engine = engine_with_signals(signal.SIGTERM)
    with pytest.raises(SystemExit), StopOnSignal(engine):
        engine.run([10, 20, 30], max_epochs=2)
    engine.process_function = lambda engine, batch: None

    with StopOnSignal(engine):
        assert engine.run().iteration == 6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_an_evaluation_waits_for_its_end(number: int) -> None:
    trainer: Engine[int, None] = Engine(lambda engine, batch: None)
    evaluator, saved = engine_with_signals(number), []
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: evaluator.run(range(4)))

    with pytest.raises(SystemExit), StopOnSignal(trainer, saved.append):
        trainer.run(range(9))

    assert (trainer.state.iteration, evaluator.state.iteration, saved) == (3, 4, [trainer])


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_second_signal_leaves_at_once_without_saving(number: int, error: type[BaseException]) -> None:
    engine, saved = engine_with_signals(number, number), []

    with pytest.raises(error), StopOnSignal(engine, saved.append):
        engine.run(range(5))

    assert (saved, engine.is_running) == ([], False)


def test_a_safe_point_that_does_not_come_in_time_is_not_waited_for() -> None:
    def step(engine: Engine[int, None], batch: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    engine, saved = Engine(step), []

    with pytest.raises(SystemExit) as raised, StopOnSignal(engine, saved.append, grace_s=0.01):
        engine.run(range(5))

    assert (raised.value.code, saved) == (130, [])


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_outside_a_run_ends_the_block(number: int, error: type[BaseException]) -> None:
    saved: list[object] = []

    with pytest.raises(error), StopOnSignal(Engine(lambda engine, batch: None), saved.append):
        os.kill(os.getpid(), number)

    assert saved == []


class SignalAtTheEnd(Engine[int, None]):
    """Is sent a signal when its run is over and lets go of its data."""

    def make_source(self, data: Any) -> Any:
        source = super().make_source(data)
        source.close = lambda: os.kill(os.getpid(), signal.SIGTERM)
        return source


def test_a_signal_after_the_last_safe_point_ends_the_block_without_saving_a_finished_run_twice() -> None:
    engine, saved = SignalAtTheEnd(lambda engine, batch: None), []

    with pytest.raises(SystemExit) as raised, StopOnSignal(engine, saved.append):
        engine.run(range(3))

    assert (raised.value.code, saved, engine.state.iteration) == (143, [], 3)


def test_an_error_of_the_run_comes_out_instead_of_the_status() -> None:
    def step(engine: Engine[int, None], batch: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise ZeroDivisionError

    engine, saved = Engine(step), []

    with pytest.raises(ZeroDivisionError), StopOnSignal(engine, saved.append):
        engine.run(range(5))
    assert saved == []


def test_a_save_that_fails_comes_out() -> None:
    engine = engine_with_signals(signal.SIGTERM)

    def fail(engine: object) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"), StopOnSignal(engine, fail):
        engine.run(range(5))


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    engine = engine_with_signals(signal.SIGTERM)

    with StopOnSignal(engine):
        assert engine.run(range(5)).iteration == 5

    assert signal.signal(signal.SIGTERM, before) is signal.SIG_IGN


def test_a_handler_that_was_set_in_the_block_stays() -> None:
    engine, before = engine_with_signals(), signal.getsignal(signal.SIGUSR1)

    def own(number: int, frame: object) -> None:
        """Do nothing."""

    with StopOnSignal(engine):
        signal.signal(signal.SIGUSR1, own)

    assert signal.signal(signal.SIGUSR1, before) is own


def test_a_forked_process_ends_as_ever() -> None:
    reading, writing = os.pipe()
    with StopOnSignal(engine_with_signals()):
        child = os.fork()
        if child == 0:
            os.write(writing, b".")  # Python drops what comes before it has come to itself
            time.sleep(60)
            os._exit(0)
        os.read(reading, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)

    assert os.WTERMSIG(status) == signal.SIGTERM


def test_a_forked_process_that_is_ended_at_once_ends() -> None:
    ended_by = []
    with StopOnSignal(engine_with_signals()):
        for _ in range(20):
            child = os.fork()
            if child == 0:
                time.sleep(1)
                os._exit(0)
            os.kill(child, signal.SIGTERM)
            ended_by.append(os.WTERMSIG(os.waitpid(child, 0)[1]))

    assert set(ended_by) == {signal.SIGTERM}
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_it_is_for_the_main_thread() -> None:
    raised: list[BaseException] = []

    def enter() -> None:
        try:
            with StopOnSignal(engine_with_signals()):
                pass
        except RunningError as error:
            raised.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()

    assert "main thread" in str(raised[0])


def test_a_run_in_another_thread_is_refused() -> None:
    engine, raised = engine_with_signals(), []

    def run() -> None:
        try:
            engine.run(range(5))
        except RunningError as error:
            raised.append(str(error))

    with StopOnSignal(engine):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    assert "must run in the main thread" in raised[0]


def test_it_is_not_entered_inside_itself() -> None:
    stop = StopOnSignal(engine_with_signals())

    with stop, pytest.raises(RunningError, match="in use already"), stop:
        pass


def test_the_inner_of_two_blocks_has_the_signal() -> None:
    outer, inner = engine_with_signals(signal.SIGTERM), engine_with_signals(signal.SIGTERM)

    with pytest.raises(SystemExit), StopOnSignal(outer) as first, StopOnSignal(inner) as second:
        inner.run(range(5))

    assert (first.signal_number, second.signal_number) == (None, signal.SIGTERM)


def test_an_engine_has_one_block_at_a_time() -> None:
    engine = engine_with_signals()

    with StopOnSignal(engine), pytest.raises(ArgumentError, match="it is taken"), StopOnSignal(engine):
        pass


def test_processes_that_share_requests_stop_at_the_vote_for_it() -> None:
    engine, saved = engine_with_signals(), []
    engine.share_requests(lambda event, position, wishes: ["stop on SIGTERM"] if position.iteration == 3 else [])

    with pytest.raises(SystemExit) as raised, StopOnSignal(engine, saved.append):
        engine.run(range(5))

    assert (raised.value.code, saved, engine.state.iteration) == (143, [engine], 3)


def test_a_signal_is_told_to_the_processes_that_share_requests() -> None:
    engine, told = engine_with_signals(signal.SIGTERM), set()

    def vote(event: object, position: object, wishes: dict[str, bool]) -> list[str]:
        told.update(name for name, is_wished in wishes.items() if is_wished)
        return []

    engine.share_requests(vote)
    with pytest.raises(SystemExit), StopOnSignal(engine):
        engine.run(range(5))

    assert told == {"stop on SIGTERM"}


def test_the_loaders_get_their_own_setup_back() -> None:
    engine, loader = engine_with_signals(), Loader(2)

    with StopOnSignal(engine, loaders=[loader]):
        engine.run(loader)
        assert loader.worker_init_fn is not None

    assert loader.worker_init_fn is None


def test_of_a_wrapped_loader_the_one_inside_is_shielded() -> None:
    engine, loader = engine_with_signals(), Loader(2)

    with StopOnSignal(engine, loaders=[Wrapper(Wrapper(loader))]):
        assert loader.worker_init_fn is not None
        assert loader.multiprocessing_context is not None

    assert (loader.worker_init_fn, loader.multiprocessing_context) == (None, None)


def test_a_wrapper_that_has_attributes_of_its_own_is_refused() -> None:
    class Deaf(Wrapper):
        @property
        def worker_init_fn(self) -> None:
            """Is not that of the loader."""

    with pytest.raises(ArgumentTypeError, match="give those"):
        StopOnSignal(engine_with_signals(), loaders=[Deaf(Loader(2))])


def test_processes_that_the_first_batch_starts_are_warned_about() -> None:
    engine = engine_with_signals()

    with StopOnSignal(engine), pytest.warns(EngineWarning, match="the first batch has started processes"):
        engine.run(Starter())


def test_an_iterator_that_may_have_workers_already_is_warned_about() -> None:
    engine, data = engine_with_signals(), iter(Starter())
    next(data)

    with StopOnSignal(engine), pytest.warns(EngineWarning, match="is an iterator"):
        engine.run(data, epoch_length=1)

    data.close()  # type: ignore[attr-defined]  # it is a generator


def test_workers_that_may_be_running_before_the_block_are_warned_about() -> None:
    loader, data = Loader(2), iter(Starter())
    loader.persistent_workers = True
    next(data)

    with pytest.warns(EngineWarning, match="before the block"), StopOnSignal(engine_with_signals(), loaders=[loader]):
        pass

    data.close()  # type: ignore[attr-defined]  # it is a generator


def test_a_run_after_the_stopped_one_ends_before_its_first_batch() -> None:
    engine, saved = engine_with_signals(signal.SIGTERM), []

    def run_twice() -> None:
        with StopOnSignal(engine, lambda engine: saved.append(engine.state.iteration)):
            engine.run(range(5))
            engine.run([7, 8, 9], max_epochs=2)

    with pytest.raises(SystemExit):
        run_twice()
    assert (saved, engine.state.iteration) == ([2], 0)


@pytest.mark.parametrize("code", [0, None])
def test_a_program_that_ends_as_done_after_a_stop_has_the_status_of_the_signal(code: int | None) -> None:
    engine = engine_with_signals(signal.SIGTERM)

    def run_and_leave() -> None:
        with StopOnSignal(engine):
            engine.run(range(5))
            sys.exit(code)

    with pytest.raises(SystemExit) as raised:
        run_and_leave()
    assert raised.value.code == 143


def test_a_logger_that_fails_does_not_keep_the_checkpoint_from_being_saved() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ZeroDivisionError

    engine, saved = engine_with_signals(signal.SIGTERM), []
    engine.logger = logging.getLogger("test_stop_on_signal.broken")
    logging.disable(logging.NOTSET)
    engine.logger.addHandler(Broken())

    with pytest.raises(ZeroDivisionError), StopOnSignal(engine, saved.append):
        engine.run(range(5))

    assert saved == [engine]


def test_a_lock_of_the_logger_that_the_run_holds_does_not_stop_the_signal() -> None:
    lock = threading.Lock()

    class Locking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert lock.acquire(timeout=30), "the signal waits for what it has interrupted"
            lock.release()

    def step(engine: Engine[int, None], batch: int) -> None:
        with lock:
            os.kill(os.getpid(), signal.SIGTERM)

    engine, saved = Engine(step), []
    engine.logger = logging.getLogger("test_stop_on_signal.locking")
    logging.disable(logging.NOTSET)
    engine.logger.addHandler(Locking())

    with pytest.raises(SystemExit), StopOnSignal(engine, saved.append):
        engine.run(range(5))

    assert saved == [engine]


def test_a_block_that_was_not_entered_is_not_left() -> None:
    with pytest.raises(RunningError, match="was not entered"):
        StopOnSignal(engine_with_signals()).__exit__(None, None, None)


def test_blocks_that_are_left_in_the_order_they_were_entered_leave_no_handler_behind() -> None:
    before = signal.getsignal(signal.SIGTERM)
    first, second = StopOnSignal(engine_with_signals()), StopOnSignal(engine_with_signals())

    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)

    assert signal.getsignal(signal.SIGTERM) == before


def test_workers_that_are_not_shielded_are_warned_about() -> None:
    engine = engine_with_signals()

    with StopOnSignal(engine), pytest.warns(EngineWarning, match="loaders=") as warned:
        engine.run(Loader(2))
    with StopOnSignal(engine):
        engine.run(Loader(0))

    assert len(warned) == 1


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"engine": None}, ArgumentTypeError, "`engine` must be an Engine"),
        ({"save": "latest"}, ArgumentTypeError, "`save` must be a function"),
        ({"signals": [signal.SIGKILL]}, ArgumentError, "`signals` must be"),
        ({"signals": [0]}, ArgumentError, "`signals` must be"),
        ({"signals": ["SIGTERM"]}, ArgumentError, "`signals` must be"),
        ({"loaders": Loader(0)}, ArgumentTypeError, "put it into a list"),
        ({"loaders": [[1, 2]]}, ArgumentTypeError, "`loaders` must be data loaders"),
        ({"grace_s": -1}, ArgumentError, "`grace_s` must be 0 or more"),
        ({"grace_s": float("nan")}, ArgumentError, "`grace_s` must be 0 or more"),
        ({"grace_s": "30"}, ArgumentTypeError, "`grace_s` must be a number"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        StopOnSignal(**{"engine": engine_with_signals(), **options})


STORM = """
import os, signal, threading, time
from camshaft.engine import Engine
from camshaft.handlers import StopOnSignal

signal.signal(signal.SIGINT, signal.default_int_handler)
before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
engine = Engine(lambda engine, batch: None)
engine.logger.disabled = True
wrong, left, rounds = 0, 0, 0
asking, asked = os.pipe()

def storm():
    while os.read(asking, 1) == b".":
        time.sleep(0)
        signal.raise_signal(signal.SIGTERM)
        done.append(1)

done = []
threading.Thread(target=storm, daemon=True).start()
while rounds < 100:
    rounds += 1
    try:
        with StopOnSignal(engine):
            os.write(asked, b".")
            engine.state.max_epochs = None
            engine.run(max_epochs=1, epoch_length=1_000_000_000)
    except SystemExit as leaving:
        left += leaving.code == 143
    wrong += before != (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) or engine.is_running
print(rounds, left, wrong)
"""


def test_handlers_are_put_back_whenever_the_signal_comes() -> None:
    done = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, check=False)

    assert (done.stdout.split(), done.stderr) == (["100", "100", "0"], "")
