from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from camshaft.handlers._worker_shield import ShieldedContext, WorkerShield, unshielded_children

pytestmark = pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="needs signals for real time")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
WAIT_S = 60.0
sent_at_birth: list[int] = []  # signals that a forked process gets before it has done anything


def send_at_birth() -> None:
    for number in sent_at_birth:
        os.kill(os.getpid(), number)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=send_at_birth)


def stay(connection: Connection) -> None:
    connection.send("here")
    while connection.recv() == "stay":
        connection.send("here")


def tell_mask(connection: Connection) -> None:
    connection.send(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(SIGNALS)))


def end_program(connection: Connection) -> None:
    program = subprocess.Popen(["sleep", str(WAIT_S)])  # noqa: S607 - any program
    program.terminate()
    connection.send(program.wait())


def end_fork(connection: Connection) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b".")
        time.sleep(WAIT_S)
        os._exit(0)
    os.read(reading, 1)
    os.kill(child, signal.SIGTERM)
    connection.send(os.waitpid(child, 0)[1])


def work(shield: WorkerShield, do: Any, connection: Connection) -> None:
    shield(0)
    do(connection)


def start(do: Any, method: str = "fork") -> tuple[Any, Connection]:
    """Start a shielded process that does something; return it and a connection to it."""
    context = ShieldedContext(multiprocessing.get_context(method), SIGNALS)
    here, there = multiprocessing.Pipe()
    process: Any = context.Process(target=work, args=(WorkerShield(SIGNALS), do, there), daemon=True)
    process.start()
    there.close()
    return process, here


@contextmanager
def worker(do: Any, method: str = "fork") -> Iterator[tuple[Any, Connection]]:
    """Start a shielded process that does something; give it and a connection to it; end it."""
    process, here = start(do, method)
    try:
        yield process, here
    finally:
        process.kill()
        process.join()
        here.close()


def receive(connection: Connection) -> Any:
    assert connection.poll(WAIT_S), "the worker says nothing"
    return connection.recv()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_the_first_moment_of_a_worker_is_dropped(number: int) -> None:
    sent_at_birth.append(number)
    try:
        with worker(stay) as (_, connection):
            assert receive(connection) == "here"
    finally:
        sent_at_birth.clear()


def test_a_process_that_is_not_shielded_is_ended_by_a_signal_at_its_first_moment() -> None:
    sent_at_birth.append(signal.SIGUSR1)
    try:
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(WAIT_S,))
        process.start()
        process.join()
    finally:
        sent_at_birth.clear()

    assert process.exitcode == -signal.SIGUSR1


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_goes_on_after_signals_and_ends_when_it_is_told(method: str) -> None:
    with worker(stay, method) as (process, connection):
        receive(connection)
        for number in SIGNALS:
            os.kill(process.pid, number)
        connection.send("stay")
        assert receive(connection) == "here"

        process.terminate()
        process.join(WAIT_S)

    assert process.exitcode == 0


def test_a_worker_blocks_no_signals_and_neither_does_who_has_started_it() -> None:
    with worker(tell_mask) as (_, connection):
        assert receive(connection) == []

    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(SIGNALS)


def test_a_program_that_a_worker_starts_is_ended_by_a_signal() -> None:
    with worker(end_program) as (_, connection):
        assert receive(connection) == -signal.SIGTERM


def test_a_fork_of_a_worker_is_ended_by_a_signal() -> None:
    with worker(end_fork) as (_, connection):
        assert os.WTERMSIG(receive(connection)) == signal.SIGTERM


def test_workers_count_as_shielded() -> None:
    before = unshielded_children()

    with worker(stay):
        assert unshielded_children() == before


LEAVES = """
import sys
sys.path[:0] = [{folder!r}]
from test_worker_shield import receive, start, stay
receive(start(stay)[1])
print("leaves")
"""


def test_a_program_that_exits_ends_its_workers() -> None:
    program = LEAVES.format(folder=str(Path(__file__).parent))

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=WAIT_S, check=False)

    assert (done.stdout, done.stderr, done.returncode) == ("leaves\n", "", 0)
