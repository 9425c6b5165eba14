"""The examples with a loop of one's own, or of another library: killed and started again, they lose nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from warm_python import WarmPython

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
KILLED_AFTER = (13, 33, 20, 9)  # batches of one process after the other: also right behind the end of an epoch
# Libraries, and what their examples import: once, before they are run.
HOSTS = {"accelerate": "accelerate", "lightning": "lightning.pytorch", "transformers": "transformers.trainer"}


@pytest.fixture(scope="module", params=HOSTS)
def host(request: pytest.FixtureRequest) -> Iterator[tuple[str, WarmPython]]:
    """Return the name of a library, and what runs programs that import it."""
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed; `hatch run hosts:test` has it")
    python = WarmPython(("torch.utils.data", HOSTS[request.param]))
    yield request.param, python
    python.close()


class Watched:
    """Starts of one example, whose batches go into one log."""

    def __init__(self, python: WarmPython, example: str, folder: Path) -> None:
        self.python, self.example, self.folder, self.log = python, example, folder, folder.with_suffix(".log")
        self.log.touch()

    def start(self, kill_after: int = 0) -> CompletedProcess[str]:
        return self.python.run(HERE / "watched_loop.py", EXAMPLES / self.example, self.folder, self.log, kill_after)

    def batches(self) -> list[tuple[int, int, str]]:
        lines = (line.split() for line in self.log.read_text().splitlines())
        return [(int(epoch), int(index), digest) for epoch, index, digest in lines]


def check_killed_and_resumed(python: WarmPython, example: str, folder: Path) -> None:
    straight, killed = Watched(python, example, folder / "straight"), Watched(python, example, folder / "killed")
    ended = straight.start()
    assert ended.returncode == 0, ended.stderr
    for count in KILLED_AFTER:
        assert killed.start(count).returncode == -signal.SIGKILL
    assert killed.start().stdout.splitlines()[-1] == ended.stdout.splitlines()[-1]  # the hash of the parameters

    expected = {(epoch, index): digest for epoch, index, digest in straight.batches()}
    seen = killed.batches()
    assert all(digest == expected[epoch, index] for epoch, index, digest in seen)
    assert list(dict.fromkeys((epoch, index) for epoch, index, _ in sorted(seen))) == list(expected)
    returns = [after for before, after in pairwise(seen) if after[:2] <= before[:2]]
    assert 0 < len(returns) <= len(KILLED_AFTER)  # each resumed start went on where a checkpoint was


def test_a_loop_of_ones_own_that_is_killed_continues_bit_for_bit(warm_python: WarmPython, tmp_path: Path) -> None:
    check_killed_and_resumed(warm_python, "own_loop.py", tmp_path)


def test_another_library_whose_run_is_killed_continues_bit_for_bit(
    host: tuple[str, WarmPython], tmp_path: Path
) -> None:
    name, python = host
    check_killed_and_resumed(python, f"own_loop_{name}.py", tmp_path)
