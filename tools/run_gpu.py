"""Run everything of this repository that needs a GPU, one part after the other, and print one table.

    hatch run gpu:all                                    everything, half an hour
    hatch run gpu:all --quick                            smaller sizes, some six minutes
    hatch run gpu:all --parts exact tests --out results  some parts; the results also as files in a folder

It ends with an error where there is no GPU, where a part fails or takes too long, and where a bar is missed. Without
hatch: `PYTHONPATH` has to name the folders packages/*/src but that of ignite-compat, which has the import name of the
reference. A rival that is not installed is shown as not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
LEAST_RESUMES = 100
TESTS = (
    "tests-integration/gpu",
    "packages/engine-deterministic/tests/test_accelerator.py",
    "packages/supervised/tests/test_factory.py",
    "packages/supervised/tests/test_graphed_update.py",
    "packages/supervised/tests/test_precision.py",
    "packages/supervised/tests/test_prefetch_cuda.py",
)


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        part: what was run.
        name: what was measured or counted.
        value: the number; None where it could not be measured.
        unit: its unit, "x" for a ratio.
        bar: what it is held to, "" for nothing.
        is_missed: whether it misses that.
    """

    part: str
    name: str
    value: float | None
    unit: str = ""
    bar: str = ""
    is_missed: bool = False


class Limit(NamedTuple):
    """How long something may take, in seconds, as a whole and with smaller sizes."""

    whole_s: float
    quick_s: float


class Part(NamedTuple):
    """Something to run.

    Attributes:
        arguments: of the Python process that is run; `{device}` and `{jobs}` are filled in.
        quick: further arguments, for smaller sizes.
        limit: how long it may take; longer is a failure.
        read: makes rows of what it has printed and left in its folder.
    """

    arguments: Sequence[str]
    quick: Sequence[str]
    limit: Limit
    read: Callable[[str, str, Path], Iterator[Row]]


# ---------------------------------------------------------------------- what the parts say


def rows_of_figures(part: str, _printed: str, folder: Path) -> Iterator[Row]:
    """Yield the figures that a benchmark has appended to its file."""
    file = folder / "figures.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    if not lines:
        yield Row(part, "figures", 0, "", ">= 1", is_missed=True)
    for line in lines:
        figure: dict[str, Any] = json.loads(line)
        bars = (("<=", figure["at_most"]), (">=", figure["at_least"]))
        bar = " and ".join(f"{sign} {value:g}" for sign, value in bars if value is not None)
        yield Row(part, figure["name"], figure["value"], figure["unit"], bar, figure["is_missed"])


def rows_of_resumes(part: str, printed: str, _folder: Path, least: int = LEAST_RESUMES) -> Iterator[Row]:
    """Yield how many runs were resumed, and how many of them went another way; those before the time was up, too."""
    cases = re.findall(r"^\d+ of \d+, .* (\d+) exact, (\d+) refused, (\d+) wrong$", printed, re.MULTILINE)
    exact, refused, wrong = (sum(int(case[place]) for case in cases) for place in range(3))
    yield Row(part, "runs resumed bit for bit", exact, "", f">= {least}", exact < least)
    yield Row(part, "runs refused by name, as they have to be", refused)
    yield Row(part, "runs that went another way", wrong, "", "<= 0", wrong > 0)


def rows_of_tests(part: str, printed: str, _folder: Path) -> Iterator[Row]:
    """Yield how many tests passed, and each one that did not; those that were run before the time was up, too."""
    found = re.findall(r"^\[gw\d+\] \[ *\d+%\] ([A-Z]+) (.*?) *$", printed, re.MULTILINE)
    passed = sum(outcome == "PASSED" for outcome, _ in found)
    skipped = sum(outcome == "SKIPPED" and name.startswith("tests-integration/gpu") for outcome, name in found)
    yield Row(part, "tests that passed", passed, "", ">= 1", passed < 1)
    yield Row(part, "tests that were skipped, of those that need a GPU", skipped, "", "<= 0", skipped > 0)
    for outcome, name in found:
        if outcome in ("FAILED", "ERROR"):
            yield Row(part, name, 1, "failed", "<= 0", is_missed=True)


PARTS = {
    "tests": Part(
        ("-m", "pytest", *TESTS, "-v", "-p", "xdist", "-n", "{jobs}", "-p", "no:cacheprovider"),
        (), Limit(600, 160), rows_of_tests,
    ),
    "exact": Part(  # it waits for the GPU all the time: more processes would wait for each other
        ("tests-integration/exact/matrix.py", "--device", "{device}", "--precision", "float16", "--jobs", "3"),
        ("--cases", "20", "--each", "8", "--kills", "0", "--limit-s", "60"), Limit(1800, 120), rows_of_resumes,
    ),
    "supervised": Part(
        ("benchmarks/bench_supervised.py", "--device", "{device}"),
        ("--rounds", "30"), Limit(300, 100), rows_of_figures,
    ),
    "checkpoint": Part(
        ("benchmarks/bench_checkpoint.py", "--device", "{device}", "--only", "blocked", "saving"),
        ("--rounds", "3", "--megabytes", "512"), Limit(600, 100), rows_of_figures,
    ),
    "prefetch": Part(
        ("benchmarks/bench_prefetch.py",),
        ("--iterations", "40", "--rounds", "2"), Limit(300, 80), rows_of_figures,
    ),
    "exact prefetching": Part(
        ("tests-integration/exact/matrix.py", "--device", "{device}", "--prefetch", "--kills", "0", "--jobs", "3"),
        ("--cases", "10", "--each", "6", "--limit-s", "30"), Limit(1800, 80), partial(rows_of_resumes, least=30),
    ),
    "exact graphs": Part(
        ("tests-integration/exact/matrix.py", "--device", "{device}", "--graph", "--kills", "0", "--jobs", "3"),
        ("--cases", "10", "--each", "6", "--limit-s", "30"), Limit(1800, 80), partial(rows_of_resumes, least=30),
    ),
}  # fmt: skip


# ---------------------------------------------------------------------- running them


def run_part(name: str, options: argparse.Namespace, folder: Path) -> list[Row]:
    """Run a part in a process of its own, show what it prints, and return its rows."""
    part = PARTS[name]
    folder.mkdir()
    places = {"device": options.device, "jobs": options.jobs}
    command = [each.format(**places) for each in (*part.arguments, *(part.quick if options.quick else ()))]
    limit_s = part.limit.quick_s if options.quick else part.limit.whole_s
    log, begun = folder / "log.txt", time.perf_counter()
    print(f"\n== {name}: python {' '.join(command)}", flush=True)
    with log.open("w", encoding="utf-8") as file:
        status = run_with_limit([sys.executable, *command], limit_s, file, environment(options.device, folder))
    printed, seconds = log.read_text(encoding="utf-8", errors="replace"), time.perf_counter() - begun
    print(printed, flush=True)
    took = Row(name, "took", seconds, "s", f"<= {limit_s:g}", is_missed=seconds > limit_s)
    rows = [*part.read(name, printed, folder), took]
    if status and not any(row.is_missed for row in rows):
        rows.append(Row(name, "exit status", status, "", "0", is_missed=True))
    return rows


def run_with_limit(command: list[str], limit_s: float, output: Any, variables: dict[str, str]) -> int:
    """Run a process, and kill it and its children if it takes too long; return its exit status."""
    with subprocess.Popen(
        command, cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return process.wait()


def environment(device: str, folder: Path) -> dict[str, str]:
    """Return the environment of a part."""
    return {
        **os.environ,
        "FIGURE_LINES": str(folder / "figures.jsonl"),
        "TESTS_DEVICE": device,
        "OMP_NUM_THREADS": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # a machine may have any, and what they warn of is an error
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # its processes take longer to start than one small model to compile
    }


# ---------------------------------------------------------------------- the table


def processor() -> str:
    """Return the name of the processor, as far as the system tells."""
    file = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", file.read_text(encoding="utf-8")) if file.exists() else None
    return found[1] if found else platform.machine()


def describe_machine(device: str) -> dict[str, str]:
    """Return what the figures are of."""
    import torch

    gpu = torch.cuda.get_device_properties(0) if device == "cuda" else None
    return {
        "GPU": f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" if gpu else "none",
        "processors": f"{os.cpu_count()} x {processor()}",
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "CUDA": str(torch.version.cuda),
    }


def table(machine: dict[str, str], rows: list[Row]) -> str:
    """Return machine and rows as Markdown."""
    lines = [", ".join(f"{name}: {value}" for name, value in machine.items()), "", "| part | figure | | bar | |"]
    lines.append("|---|---|---|---|---|")
    for row in rows:
        value = "not measured" if row.value is None else f"{row.value:,.3f}".rstrip("0").rstrip(".")
        verdict = ("MISSED" if row.is_missed else "ok") if row.bar else ""
        lines.append(f"| {row.part} | {row.name} | {value} {row.unit} | {row.bar} | {verdict} |".replace("  ", " "))
    return "\n".join(lines) + "\n"


def write(out: Path, machine: dict[str, str], rows: list[Row], work: Path) -> None:
    """Write the table, the same as JSON, and everything that was printed."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu.md").write_text(table(machine, rows), encoding="utf-8")
    entries = {"machine": machine, "rows": [row._asdict() for row in rows]}
    (out / "gpu.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    logs = [f"== {log.parent.name}\n{log.read_text(errors='replace')}" for log in sorted(work.glob("*/log.txt"))]
    (out / "gpu.log").write_text("\n".join(logs), encoding="utf-8")


def has_device(device: str) -> bool:
    """Return whether there is one, asked in another process: this one is to stay without."""
    ask = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return device == "cpu" or subprocess.run([sys.executable, "-c", ask], check=False).returncode == 0


def main() -> str | None:
    """Run the parts; return what was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--out", type=Path, help="folder for gpu.md, gpu.json and gpu.log")
    parser.add_argument("--jobs", type=int, default=min(8, os.cpu_count() or 1), help="processes side by side")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu tries the programs themselves")
    options = parser.parse_args()
    if not has_device(options.device):
        return "nothing was run: torch finds no GPU here"
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        for part in options.parts:
            rows += run_part(part, options, Path(name, part))
            if options.out is not None:  # after each part: a later one may hang, or the machine may be taken away
                write(options.out, describe_machine(options.device), rows, Path(name))
    print(f"\n{table(describe_machine(options.device), rows)}")
    missed = [f"{row.part}: {row.name}" for row in rows if row.is_missed]
    return f"missed: {'; '.join(missed)}" if missed else None


if __name__ == "__main__":
    sys.exit(main())
