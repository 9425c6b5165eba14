from __future__ import annotations

import random
from pathlib import Path

from damaged_files import Files, run


def test_no_damage_to_the_newest_file_goes_unnoticed() -> None:
    outcome = run(full=False)

    assert (outcome.losses, outcome.cases) == (0, 250)


def test_the_check_itself_notices_a_file_that_was_exchanged(tmp_path: Path) -> None:
    files = Files(tmp_path, "own")
    older = files.older.read_bytes()

    def exchange(content: bytearray, choose: random.Random) -> None:
        content[:] = older

    assert not files.is_noticed(exchange, random.Random(0))
