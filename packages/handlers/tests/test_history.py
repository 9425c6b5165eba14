from __future__ import annotations

import json
import math
import signal
import subprocess
import sys

import pytest

from camshaft.engine import Engine, Events
from camshaft.handlers import History


def make_run(path):
    """Return an engine and its history, with a line per iteration."""
    engine, history = Engine(lambda engine, batch: batch), History(path, step_name="iteration")
    history.attach(engine, Events.ITERATION_COMPLETED, output_transform=lambda output: {"loss": output})
    return engine, history


def test_lines_are_json_and_read_back(tmp_path):
    engine, history = make_run(tmp_path / "h.jsonl")

    engine.run([0.5, 0.25])

    lines = (tmp_path / "h.jsonl").read_text().splitlines()
    expected = [{"iteration": 1, "loss": 0.5}, {"iteration": 2, "loss": 0.25}]
    assert [json.loads(line) for line in lines] == expected
    assert history.rows() == History.read(tmp_path / "h.jsonl") == expected


def test_what_json_lacks_is_written_as_strings_and_read_as_numbers(tmp_path):
    with History(tmp_path / "h.jsonl") as history:
        history.write({"a": math.inf, "b": -math.inf, "c": math.nan, "d": 1.5}, 1)

    line = (tmp_path / "h.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {"epoch": 1, "a": "inf", "b": "-inf", "c": "nan", "d": 1.5}
    (row,) = history.rows()
    assert (row["a"], row["b"], row["d"]) == (math.inf, -math.inf, 1.5)
    assert math.isnan(row["c"])


def test_lines_may_differ_in_what_they_hold(tmp_path):
    with History(tmp_path / "h.jsonl") as history:
        history.write({"a": 1.0}, 1)
        history.write({"b": 2.0}, 1)

    assert history.rows() == [{"epoch": 1, "a": 1.0}, {"epoch": 1, "b": 2.0}]


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_resumed_run_has_the_lines_of_one_that_was_never_stopped(tmp_path, stop):
    straight, _ = make_run(tmp_path / "straight.jsonl")
    straight.run([1, 2, 3, 4], max_epochs=2)

    engine, history = make_run(tmp_path / "h.jsonl")
    states = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED(once=stop),
        lambda: engine.at_safe_point(lambda: states.extend([engine.state_dict(), history.state_dict()])),
    )
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=6), engine.terminate)
    engine.run([1, 2, 3, 4], max_epochs=2)

    engine, history = make_run(tmp_path / "h.jsonl")
    engine.load_state_dict(states[0])
    history.load_state_dict(states[1])
    engine.run([1, 2, 3, 4])

    assert history.rows() == History.read(tmp_path / "straight.jsonl")
    assert (tmp_path / "h.jsonl").read_bytes() == (tmp_path / "straight.jsonl").read_bytes()


WRITE_AND_DIE = """
import json, os, signal, sys
from pathlib import Path
from camshaft.handlers import History
history = History(sys.argv[1])
history.write({"loss": 1.0}, 1)
Path(sys.argv[2]).write_text(json.dumps(history.state_dict()))
history.write({"loss": 2.0}, 2)
with open(sys.argv[1], "ab") as file:
    file.write(b'{"epoch": 3, "lo')  # as far as a line comes when the process is killed in it
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_run_killed_in_the_middle_of_a_line_goes_on_behind_what_was_saved(tmp_path):
    path, state = tmp_path / "h.jsonl", tmp_path / "state.json"
    killed = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, path, state], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert History.read(path) == [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 2.0}]

    with History(path) as history:
        history.load_state_dict(json.loads(state.read_text()))
        assert history.rows() == [{"epoch": 1, "loss": 1.0}]
        history.write({"loss": 2.5}, 2)

    assert path.read_text() == '{"epoch": 1, "loss": 1.0}\n{"epoch": 2, "loss": 2.5}\n'


def test_a_file_that_is_not_there_has_no_lines(tmp_path):
    assert History.read(tmp_path / "missing.jsonl") == []
