from __future__ import annotations

from pathlib import Path

import pytest

from camshaft.engine import ArgumentError, Engine
from camshaft.handlers import CSVLogger, History, Profiler, RunLog, list_checkpoints, write_report
from camshaft.handlers.__main__ import main

URL = "s3://bucket/run/file"


def profiler():
    profiler, engine = Profiler(), Engine(lambda engine, batch: None)
    profiler.attach(engine)
    engine.run([1])
    return profiler


USES = {
    "History": History,
    "History.read": History.read,
    "History.plot": lambda place: History("history.jsonl").plot(place),
    "CSVLogger": CSVLogger,
    "RunLog": RunLog,
    "RunLog.read": RunLog.read,
    "Profiler.write_json": lambda place: profiler().write_json(place),
    "Profiler.write_trace": lambda place: profiler().write_trace(place),
    "write_report, folder": write_report,
    "write_report, path": lambda place: write_report(".", place),
}


@pytest.mark.parametrize("place", [URL, Path(URL)], ids=["text", "path"])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_file_of_this_machine_has_no_url_and_no_folder_is_made_of_it(tmp_path, monkeypatch, use, place):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ArgumentError, match="must be a path of this machine, got 's3:/.*; (write|copy) "):
        use(place)
    assert not list(tmp_path.iterdir())


def test_a_report_of_a_url_is_refused_with_the_url_as_it_was_typed(capsys):
    assert main(["report", "file:///run"]) == 2
    assert capsys.readouterr().err == (
        "`folder` must be a path of this machine, got 'file:///run'; copy the run to this machine first\n"
    )


@pytest.mark.parametrize("place", ["s3:/bucket/run", "file:/run", Path("s3://bucket/run")])
def test_a_url_that_was_taken_apart_is_refused_where_checkpoints_go(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ArgumentError, match="must be a string with :// if it is a URL"):
        list_checkpoints(place)


def test_a_folder_whose_name_ends_in_a_colon_can_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s3:", "run").mkdir(parents=True)

    assert list_checkpoints("./s3:/run") == []
