from __future__ import annotations

import re
import subprocess
import sys

import camshaft.engine


def test_all_public_names_are_there_and_sorted() -> None:
    names = camshaft.engine.__all__

    assert sorted(names) == names
    assert all(hasattr(camshaft.engine, name) for name in names)


def test_the_version_has_three_numbers() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", camshaft.engine.__version__)


def test_camshaft_is_a_namespace_shared_with_other_distributions() -> None:
    assert getattr(sys.modules["camshaft"], "__file__", None) is None


def test_importing_brings_in_the_standard_library_only() -> None:
    code = (
        "import sys; before = set(sys.modules); import camshaft.engine, camshaft.engine.testing; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert {name for name in output.split() if name not in sys.stdlib_module_names} <= {"camshaft"}
