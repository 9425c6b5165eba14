"""The page of a run: what it shows, and that nothing in it is run or loaded."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from camshaft.engine import ArgumentError, Engine, Events
from camshaft.handlers import CSVLogger, History, Profiler, RunLog, write_report
from camshaft.handlers.__main__ import main

HARM = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
VOID = {"meta", "br", "img", "link", "input"}


class Page(HTMLParser):
    """Texts and elements of a page, as a browser sees them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data.strip())


def make_run(folder: Path) -> None:
    """Train for three epochs with everything that writes into the folder, but without checkpoints."""
    engine = Engine(lambda engine, batch: 1 / (engine.state.iteration + batch))
    history, table, profiler = History(folder / "history.jsonl"), CSVLogger(folder / "logs" / "log.csv"), Profiler()
    history.attach(engine, tag="train", output_transform=lambda output: {"loss": output})
    table.attach(engine, Events.ITERATION_COMPLETED, output_transform=lambda output: {"rate": output})
    RunLog(folder / "run-log.jsonl").attach(engine)
    profiler.attach(engine)
    engine.run([1, 2], max_epochs=3)
    profiler.write_json(folder / "profile.json")
    (folder / "options.json").write_text(json.dumps({"lr": 0.1, "seed": 7}))


def test_a_run_with_everything_has_all_parts(tmp_path):
    make_run(tmp_path)

    page = Page(write_report(tmp_path))

    assert {"history.jsonl", "logs/log.csv", "Starts and stops", "Options", "Profile"} <= set(page.texts)
    assert {"lr", "0.1", "seed", "7", "completed", "loss", "rate", "train"} <= set(page.texts)
    assert page.tags.count("svg") == 2
    assert page.open == []


def test_a_page_has_no_script_and_loads_nothing(tmp_path):
    make_run(tmp_path)

    page = Page(write_report(tmp_path))

    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "a", "base"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name in {"src", "href", "style"} or name.startswith("on")]
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_whatever_the_files_hold_is_text(tmp_path):
    engine = Engine(lambda engine, batch: batch)
    with History(tmp_path / f"{HARM.replace('/', '')}.jsonl", step_name=HARM) as history:
        history.write({HARM: 1.0, f"{HARM}/{HARM}": 2.0}, 1)
    (tmp_path / "options.json").write_text(json.dumps({HARM: HARM, "nested": [HARM]}))
    (tmp_path / "profile.json").write_text(
        json.dumps({"wall_s": 1, "events": [], "handlers": [], "phases": [
            {"name": HARM, "count": 1, "total_s": 1, "mean_s": 1, "share": 1}]})
    )  # fmt: skip
    RunLog(tmp_path / "run-log.jsonl").attach(engine)

    @engine.on(Events.ITERATION_COMPLETED)
    def fail():
        raise ValueError(HARM)

    with pytest.raises(ValueError, match="script"):
        engine.run([1])
    (tmp_path / "broken.jsonl").write_text(f'{{"{HARM[:8]}": }}\n')

    page = Page(write_report(tmp_path))

    assert not {"script", "img"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.texts.count(HARM) >= 3
    assert f"failed: ValueError: {HARM}" in page.texts
    assert page.open == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("options.json", "[1]"),
        ("options.json", "{"),
        ("options.json", "[" * 100_000),
        ("profile.json", "{}"),
        ("profile.json", '{"wall_s": 1, "phases": 3, "events": [], "handlers": []}'),
        ("history.jsonl", '{"epoch": 1, "loss": [2]}\n'),
        ("history.jsonl", "[1]\n"),
        ("history.jsonl", '{"epoch": 1, "loss": 1' + "0" * 400 + "}\n"),
        ("history.jsonl", "\xff\n"),
        ("log.csv", "step,loss\n1,much\n"),
        ("log.csv", "step\n1,2,3\n"),
        ("run-log.jsonl", '{"what": "started"}\n{"where": 1}\n'),
        ("run-log.jsonl", '{"what": 3}\n'),
        ("history.jsonl", "{}\n"),
    ],
    ids=lambda value: value[:25],
)
def test_a_file_that_cannot_be_read_is_named_and_the_others_are_shown(tmp_path, name, content):
    make_run(tmp_path)
    (tmp_path / name).write_text(content, encoding="latin-1")

    page = Page(write_report(tmp_path))

    assert any(text.startswith(f"{name}: ") for text in page.texts)
    assert "logs/log.csv" in page.texts


@pytest.mark.parametrize(
    "values",
    [
        [0.0],
        [5.0, 5.0],
        [1e-320, 0.0],
        [1e308, -1e308],
        [1.0, 1.0 + 2e-16],
        [float("nan"), float("inf")],
        [-3, 7e9],
    ],
)
def test_any_values_can_be_drawn(tmp_path, values):
    with History(tmp_path / "history.jsonl") as history:
        for step, value in enumerate(values):
            history.write({"loss": value}, step)

    text = write_report(tmp_path).read_text()

    assert "nan," not in text
    assert "inf," not in text


def test_a_start_without_an_end_was_killed_if_another_one_follows(tmp_path):
    lines = [
        {"what": "started", "time": "2026-01-01T10:00:00+00:00", "iteration": 0},
        {"what": "resumed", "time": "2026-01-01T11:00:00+00:00", "iteration": 20},
    ]
    (tmp_path / "run-log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    page = Page(write_report(tmp_path))

    assert "killed: it wrote no end" in page.texts
    assert "still running, or killed: it wrote no end" in page.texts
    assert "2026-01-01 11:00:00" in page.texts


def test_a_damaged_checkpoint_is_shown_as_such_and_a_sound_one_as_sound(tmp_path):
    torch = pytest.importorskip("torch")
    from camshaft.handlers import Checkpoint

    engine = Engine(lambda engine, batch: None)
    save = Checkpoint({"model": torch.nn.Linear(2, 2)}, tmp_path / "checkpoints", n_saved=None)
    for engine.state.iteration in (1, 2):
        save(engine)
    content = bytearray(save.last_checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    save.last_checkpoint.write_bytes(content)

    page = Page(write_report(tmp_path))

    assert "2 checkpoints, 1 DAMAGED" in page.texts
    assert "newest, sound" in page.texts
    assert [text for text in page.texts if text.startswith("DAMAGED: ")] != []


def test_lines_that_cannot_be_read_are_counted_and_the_others_are_shown(tmp_path):
    (tmp_path / "history.jsonl").write_text('{"epoch": 1, "loss": 2}\n{"epoch"\n{"epoch": 2, "loss": 1}\n{}\n')
    (tmp_path / "log.csv").write_text("step,lr\n1,0.5\n2,much\n3,0.25\n4,0.1")  # the last one is half written

    page = Page(write_report(tmp_path))

    told = [text.partition(", the first is ")[0] for text in page.texts if "left out" in text]
    assert told == [
        "history.jsonl: 1 of 4 lines are left out",
        "history.jsonl: 1 of 3 lines are left out",
        "log.csv: 1 of 3 lines are left out",
    ]
    assert "1 at epoch 2" in page.texts
    assert "0.25 at step 3" in page.texts


def test_an_end_without_an_iteration_is_shown(tmp_path):
    (tmp_path / "run-log.jsonl").write_text('{"what": "completed"}\n')

    assert "completed at iteration unknown" in " ".join(Page(write_report(tmp_path)).texts)


def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_shown(tmp_path, monkeypatch):
    make_run(tmp_path)
    (tmp_path / "gone").mkdir()
    iterdir = Path.iterdir

    def go(folder):
        if folder.name == "gone":
            raise FileNotFoundError(2, "No such file or directory", str(folder))
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", go)

    assert "gone: No such file or directory" in Page(write_report(tmp_path)).texts


def test_a_link_in_the_place_of_the_page_is_replaced(tmp_path):
    make_run(tmp_path / "run")
    (tmp_path / "precious").write_text("as it was")
    (tmp_path / "run" / "report.html").symlink_to(tmp_path / "precious")

    assert write_report(tmp_path / "run").read_text().startswith("<!doctype html>")
    assert (tmp_path / "precious").read_text() == "as it was"


def test_a_page_is_written_to_a_file_only(tmp_path):
    make_run(tmp_path)
    (tmp_path / "report.html").mkdir()

    for place in (None, tmp_path):
        with pytest.raises(ArgumentError, match="`path` must be a file or a new name"):
            write_report(tmp_path, place)


def test_a_page_that_cannot_be_written_is_named(tmp_path):
    make_run(tmp_path)

    with pytest.raises(FileNotFoundError) as caught:
        write_report(tmp_path, tmp_path / "nowhere" / "page.html")

    assert caught.value.filename == str(tmp_path / "nowhere" / "page.html")


def test_a_folder_where_nothing_can_be_read_is_refused_with_the_reasons(tmp_path):
    (tmp_path / "options.json").write_text("[1]")

    with pytest.raises(ArgumentError, match=r"without any that can be read .options.json: it must be an object"):
        write_report(tmp_path)


def test_a_folder_without_anything_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="something about a run"):
        write_report(tmp_path)


def test_the_command_writes_the_page_where_it_is_told_to(tmp_path, capsys):
    make_run(tmp_path / "run")

    assert main(["report", str(tmp_path / "run"), "--output", str(tmp_path / "page.html")]) == 0

    assert capsys.readouterr().out == f"{tmp_path / 'page.html'}\n"
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert not (tmp_path / "run" / "report.html").exists()


def test_the_command_says_what_is_missing(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == (
        f"`folder` must hold something about a run, got {str(tmp_path)!r} without any; give the folder into which "
        "History, CSVLogger, RunLog or Checkpoint write\n"
        f"{tmp_path / 'nowhere'} cannot be read: No such file or directory\n"
    )
