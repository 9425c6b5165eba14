"""Figures and the bars they are held to. Every benchmark prints with this, and fails where a bar is missed.

A benchmark yields its figures as it measures them and ends with `sys.exit(report(figures))`:

    def figures() -> Iterator[Figure]:
        yield Figure("no handlers / bare loop", 1.21, "x", at_most=1.6)
        yield Figure("reference / this", 73.0, "x", at_least=50)
        yield Figure("a rival, to compare with", None, "x")  # not installed, and held to nothing

"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Args:
        name: What was measured, for example `"this / by hand"`.
        value: The number, or None where it could not be measured, for example because a rival is not installed.
        unit: Its unit: `"x"` for a ratio.
        at_most: The bar of a figure that should be small.
        at_least: The bar of a figure that should be large.
    """

    name: str
    value: float | None
    unit: str = "x"
    at_most: float | None = None
    at_least: float | None = None

    @property
    def has_bar(self) -> bool:
        """Return whether the figure is held to anything."""
        return self.at_most is not None or self.at_least is not None

    @property
    def is_missed(self) -> bool:
        """Return whether a bar is missed. NaN misses every bar, and so does a figure that could not be measured."""
        if self.value is None:
            return self.has_bar
        is_small_enough = self.at_most is None or self.value <= self.at_most
        is_large_enough = self.at_least is None or self.value >= self.at_least
        return not (is_small_enough and is_large_enough)

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:,.2f}"
        bars = [f"{sign} {bar:g}" for sign, bar in (("<=", self.at_most), (">=", self.at_least)) if bar is not None]
        verdict = [" and ".join(bars), "MISSED" if self.is_missed else "ok"] if bars else []
        return f"{self.name:<64} {value:>12} {self.unit:<6} {' '.join(verdict)}".rstrip()


def report(figures: Iterable[Figure]) -> str | None:
    """Print each figure as soon as it is there.

    Args:
        figures: The figures, usually a generator that measures each of them.

    Returns:
        None if every bar is reached, otherwise a message that names the missed ones: what `sys.exit` takes.
    """
    missed, values = [], {}
    for figure in figures:
        print(figure, flush=True)
        append(figure)
        values[figure.name] = figure.value
        if figure.is_missed:
            missed.append(figure.name)
    record(values)
    return f"missed: {'; '.join(missed)}" if missed else None


def append(figure: Figure) -> None:
    """Append a figure with its bars as a line of JSON to the file that FIGURE_LINES names, where that is set."""
    path = os.environ.get("FIGURE_LINES")
    if path is not None:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**asdict(figure), "is_missed": figure.is_missed}) + "\n")


def record(values: dict[str, float | None]) -> None:
    """Add figures to the JSON file that the environment variable FIGURES names, where it is set."""
    path = os.environ.get("FIGURES")
    if path is not None:
        file = Path(path)
        before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        file.write_text(json.dumps({**before, **values}, indent=1) + "\n", encoding="utf-8")
