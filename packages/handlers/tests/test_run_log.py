from __future__ import annotations

import subprocess
import sys

import pytest

from camshaft.engine import Engine, Events
from camshaft.handlers import RunLog


def make_run(path):
    engine, log = Engine(lambda engine, batch: batch), RunLog(path, clock=lambda: 0.0)
    log.attach(engine)
    return engine


def notes(path):
    return [(line["what"], line["epoch"], line["iteration"]) for line in RunLog.read(path)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "run-log.jsonl"


def test_a_start_says_when_and_where_and_an_end_says_when(path):
    make_run(path).run([1, 2])

    start, end = RunLog.read(path)
    assert set(start) == {"what", "time", "epoch", "iteration", "host", "process"}
    assert end == {"what": "completed", "time": "1970-01-01T00:00:00+00:00", "epoch": 1, "iteration": 2}


def test_a_run_that_is_terminated_has_one_end_and_its_continuation_another(path):
    engine = make_run(path)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.terminate)

    engine.run([1, 2], max_epochs=2)
    engine.run()

    assert notes(path) == [("started", 0, 0), ("terminated", 1, 1), ("resumed", 1, 1), ("completed", 2, 4)]


def test_a_run_that_reaches_max_iters_inside_an_epoch_is_complete(path):
    make_run(path).run([1, 2, 3], max_iters=2)

    assert notes(path) == [("started", 0, 0), ("completed", 1, 2)]


def test_an_interrupted_run_goes_on_without_another_start(path):
    engine = make_run(path)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.interrupt)

    engine.run([1, 2])
    engine.run()

    assert notes(path) == [("started", 0, 0), ("interrupted", 1, 1), ("completed", 1, 2)]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_run_that_fails_says_how(path, error):
    engine = make_run(path)

    @engine.on(Events.ITERATION_COMPLETED(once=2))
    def fail():
        raise error

    with pytest.raises(type(error)):
        engine.run([1, 2])

    end = RunLog.read(path)[-1]
    assert (end["what"], end["iteration"], end["error"]) == ("failed", 2, f"{type(error).__name__}: {error}")


def test_a_killed_process_has_no_end_and_the_next_one_adds_to_the_file(path):
    program = (
        "import os, sys\n"
        "from camshaft.engine import Engine\n"
        "from camshaft.handlers import RunLog\n"
        "engine = Engine(lambda engine, batch: os.kill(os.getpid(), 9))\n"
        "RunLog(sys.argv[1]).attach(engine)\n"
        "engine.run([1, 2])\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9

    make_run(path).run([1, 2])

    assert [line["what"] for line in RunLog.read(path)] == ["started", "started", "completed"]
