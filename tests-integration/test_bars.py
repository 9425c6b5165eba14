"""A benchmark that misses a bar says so and fails."""

from __future__ import annotations

import math

import pytest
from bars import Figure, report


@pytest.mark.parametrize(
    "figure",
    [
        Figure("small", 1.6, at_most=1.6),
        Figure("large", 50, at_least=50),
        Figure("between", 2, at_least=1, at_most=3),
        Figure("to compare with", 1e9),
        Figure("a rival that is not installed", None),
    ],
    ids=lambda figure: figure.name,
)
def test_reached_bar_is_no_failure(figure: Figure, capsys: pytest.CaptureFixture[str]) -> None:
    assert report([figure]) is None
    assert "MISSED" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "figure",
    [
        Figure("too large", 1.61, at_most=1.6),
        Figure("too small", 49.9, at_least=50),
        Figure("above both", 4, at_least=1, at_most=3),
        Figure("not a number", math.nan, at_most=1),
        Figure("not measured", None, at_most=1),
    ],
    ids=lambda figure: figure.name,
)
def test_missed_bar_is_named_and_fails(figure: Figure, capsys: pytest.CaptureFixture[str]) -> None:
    assert report([Figure("fine", 0, at_most=1), figure]) == f"missed: {figure.name}"
    assert "MISSED" in capsys.readouterr().out


def test_every_missed_bar_is_named() -> None:
    assert report([Figure("a", 2, at_most=1), Figure("b", 2, at_least=3)]) == "missed: a; b"


def test_line_shows_the_value_its_unit_and_the_bar() -> None:
    assert str(Figure("import", 12.345, "ms", at_most=30)).split() == ["import", "12.35", "ms", "<=", "30", "ok"]
