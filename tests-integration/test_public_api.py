"""What users can call is recorded: a change is seen in a review, and nothing vanishes by mistake."""

from __future__ import annotations

from pathlib import Path

import griffe
import pytest

import boundaries
from public_api import difference, lines_of_module


@pytest.mark.parametrize("package", boundaries.PORTIONS)
def test_public_names_and_signatures_are_as_recorded(package: str) -> None:
    assert difference(package) == [], "run `hatch run api` and look at what changes"


def lines_of(tmp_path: Path, **texts: str) -> list[str]:
    """Return the lines of a package that is made of these modules."""
    folder = tmp_path / "made_up"
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return list(lines_of_module(griffe.load("made_up", search_paths=[tmp_path], allow_inspection=False)))


def test_a_function_is_recorded_with_its_signature(tmp_path: Path) -> None:
    source = "def f(a: int, *, b: str = 'x') -> None: ...\ndef _hidden(): ..."

    assert lines_of(tmp_path, __init__=source) == ["made_up.f(a: int, *, b: str = 'x') -> None"]


def test_a_class_is_recorded_with_its_bases_and_members_and_those_of_hidden_bases(tmp_path: Path) -> None:
    source = """
class _Base:
    def inherited(self) -> int: ...
class C(_Base, Exception):
    value: int
    def __call__(self, x): ...
    def _hidden(self): ...
"""

    assert sorted(lines_of(tmp_path, __init__=source)) == [
        "class made_up.C(_Base, Exception)",
        "made_up.C.__call__(x)",
        "made_up.C.inherited() -> int",
        "made_up.C.value: int",
    ]


def test_a_name_from_a_hidden_module_is_recorded_where_it_is_exported(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, __init__="from made_up._m import f\n__all__ = ['f']", _m="def f(): ...\ndef g(): ...")

    assert lines == ["made_up.f()"]


def test_a_name_from_a_public_module_is_recorded_once(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, __init__="from made_up.m import f\n__all__ = ['f']", m="def f(): ...")

    assert sorted(lines) == ["made_up.f = made_up.m.f", "made_up.m.f()"]
