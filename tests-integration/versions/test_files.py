"""Checkpoints that earlier versions wrote load now, and never go on to another end in silence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import small_training

FILES = Path(__file__).parent / "files"


@pytest.mark.parametrize("version", sorted(path.name for path in FILES.iterdir()))
def test_a_checkpoint_of_an_earlier_version_loads_and_goes_on_exactly_or_says_that_it_cannot(
    version: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(FILES / version, tmp_path / version)
    before = json.loads((folder / "hashes.json").read_text())

    after = small_training.read(folder)

    assert after["saved"] == before["saved"]
    assert after["end"] in (before["end"], "refused: version")


def test_a_checkpoint_of_now_goes_on_exactly(tmp_path: Path) -> None:
    assert small_training.write(tmp_path) == small_training.read(tmp_path)
