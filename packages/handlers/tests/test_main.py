from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from camshaft.engine import Engine
from camshaft.handlers import Checkpoint, _checkpoint_row
from camshaft.handlers.__main__ import main

torch = pytest.importorskip("torch")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Three checkpoints by step, of which 3 is the newest, and two by score, of which that of step 2 is the best."""
    engine = Engine(lambda engine, batch: None)
    model = torch.nn.Linear(20, 20)
    latest = Checkpoint({"model": model}, tmp_path, n_saved=None)
    best = Checkpoint(
        {"model": model}, tmp_path, "best", lambda engine: -abs(engine.state.iteration - 2), "closeness", n_saved=2
    )
    for engine.state.iteration in (1, 2, 3):
        best(engine)
        latest(engine)
    return tmp_path


def rows_of(directory: Path, action: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict]:
    status = main([action, str(directory), "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return status, {row["file"]: row for row in rows}


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_sound_files_are_listed_the_newest_first_and_the_best_is_marked(directory, capsys) -> None:
    status, rows = rows_of(directory, "list", capsys)

    assert status == 0
    assert [(name, row["step"], row["score"], row["marks"]) for name, row in rows.items()] == [
        ("model_3.pt", 3, None, ["newest"]),
        ("model_2.pt", 2, None, []),
        ("best_model_closeness=0.pt", 2, 0, ["best"]),
        ("model_1.pt", 1, None, []),
        ("best_model_closeness=-1.pt", 1, -1, []),
    ]
    assert all(row["size_bytes"] == (directory / name).stat().st_size for name, row in rows.items())


@pytest.mark.parametrize("action", ["list", "verify"])
def test_one_file_is_told_of_alone(directory, action, capsys) -> None:
    status, rows = rows_of(directory / "model_2.pt", action, capsys)

    assert (status, list(rows)) == (0, ["model_2.pt"])
    assert rows["model_2.pt"]["marks"] == []  # which compare it with others


def test_a_file_that_is_no_checkpoint_is_refused(directory, capsys) -> None:
    (directory / "notes.txt").write_text("nothing")

    assert main(["verify", str(directory / "notes.txt")]) == 2
    assert "notes.txt is neither a checkpoint nor a directory with checkpoints" in capsys.readouterr().err


def test_a_flipped_bit_is_found_by_verify_alone_and_the_next_file_is_the_newest_sound_one(directory, capsys) -> None:
    flip(directory / "model_3.pt", 700)

    assert rows_of(directory, "list", capsys)[0] == 0
    status, rows = rows_of(directory, "verify", capsys)
    assert (status, rows["model_3.pt"]["marks"], rows["model_2.pt"]["marks"]) == (1, [], ["newest"])
    assert rows["model_3.pt"]["problem"] == "its content does not match its checksum"


def test_a_file_that_is_cut_off_is_found_by_list_too(directory, capsys) -> None:
    path = directory / "model_2.pt"
    path.write_bytes(path.read_bytes()[:-9])

    status, rows = rows_of(directory, "list", capsys)
    assert (status, [name for name, row in rows.items() if row["problem"]]) == (1, ["model_2.pt"])


def test_files_of_plain_torch_save_are_verified_too(directory, capsys) -> None:
    torch.save({"weight": torch.ones(100)}, directory / "plain_9.pt")
    assert rows_of(directory, "verify", capsys)[1]["plain_9.pt"]["problem"] is None

    flip(directory / "plain_9.pt", 600)
    assert rows_of(directory, "verify", capsys)[1]["plain_9.pt"]["problem"] is not None


def test_a_score_that_is_no_number_is_never_the_best_and_valid_json(tmp_path: Path, capsys) -> None:
    engine = Engine(lambda engine, batch: None)
    Checkpoint({"model": torch.nn.Linear(2, 2)}, tmp_path, "", lambda engine: float("nan"), "loss")(engine)

    (row,) = rows_of(tmp_path, "list", capsys)[1].values()
    assert (row["score"], row["marks"]) == ("nan", ["newest"])


def test_a_directory_without_checkpoints_or_none_at_all_is_an_error_of_its_own(tmp_path: Path, capsys) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"{tmp_path} holds no checkpoints\n"
    assert main(["list", str(tmp_path / "missing")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_module_runs_as_a_program_prints_a_table_and_exits_with_the_status(directory: Path) -> None:
    flip(directory / "model_3.pt", 700)
    command = [sys.executable, "-m", "camshaft.handlers", "verify", str(directory)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)

    header, newest, *_ = ran.stdout.splitlines()
    assert ran.returncode == 1
    assert header.split() == ["file", "step", "score", "size"]
    assert newest.endswith("DAMAGED: its content does not match its checksum")


def test_neither_action_imports_torch(directory: Path) -> None:
    program = (
        "import sys; from camshaft.handlers.__main__ import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, "verify", str(directory)]

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1] == "False"


def replacing(monkeypatch: pytest.MonkeyPatch, replace: Callable[[Path], None]) -> None:
    """Let a run replace a file right before it is verified."""
    verify = _checkpoint_row.verify_checkpoint

    def replace_and_verify(path: Path) -> None:
        replace(path)
        verify(path)

    monkeypatch.setattr(_checkpoint_row, "verify_checkpoint", replace_and_verify)


def test_a_file_that_a_run_removes_meanwhile_is_not_damaged(directory, capsys, monkeypatch) -> None:
    replacing(monkeypatch, lambda path: path.unlink() if path.name == "model_1.pt" else None)

    status, rows = rows_of(directory, "verify", capsys)

    assert (status, "model_1.pt" in rows, "model_2.pt" in rows) == (0, False, True)


def test_files_that_are_all_replaced_meanwhile_are_listed_again(directory, capsys, monkeypatch) -> None:
    def rename_once(path: Path) -> None:
        if not path.name.startswith("new"):
            path.rename(path.with_name(f"new_{path.name}"))

    replacing(monkeypatch, rename_once)

    status, rows = rows_of(directory, "verify", capsys)

    assert (status, len(rows), all(name.startswith("new") for name in rows)) == (0, 5, True)


def test_a_table_shows_each_name_in_one_line(directory, capsys) -> None:
    (directory / "model_1.pt").rename(directory / "x\nmodel_9.pt   9\x1b[2J_1.pt")

    main(["list", str(directory)])

    table = capsys.readouterr().out
    assert len(table.splitlines()) == 6
    assert r"x\nmodel_9.pt   9\x1b[2J_1.pt" in table
