from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hostile_files import CANARY, met_in_a_process, run


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_nothing_in_a_hostile_file_is_done() -> None:
    outcome = run(full=False)

    assert (outcome.losses, outcome.cases >= 10, outcome.detail) == (0, True, outcome.detail)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_the_check_itself_notices_what_is_done() -> None:
    def leave_a_canary(path: Path) -> None:
        (path.parent / CANARY).touch()
        path.touch()

    assert met_in_a_process(leave_a_canary) == "it was run"
