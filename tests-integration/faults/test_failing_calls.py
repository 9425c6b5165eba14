from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from failing_calls import FailingCalls, run
from troubled_save import SETTINGS, Run, problems_of

from camshaft.handlers import DiskSaver

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs limits of the size of files")


def test_a_save_that_fails_changes_nothing_and_says_so_in_one_way() -> None:
    outcome = run(full=False)

    assert (outcome.losses, outcome.cases >= 50, outcome.detail) == (0, True, outcome.detail)


def test_calls_fail_in_turn_until_there_are_no_more(tmp_path: Path) -> None:
    saver = DiskSaver(tmp_path)
    saver({"count": 0}, "count.pt")  # the first save looks at more
    failed = set()
    for number in range(1, 100):
        calls = FailingCalls(tmp_path, number, errno.EIO, goes_on=False)
        with calls.failing(), contextlib.suppress(OSError):
            saver({"count": number}, "count.pt")
        failed.update(calls.failed)

    assert {"open", "write", "fsync", "replace"} <= failed


def test_the_check_itself_notices_a_file_that_has_changed(tmp_path: Path) -> None:
    @contextlib.contextmanager
    def trouble() -> Iterator[None]:
        (tmp_path / "checkpoint_2.pt").write_bytes(b"not what was saved")
        with FailingCalls(tmp_path, 1, errno.EIO, goes_on=True).failing():
            yield

    problems = problems_of(Run(tmp_path, SETTINGS[1]), trouble(), errno.EIO, goes_on=False)

    assert "the content of ['checkpoint_2.pt'] has changed" in problems
