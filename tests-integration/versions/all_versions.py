"""Try wheels with each other, with the lowest and the newest dependencies, and with other Pythons.

    hatch run versions:all                         everything; minutes, and several GB of torch
    hatch run versions:all pairs files             some parts of it
    hatch run versions:all --table docs/versions.md    write what ran into the page

Each line is an environment of its own that holds wheels only. An earlier version is a wheel in `wheels/`.
"""

from __future__ import annotations

import argparse
import email
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

# Run as a program, it has the tools of the repository beside it.
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import boundaries
from build_all import ROOT, Environment, call, pinned_torch

HERE = Path(__file__).parent
LEAVES = ("engine-deterministic", "handlers", "supervised", "distributed")
PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.14t")
SUITES = {  # tests that need no torch
    "engine-core": ["packages/engine-core/tests"],
    "handlers": ["packages/handlers/tests", "--ignore-glob=*/checkpoint/*"],
}
PRINT_TORCH = "import importlib.metadata; print('torch', importlib.metadata.version('torch'))"
TEST_TOOLS = ("coverage>=7.10", "hypothesis>=6.100", "pytest>=9,<10", "pytest-xdist>=3.8,<4", "sybil>=10,<11")


class Row(NamedTuple):
    """One line of the table: what was tried, with what, and how it ended."""

    tried: str
    with_what: str
    result: str

    @property
    def is_bad(self) -> bool:
        """Whether something that should work does not."""
        return self.result.startswith("FAILED")


@dataclass(frozen=True)
class Wheel:
    """A wheel of ours."""

    path: Path

    @property
    def package(self) -> str:
        """The distribution, without `camshaft-`."""
        return parse_wheel_filename(self.path.name)[0].removeprefix("camshaft-")

    @property
    def version(self) -> str:
        """Its version."""
        return str(parse_wheel_filename(self.path.name)[1])

    def __str__(self) -> str:
        return f"{self.package} {self.version}"

    @functools.cached_property
    def requirements(self) -> list[Requirement]:
        """What it requires, extras included."""
        with zipfile.ZipFile(self.path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            headers = email.message_from_bytes(archive.read(name))
        return [Requirement(text) for text in headers.get_all("Requires-Dist", [])]

    def allows(self, other: Wheel) -> bool:
        """Return whether the requirements let another wheel of ours stand beside this one."""
        named = [each for each in self.requirements if each.name == f"camshaft-{other.package}"]
        return all(each.specifier.contains(other.version) for each in named)


def build_wheels(folder: Path) -> dict[str, Wheel]:
    """Build a wheel of everything as it is now."""
    for package in boundaries.PORTIONS:
        call(
            sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT / "packages" / package
        )
    return {wheel.package: wheel for wheel in map(Wheel, folder.glob("*.whl"))}


def run(environment: Environment, script: str, *arguments: str | Path, timeout_s: float = 1200) -> str:
    """Run one of the programs beside this one; return "ok" and what it printed, or how it failed."""
    command = [environment.python, "-I", HERE / script, *arguments]
    done = subprocess.run(
        command, cwd=environment.folder, text=True, capture_output=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        return f"FAILED: {' '.join(done.stderr.split())[-300:]}"
    return done.stdout.strip() or "ok"


def with_torch(environment: Environment, torch: Environment) -> Environment:
    """Let an environment find a torch that is installed once for all."""
    (environment.site_packages / "torch.pth").write_text(f"{torch.site_packages}\n")
    return environment


class Trial:
    """Where everything is put."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.now = build_wheels(scratch / "now")
        self.earlier = sorted(map(Wheel, (HERE / "wheels").glob("*.whl")), key=str)

    @functools.cached_property
    def torch(self) -> Environment:
        """The torch of the development environments, with numpy."""
        environment = self.environment("torch")
        environment.install(pinned_torch(), "numpy")
        return environment

    def environment(self, name: str, interpreter: Path | None = None) -> Environment:
        """Make a new environment."""
        return Environment(self.scratch / re.sub(r"\W+", "-", name), interpreter)

    def versions(self, package: str) -> list[Wheel]:
        """Return the wheels of a distribution, the earliest first."""
        return [*(each for each in self.earlier if each.package == package), self.now[package]]

    def pairs(self) -> Iterator[Row]:
        """Try every version of each leaf with every version of engine-core."""
        for package in LEAVES:
            for leaf in self.versions(package):
                for core in self.versions("engine-core"):
                    yield Row(str(leaf), str(core), self.pair(leaf, core))

    def pair(self, leaf: Wheel, core: Wheel) -> str:
        """Try one pair; one that is not allowed has to be refused by pip."""
        environment = self.environment(f"{leaf} {core}")
        command = (sys.executable, "-m", "pip", "--python", environment.python, "install", "--quiet", "--no-index")
        with_torch(environment, self.torch)
        done = subprocess.run([*command, leaf.path, core.path], text=True, capture_output=True, check=False)
        if not leaf.allows(core):
            return "not allowed, and refused by pip" if done.returncode else "FAILED: not allowed, but installed"
        if done.returncode:
            return f"FAILED: {' '.join(done.stderr.split())[-300:]}"
        return run(environment, "scenarios.py", leaf.package)

    def files(self) -> Iterator[Row]:
        """Let each set of versions write a checkpoint in the middle of a run, and the set of now read it."""
        sets = {each.version: self.set_of(each.version) for each in self.earlier}
        now = self.installed(list(self.now.values()), "now")
        for version, wheels in [*sets.items(), ("now", list(self.now.values()))]:
            folder = self.scratch / f"written by {version}"
            folder.mkdir()
            writer = now if version == "now" else self.installed(wheels, version)
            wrote = run(writer, "small_training.py", "write", folder)
            found = wrote if wrote.startswith("FAILED") else run(now, "small_training.py", "read", folder)
            yield Row(f"a checkpoint of {version}", "read now", compare(wrote, found))

    def set_of(self, version: str) -> list[Wheel]:
        """Return the kept wheels of a version."""
        return [each for each in self.earlier if each.version == version]

    def installed(self, wheels: list[Wheel], name: str) -> Environment:
        """Return an environment with wheels and what they require."""
        environment = with_torch(self.environment(f"set {name}"), self.torch)
        without = [each.path for each in wheels if each.package != "ignite-compat"]
        environment.install("--no-index", *without)
        call(sys.executable, "-m", "pip", "--python", environment.python, "check")
        return environment

    def lowest(self) -> Iterator[Row]:
        """Try everything with the lowest versions of all that it requires, extras included."""
        pins = sorted({pin for wheel in self.now.values() for pin in lowest_versions(wheel)})
        yield from self.everything(f"lowest: {', '.join(pins)}", self.environment("lowest"), pins)

    def newest(self) -> Iterator[Row]:
        """Try everything with the newest Python that is here, and the newest versions of all that it requires."""
        found = filter(None, map(find_python, (each for each in PYTHONS if not each.endswith("t"))))
        interpreter = list(found)[-1]
        yield from self.everything(f"newest: Python {number_of(interpreter)}", self.environment("newest", interpreter))

    def everything(self, what: str, environment: Environment, pins: Sequence[str] = ()) -> Iterator[Row]:
        """Install all wheels with all extras into one environment, and try each."""
        extras = {"handlers": "torch,progress,plot,tensorboard,mlflow,fsspec", "supervised": "metrics"}
        wheels = [
            f"{wheel.path}[{extras[package]}]" if package in extras else str(wheel.path)
            for package, wheel in self.now.items()
        ]
        environment.install(*wheels, *pins)
        call(sys.executable, "-m", "pip", "--python", environment.python, "check")
        torch = "" if pins else f", {call(environment.python, '-I', '-c', PRINT_TORCH).strip()}"
        for package in boundaries.PORTIONS:
            yield Row(str(self.now[package]), f"{what}{torch}", run(environment, "scenarios.py", package))

    def pythons(self) -> Iterator[Row]:
        """Run the tests that need no torch, on wheels, with every Python that is here."""
        for version in PYTHONS:
            interpreter = find_python(version)
            for package, tests in SUITES.items():
                tried, what = f"tests of {self.now[package]}", f"Python {version}"
                if interpreter is None:
                    yield Row(tried, what, "not tried: there is no such Python here")
                else:
                    yield Row(tried, f"{what} ({number_of(interpreter)})", self.suite(package, tests, interpreter))

    def suite(self, package: str, tests: list[str], interpreter: Path) -> str:
        """Run tests against an installed wheel."""
        environment = self.environment(f"tests {package} {interpreter}", interpreter)
        core, tqdm = self.now["engine-core"].path, ["tqdm"] if package == "handlers" else []
        environment.install(core, *([] if package == "engine-core" else [self.now[package].path]), *TEST_TOOLS, *tqdm)
        where = f"import {boundaries.PORTIONS[package]} as it; print(it.__file__)"
        assert str(environment.site_packages) in call(environment.python, "-I", "-c", where)
        command: list[str | Path] = [environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(command, cwd=ROOT, env=clean, text=True, capture_output=True, check=False)
        lines = done.stdout.strip().splitlines() or [done.stderr]
        failed = [line.split()[1].rpartition("::")[2] for line in lines if line.startswith(("FAILED ", "ERROR "))]
        last = re.sub(r" in [\d.]+s.*", "", lines[-1])
        return last if done.returncode == 0 else f"FAILED: {last}: {', '.join(failed)}"


def compare(wrote: str, found: str) -> str:
    """Return how a run went on from a checkpoint: what was saved has to be there, and the end the same or refused."""
    for text in (wrote, found):
        if text.startswith("FAILED"):
            return text
    before, after = json.loads(wrote), json.loads(found)
    if before["saved"] != after["saved"]:
        return "FAILED: what was loaded is not what was saved"
    if after["end"] == before["end"]:
        return "loaded, went on bit for bit"
    if after["end"].startswith("refused"):
        return f"loaded; going on bit for bit was {after['end']}"
    return "FAILED: it went on to another end, and did not say so"


def lowest_versions(wheel: Wheel) -> Iterator[str]:
    """Yield `name==version` for each dependency that is not ours and has a lower bound; XLA has an environment."""
    for each in wheel.requirements:
        lower = [one.version for one in each.specifier if one.operator == ">="]
        is_xla = each.marker is not None and "xla" in str(each.marker)
        if lower and not each.name.startswith("camshaft-") and not is_xla:
            yield f"{each.name}=={lower[0]}"


def find_python(version: str) -> Path | None:
    """Return an interpreter of a version, from the search path or from pyenv; None if there is none."""
    found = shutil.which(f"python{version}")
    if found is not None and number_of(Path(found)):  # pyenv puts names on the path that do not work
        return Path(found)
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found_there = sorted(kept.glob(f"{version.removesuffix('t')}.*/bin/python{version}"))
    return found_there[-1] if found_there else None


def number_of(interpreter: Path) -> str:
    """Return the full number of an interpreter's version, nothing if it does not run."""
    code = "import platform; print(platform.python_version())"
    done = subprocess.run([interpreter, "-c", code], text=True, capture_output=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def write_table(page: Path, rows: dict[str, list[Row]]) -> None:
    """Write each part into a page, between the comments `<!-- part -->` and `<!-- end -->`."""
    text = page.read_text(encoding="utf-8")
    for part, lines in rows.items():
        table = "\n".join(["| tried | with | result |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in lines)])
        text, count = re.subn(
            rf"(<!-- {part} -->\n).*?(<!-- end -->)", lambda found: f"{found[1]}\n{table}\n\n{found[2]}",  # noqa: B023
            text, flags=re.DOTALL,
        )  # fmt: skip
        assert count == 1, f"{page} has no place for {part}"
    page.write_text(text, encoding="utf-8")


def main() -> str | None:
    """Try what is asked for; fail if something that should work does not."""
    parts: dict[str, Callable[[Trial], Iterator[Row]]] = {
        "pairs": Trial.pairs, "files": Trial.files, "pythons": Trial.pythons, "lowest": Trial.lowest,
        "newest": Trial.newest,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="what to try; by default, everything")
    parser.add_argument("--table", type=Path, help="the page to write what ran into")
    options = parser.parse_args()
    rows: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        trial = Trial(Path(scratch))
        for part in options.parts or parts:
            rows[part] = []
            for row in parts[part](trial):
                rows[part].append(row)
                print(f"{row.tried:<34} {row.with_what[:60]:<60} {row.result}", flush=True)
    if options.table:
        write_table(options.table, rows)
    bad = [row for lines in rows.values() for row in lines if row.is_bad]
    print(f"{sum(map(len, rows.values()))} tried, {len(bad)} failed")
    return f"failed: {', '.join(f'{row.tried} with {row.with_what}' for row in bad)}" if bad else None


if __name__ == "__main__":
    sys.exit(main())
