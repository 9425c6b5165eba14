"""Build every distribution, check it, and run its README in a clean environment that holds nothing else.

Leaves the archives in `dist/`, ready to be uploaded.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

import boundaries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
ENGINE_CORE_LIMIT_BYTES = 84_000
# Warnings are errors; torch imported where there is no numpy gives one that is not ours.
WARNINGS = ("-W", "error", "-W", "ignore:Failed to initialize NumPy:UserWarning")

# Prints what is installed and what it requires, and what the examples of the README import beside the standard library.
SMOKE = """
import importlib.metadata, json, runpy, sys
before = set(sys.modules)
runpy.run_path({code!r})
imported = {{name.split(".")[0] for name in set(sys.modules) - before}} - sys.stdlib_module_names
imported -= {{"__mp_main__"}}  # another name of the program itself, which multiprocessing gives it
found = importlib.metadata.distributions(path=[{site!r}])
requires = {{item.metadata["Name"]: item.requires or [] for item in found}}
print(json.dumps([requires, sorted(imported)]))
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment without pip: what is in it was put there by the test.

    Args:
        folder: where to make it.
        interpreter: the Python to make it of; None means this one.
    """

    folder: Path
    interpreter: Path | None = None

    def __post_init__(self) -> None:
        if self.interpreter is None:
            venv.create(self.folder, with_pip=False, symlinks=os.name != "nt")
        else:
            call(self.interpreter, "-m", "venv", "--without-pip", self.folder)

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def site_packages(self) -> Path:
        """The folder packages are installed into."""
        return Path(call(self.python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())

    def install(self, *args: str | Path) -> None:
        """Install wheels or requirements with a pip from outside."""
        call(sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-compile", *args)


def call(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command and return what it prints; a command that fails ends the whole check with its output."""
    done = subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}\nfailed with exit status {done.returncode}")
    return done.stdout


def build() -> dict[str, Path]:
    """Build the source distribution of every package, and the wheel from it; return the wheels."""
    for old in DIST.glob("camshaft_*"):
        old.unlink()
    wheels = {}
    for package in boundaries.PORTIONS:
        call(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST, ROOT / "packages" / package)
        (wheels[package],) = DIST.glob(f"camshaft_{package.replace('-', '_')}-*.whl")
    call(sys.executable, "-m", "twine", "check", "--strict", *sorted(DIST.glob("camshaft_*")))
    return wheels


def faults(package: str, wheel: Path) -> list[str]:
    """Return what is wrong with the contents or the size of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        found = boundaries.wrong_contents(package, archive.namelist())
    size = wheel.stat().st_size
    if package == "engine-core" and size > ENGINE_CORE_LIMIT_BYTES:
        found.append(f"{wheel.name} has {size} bytes, more than {ENGINE_CORE_LIMIT_BYTES}")
    return found


def smoke(environment: Environment, package: str) -> tuple[dict[str, list[str]], list[str]]:
    """Run the examples of a package's README; return what is installed, with its requirements, and was imported."""
    readme = (ROOT / "packages" / package / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    if not blocks:
        sys.exit(f"the README of {package} has no example to run")
    code = environment.folder / "readme.py"
    code.write_text("\n".join(blocks), encoding="utf-8")
    script = SMOKE.format(code=str(code), site=str(environment.site_packages))
    printed = call(environment.python, "-I", *WARNINGS, "-c", script, cwd=environment.folder)
    installed, imported = json.loads(printed.splitlines()[-1])
    return installed, imported


def brought_along(needs: Iterable[str], installed: Mapping[str, Sequence[str]]) -> set[str]:
    """Return what the dependencies that are not ours require, and what that requires in turn."""
    found: set[str] = set()
    pending = {name for name in needs if not name.startswith("camshaft-")}
    while pending:
        requirements = [Requirement(text) for text in installed.get(pending.pop(), ())]
        names = {str(each.name) for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})}
        pending |= names - found
        found |= names
    return found


def pinned_torch() -> str:
    """Return the requirement that the development environments install."""
    environments = tomllib.loads((ROOT / "hatch.toml").read_text(encoding="utf-8"))["envs"]
    (pin,) = (item for item in environments["default"]["dependencies"] if item.startswith("torch=="))
    return str(pin)


def check_installed(package: str, wheels: dict[str, Path], scratch: Path, torch: Path) -> str:
    """Install a wheel with what it requires into an environment of its own and run its README there."""
    environment = Environment(scratch / package)
    needs = boundaries.DEPENDENCIES[package]
    siblings = [name for name in boundaries.PORTIONS if name == package or f"camshaft-{name}" in needs]
    if "torch" in needs:
        # One copy of torch for all: it is big, and seen this way it counts as installed.
        (environment.site_packages / "torch.pth").write_text(f"{torch}\n", encoding="utf-8")
    offline = [] if needs - {"torch"} - {f"camshaft-{name}" for name in siblings} else ["--no-index"]
    environment.install(*offline, *(wheels[name] for name in siblings))
    call(sys.executable, "-m", "pip", "--python", environment.python, "check")
    installed, imported = smoke(environment, package)
    required = {f"camshaft-{name}" for name in siblings} | needs - {"torch"}
    if not required <= set(installed) <= required | brought_along(needs, installed):
        sys.exit(f"{package} installed {sorted(installed)}, not {sorted(required)} and what others of them require")
    if "torch" not in needs and imported != ["camshaft"]:
        sys.exit(f"{package} imported {imported}, not the standard library and camshaft only")
    return ", ".join(installed)


def main() -> None:
    """Build, check, install, run."""
    wheels = build()
    found = [fault for package, wheel in wheels.items() for fault in faults(package, wheel)]
    if found:
        sys.exit("\n".join(found))
    with tempfile.TemporaryDirectory() as folder:
        torch = Environment(Path(folder) / "torch")
        torch.install(pinned_torch())
        for package, wheel in wheels.items():
            installed = check_installed(package, wheels, Path(folder), torch.site_packages)
            print(f"{wheel.name}: {wheel.stat().st_size} bytes, runs with {installed}", flush=True)


if __name__ == "__main__":
    main()
