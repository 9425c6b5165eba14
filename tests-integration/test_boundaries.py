"""The borders between the packages, read from the sources, the packaging files and the wheels."""

from __future__ import annotations

import tomllib
import zipfile
from email.parser import HeaderParser
from functools import cache
from importlib import import_module
from pathlib import Path
from subprocess import run
from sys import executable

import pytest

import boundaries

ROOT = Path(__file__).parents[1]
PACKAGES = tuple(boundaries.PORTIONS)
LEAVES = tuple(package for package in PACKAGES if package != "engine-core")
OUTSIDE = ("tests-integration", "examples", "benchmarks", "tools")


def sources(package: str) -> Path:
    return ROOT / "packages" / package / "src"


def modules(package: str) -> dict[str, tuple[str, bool]]:
    """Map the dotted name of each module of a package to its text and whether it is an `__init__`."""
    files = sorted(sources(package).rglob("*.py"))
    assert files, f"{package} has no sources"
    return {
        ".".join(file.relative_to(sources(package)).with_suffix("").parts).removesuffix(".__init__"): (
            file.read_text(encoding="utf-8"),
            file.stem == "__init__",
        )
        for file in files
    }


def unit_tests(package: str) -> dict[str, tuple[str, bool]]:
    """Return the unit tests of a package as if they were modules of its portion: they live by the same rules."""
    folder = ROOT / "packages" / package / "tests"
    return {
        f"{boundaries.PORTIONS[package]}.tests.{file.stem}": (file.read_text(encoding="utf-8"), False)
        for file in sorted(folder.rglob("*.py"))
    }


@cache
def private_names(package: str) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for text, _ in modules(package).values():
        for name, privates in boundaries.private_names(text).items():
            found[name] = found.get(name, frozenset()) | privates
    return found


def foreign_privates(text: str, package: str = "") -> frozenset[str]:
    """Return the private names that other packages define, and neither this text nor its package does."""
    names = {other: frozenset[str]().union(*private_names(other).values()) for other in PACKAGES}
    own = names.pop(package, frozenset()).union(*boundaries.private_names(text).values())
    return frozenset[str]().union(*names.values()) - own


def metadata(package: str) -> tuple[str, list[str]]:
    """Return where a package's version is read from, and its requirements as a wheel states them."""
    facts = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text(encoding="utf-8"))
    assert facts["project"]["dynamic"] == ["version"]
    extras = facts["project"].get("optional-dependencies", {})
    optional = [f"{item}; extra == '{extra}'" for extra, items in extras.items() for item in items]
    return facts["tool"]["hatch"]["version"]["path"], facts["project"]["dependencies"] + optional


@pytest.fixture(scope="module", params=PACKAGES)
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, zipfile.ZipFile]:
    """Build the wheel of each package."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    run(command, cwd=ROOT / "packages" / request.param, check=True, capture_output=True)
    (file,) = folder.iterdir()
    return request.param, zipfile.ZipFile(file)


def test_the_namespace_has_no_init_file() -> None:
    assert list((ROOT / "packages").glob("*/src/camshaft/__init__.py")) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_holds_one_typed_portion(package: str) -> None:
    folder = sources(package)
    for name in boundaries.PORTIONS[package].split("."):
        assert [each.name for each in folder.iterdir() if each.name != "__pycache__"] == [name]
        folder /= name
    assert (folder / "py.typed").read_text(encoding="utf-8") == ""


def test_engine_core_imports_the_standard_library_only() -> None:
    findings = [
        finding
        for name, (text, is_package) in modules("engine-core").items()
        for finding in boundaries.foreign_imports(text, name, is_package=is_package)
    ]
    assert findings == []


@pytest.mark.parametrize("package", PACKAGES)
def test_leaves_do_not_import_each_other(package: str) -> None:
    findings = [
        finding
        for name, (text, is_package) in (modules(package) | unit_tests(package)).items()
        for finding in boundaries.sideways_imports(text, name, is_package=is_package)
    ]
    assert findings == []


# The layout of ignite-compat is that of another library, whose metrics make metrics.
@pytest.mark.parametrize("package", [package for package in PACKAGES if package != "ignite-compat"])
def test_the_modules_of_a_package_import_each_other_in_one_direction(package: str) -> None:
    texts = {name: text for name, (text, is_package) in modules(package).items() if not is_package}
    findings = boundaries.import_cycles(texts)

    assert findings == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_uses_public_names_of_the_others_only(package: str) -> None:
    findings = [
        finding
        for name, (text, is_package) in (modules(package) | unit_tests(package)).items()
        for finding in boundaries.private_imports(text, name, is_package=is_package)
        + boundaries.private_attributes(text, name, foreign_privates(text, package))
    ]
    assert findings == []


@pytest.mark.parametrize("folder", OUTSIDE)
def test_scripts_and_integration_tests_use_public_names_only(folder: str) -> None:
    findings = [
        finding
        for file in sorted((ROOT / folder).rglob("*.py"))
        for text in [file.read_text(encoding="utf-8")]
        for finding in boundaries.private_imports(text, file.stem)
        + boundaries.private_attributes(text, file.stem, foreign_privates(text))
    ]
    assert findings == []


@pytest.mark.parametrize("package", LEAVES)
def test_a_subclass_leaves_the_private_names_of_the_engine_alone(package: str) -> None:
    engine_privates = private_names("engine-core")
    assert engine_privates["Engine"]
    findings = [
        finding
        for name, (text, _) in modules(package).items()
        for finding in boundaries.overridden_privates(text, name, engine_privates)
    ]
    assert findings == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packaging_file_states_the_documented_dependencies(package: str) -> None:
    version_path, requirements = metadata(package)
    assert version_path == f"src/{boundaries.PORTIONS[package].replace('.', '/')}/__about__.py"
    assert boundaries.wrong_dependencies(package, requirements) == []


def test_the_wheel_holds_its_portion_version_and_documented_dependencies(wheel: tuple[str, zipfile.ZipFile]) -> None:
    package, archive = wheel
    names = archive.namelist()
    (name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    headers = HeaderParser().parsestr(archive.read(name).decode())
    about = import_module(f"{boundaries.PORTIONS[package]}.__about__")
    assert headers["Version"] == about.__version__
    assert boundaries.wrong_contents(package, names) == []
    assert boundaries.wrong_dependencies(package, headers.get_all("Requires-Dist", [])) == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "import os, numpy.linalg",
        "def f():\n    from torch.utils import data",
        "import importlib\nimportlib.import_module('tqdm')",
        "from camshaft.handlers import Timer",
        "from ..handlers import Timer",
    ],
)
def test_a_foreign_import_in_engine_core_is_found(source: str) -> None:
    (finding,) = boundaries.foreign_imports(source, "camshaft.engine._loop")
    assert finding.startswith(f"camshaft.engine._loop:{len(source.splitlines())} imports ")


@pytest.mark.parametrize(
    ("source", "module", "is_package"),
    [
        ("from collections.abc import Iterator\nimport os.path", "camshaft.engine._loop", False),
        ("from ._state import State\nfrom . import _plan", "camshaft.engine._loop", False),
        ("from ._state import State\nfrom camshaft.engine import Events", "camshaft.engine", True),
    ],
)
def test_standard_library_and_own_imports_are_no_finding(source: str, module: str, is_package: bool) -> None:
    assert boundaries.foreign_imports(source, module, is_package=is_package) == []


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from camshaft.supervised import create_supervised_trainer", "camshaft.handlers._timer"),
        ("def f():\n    import camshaft.handlers", "camshaft.deterministic._engine"),
        ("from camshaft import deterministic", "camshaft.supervised._factory"),
        ("def f():\n    import camshaft.deterministic", "camshaft.supervised._train_step"),
        ("from ...deterministic import manual_seed", "camshaft.handlers.checkpoint._restore"),
    ],
)
def test_a_leaf_that_imports_another_is_found(source: str, module: str) -> None:
    assert len(boundaries.sideways_imports(source, module)) == 1


def test_the_documented_optional_import_is_allowed() -> None:
    source = "def trainer():\n    from camshaft.deterministic import DeterministicEngine"
    assert boundaries.sideways_imports(source, "camshaft.supervised._factory") == []


def test_modules_that_import_each_other_are_found_in_annotations_too() -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from camshaft.engine._a import A\n"
    texts = {"camshaft.engine._a": "from camshaft.engine._b import B\n", "camshaft.engine._b": typed}
    texts |= {"camshaft.engine._c": "from camshaft.engine._a import A\n"}
    first, second = boundaries.import_cycles(texts)

    assert first.startswith("camshaft.engine._a imports camshaft.engine._b")
    assert second.startswith("camshaft.engine._b imports camshaft.engine._a")


def test_the_engine_may_be_named_in_annotations_of_what_it_is_made_of() -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from camshaft.engine._engine import Engine\n"
    texts = {"camshaft.engine._engine": "from camshaft.engine._run import Run\n", "camshaft.engine._run": typed}

    assert boundaries.import_cycles(texts) == []
    assert len(boundaries.import_cycles(texts | {"camshaft.engine._run": typed.replace("Engine", "Other")})) == 2


@pytest.mark.parametrize(
    "source",
    [
        "from camshaft.engine import _loop",
        "from camshaft.engine._loop import run",
        "import camshaft.engine._loop",
        "from camshaft.engine import Engine, _Anything",
        "from ..engine import _loop",
    ],
)
def test_a_private_import_from_another_package_is_found(source: str) -> None:
    assert len(boundaries.private_imports(source, "camshaft.handlers._timer")) == 1


def test_a_private_import_from_the_own_package_is_no_finding() -> None:
    assert boundaries.private_imports("from camshaft.engine._loop import run", "camshaft.engine.testing") == []


def test_a_private_attribute_of_another_package_is_found() -> None:
    privates = boundaries.private_names("class Engine:\n    def __init__(self):\n        self._plan = None")
    (finding,) = boundaries.private_attributes("engine._plan = 1", "camshaft.handlers._timer", privates["Engine"])
    assert finding.startswith("camshaft.handlers._timer:1 touches _plan")


@pytest.mark.parametrize("base", ["Engine", "engine.Engine", "Engine[int, str]"])
def test_an_overridden_private_name_of_the_engine_is_found(base: str) -> None:
    privates = boundaries.private_names("class Engine:\n    _x: int\n    def _run(self): ...\n    def run(self): ...")
    source = f"class Mine({base}):\n    def _run(self): ...\n    def run(self): ..."
    (finding,) = boundaries.overridden_privates(source, "camshaft.deterministic._engine", privates)
    assert finding == "camshaft.deterministic._engine:1 Mine overrides Engine._run of engine-core"


@pytest.mark.parametrize(
    ("package", "requirements"),
    [
        ("engine-core", ["torch>=2.9"]),
        ("handlers", []),
        ("handlers", ["camshaft-engine-core>=0.1,<0.2", "torch>=2.9,<3"]),
        ("handlers", ["camshaft-engine-core==0.1.0"]),
        ("handlers", ["camshaft-engine-core>=0.1"]),
        ("handlers", ["camshaft-engine-core>=0.1,<0.3"]),
        ("handlers", ["camshaft-engine-core>=0.1.3,<0.2"]),
        ("supervised", ["camshaft-engine-core<0.2,>=0.1", "torch", "camshaft-handlers<0.3; extra == 'all'"]),
    ],
)
def test_an_undocumented_dependency_or_bound_is_found(package: str, requirements: list[str]) -> None:
    assert len(boundaries.wrong_dependencies(package, requirements)) == 1


@pytest.mark.parametrize("bounds", [">=0.1,<0.2", "<0.10,>=0.9"])
def test_bounds_of_one_minor_version_are_no_finding(bounds: str) -> None:
    requirements = [f"camshaft-engine-core{bounds}", 'camshaft-handlers[torch]; extra == "all"']
    assert boundaries.wrong_dependencies("handlers", requirements) == []


@pytest.mark.parametrize(
    "names",
    [
        ["camshaft/engine/__init__.py"],
        ["camshaft/engine/py.typed"],
        ["camshaft/engine/__init__.py", "camshaft/engine/py.typed", "camshaft/__init__.py"],
        ["camshaft/engine/__init__.py", "camshaft/engine/py.typed", "tests/test_engine.py"],
    ],
)
def test_missing_and_foreign_files_in_a_wheel_are_found(names: list[str]) -> None:
    assert len(boundaries.wrong_contents("engine-core", [*names, "x-0.1.0.dist-info/METADATA"])) == 1
