from __future__ import annotations

from pathlib import Path

import pytest

from warm_python import WarmPython

pytest.importorskip("torch")

PROGRAM = Path(__file__).with_name("exits.py")


@pytest.mark.parametrize(
    ("way", "status", "files"),
    [
        ("ends", 0, ["model.pt"]),
        ("raises", 1, ["model.pt"]),
        ("sys.exit", 5, ["model.pt"]),
        ("thread", 0, ["model.pt"]),
        ("in atexit", 0, ["later.pt", "model.pt"]),
        ("after the library", 0, ["later.pt", "model.pt"]),
        ("ends in a child", 0, ["model.pt"]),
        ("fails", 1, []),
        ("fails in a child", 1, []),
    ],
)
def test_a_program_that_ends_waits_for_what_is_being_written(
    way: str, status: int, files: list[str], warm_python: WarmPython, tmp_path: Path
) -> None:
    done = warm_python.run(PROGRAM, tmp_path, way)

    assert (done.returncode, sorted(path.name for path in tmp_path.iterdir())) == (status, files), done.stderr
    assert ("the disk is gone" in done.stderr) == way.startswith("fails")


def test_a_program_that_ends_does_not_wait_for_ever(warm_python: WarmPython, tmp_path: Path) -> None:
    done = warm_python.run(PROGRAM, tmp_path, "hangs")

    assert (done.returncode, list(tmp_path.glob("*.pt"))) == (1, [])
    assert "still being written after" in done.stderr
