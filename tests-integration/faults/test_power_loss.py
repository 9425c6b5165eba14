from __future__ import annotations

import sys
from pathlib import Path

import pytest
from power_loss import FOLDER, losses_of, record, run
from recorded_calls import Promise, Rename, SyncDirectory, SyncFile, Write
from ways_to_save import NAIVE_WAYS, WAYS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="directories cannot be synced there")


def test_a_loss_of_power_while_saving_loses_nothing_that_was_safe() -> None:
    outcome = run(full=False)

    assert (outcome.losses, outcome.cases >= 200, outcome.detail) == (0, True, outcome.detail)


@pytest.mark.parametrize("name", NAIVE_WAYS)
def test_the_check_itself_notices_a_step_left_out(name: str) -> None:
    _, problems = losses_of(NAIVE_WAYS[name], most=100)

    assert problems != []


def test_a_save_is_recorded_call_by_call() -> None:
    calls = record(WAYS["first save"])
    kinds = [type(call) for call in calls if isinstance(call, Write | SyncFile | Rename | SyncDirectory | Promise)]

    assert SyncDirectory(".") in calls  # of the folder that was made
    assert kinds[-4:] == [SyncFile, Rename, SyncDirectory, Promise]
    assert calls[-2] == SyncDirectory(FOLDER)


def test_what_is_written_past_os_is_recorded(tmp_path: Path) -> None:
    def write_past_os(directory: Path, note: object) -> None:
        directory.mkdir()
        (directory / "file").write_bytes(b"content")

    calls = record(write_past_os)

    assert Write(1, b"content") in calls
