"""Programs in forks of a helper are processes like those that are started afresh."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from warm_python import WarmPython

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def python() -> Iterator[WarmPython]:
    python = WarmPython(("decimal", "no_such_module"))
    yield python
    python.close()


@pytest.fixture(params=["fork", "fresh"])
def run(request: pytest.FixtureRequest, python: WarmPython) -> Run:
    """Run a program in either way: every fact below holds for both."""
    if request.param == "fork":
        return python.run

    def run_afresh(*args: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    return run_afresh


def test_program_prints_to_its_own_output_and_errors(run: Run) -> None:
    ran = run("-c", "import sys; print('out'); print('err', file=sys.stderr)")

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "out\n", "err\n")


def test_script_sees_its_arguments_itself_and_its_neighbours(run: Run, tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("value = 7")
    script = tmp_path / "script.py"
    script.write_text("import sys, neighbour; print(__name__, __file__, sys.argv[1:], neighbour.value)")

    assert run(script, "a", 1).stdout == f"__main__ {script} ['a', '1'] 7\n"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import sys; sys.exit(3)", 3),
        ("import os; os._exit(137)", 137),
        ("1 / 0", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_exit_status_is_the_programs(run: Run, code: str, status: int) -> None:
    assert run("-c", code).returncode == status


def test_error_is_shown(run: Run) -> None:
    assert run("-c", "1 / 0").stderr.endswith("ZeroDivisionError: division by zero\n")


def test_what_was_registered_for_the_exit_is_done(run: Run) -> None:
    assert run("-c", "import atexit; atexit.register(print, 'done')").stdout == "done\n"


def test_warnings_become_errors_where_asked(run: Run) -> None:
    code = "import warnings; warnings.warn('now')"

    assert run("-c", code).returncode == 0
    assert run("-W", "error", "-c", code).returncode == 1


def test_folder_and_environment_are_those_of_the_caller(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OF_THE_TEST", "yes")

    assert run("-c", "import os; print(os.getcwd(), os.environ['OF_THE_TEST'])").stdout == f"{tmp_path} yes\n"


def test_program_reads_nothing_from_its_input(run: Run) -> None:
    assert run("-c", "import sys; print(repr(sys.stdin.read()))").stdout == "''\n"


def test_functions_of_a_script_reach_spawned_processes(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing\n"
        "def double(value): return 2 * value\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool: print(pool.map(double, [1, 2]))\n"
    )

    assert run(script).stdout == "[2, 4]\n"


def test_random_numbers_differ_from_program_to_program(run: Run) -> None:
    code = "import random; print(random.random())"

    assert run("-c", code).stdout != run("-c", code).stdout


def test_numbers_of_numpy_differ_from_program_to_program() -> None:
    python = WarmPython(("numpy",))
    code = "import numpy; print(numpy.random.rand())"
    first, second = python.run("-c", code).stdout, python.run("-c", code).stdout
    python.close()

    assert first != second


def test_modules_of_the_helper_are_there_from_the_start(python: WarmPython) -> None:
    assert python.run("-c", "import sys; print('decimal' in sys.modules)").stdout == "True\n"


def test_killed_program_has_the_signal_as_its_status(python: WarmPython, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ready")
    program = python.start(
        "-c", "import sys, signal; open(sys.argv[1], 'w').close(); signal.pause()", tmp_path / "ready"
    )
    (tmp_path / "ready").read_bytes()
    program.kill()

    assert program.wait().returncode == -signal.SIGKILL


def test_programs_run_side_by_side(python: WarmPython, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reading = python.start("-c", "import sys; print(open(sys.argv[1]).read())", tmp_path / "fifo")
    writing = python.run("-c", "import sys; open(sys.argv[1], 'w').write('from the other')", tmp_path / "fifo")

    assert writing.returncode == 0
    assert reading.wait().stdout == "from the other\n"


def test_ranks_find_each_other(warm_python: WarmPython) -> None:
    code = """
import torch.distributed as dist
dist.init_process_group("gloo")
names = [None, None]
dist.all_gather_object(names, dist.get_rank())
print(names)
dist.destroy_process_group()
"""
    ranks = warm_python.run_ranks(2, "-c", code)

    assert [(rank.returncode, rank.stdout) for rank in ranks] == [(0, "[0, 1]\n")] * 2, ranks
