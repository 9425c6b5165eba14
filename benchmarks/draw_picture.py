"""Draw the pictures of the README and of the page about benchmarks from recorded figures.

FIGURES=docs/pictures/figures.json hatch run bench:all
python benchmarks/draw_picture.py docs/pictures/figures.json docs/pictures
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

LIBRARIES = {"camshaft": "Camshaft", "reference": "Ignite", "accelerate": "Accelerate", "lightning": "Lightning"}
OURS, THEIRS, INK = "#1f6f5c", "#b9c2c9", "#20262b"


def bars(axes: Any, title: str, values: dict[str, float], text: str) -> None:
    """Draw one bar for each library, with its value beside it."""
    names = list(values)
    colors = [OURS if name.startswith("Camshaft") else THEIRS for name in names]
    axes.barh(names, list(values.values()), color=colors, height=0.62)
    for place, value in enumerate(values.values()):
        axes.text(value, place, "  " + text.format(value), va="center", color=INK, fontsize=9)
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(values.values()))
    axes.xaxis.set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    for side in axes.spines.values():
        side.set_visible(False)


def draw_promises(figures: dict[str, float], target: Path) -> None:
    """Draw what the README promises: exact resumes, and the time that a training step takes."""
    resumes = {
        label: figures[f"{name}, 2 workers: exact resumes from 11 positions"] for name, label in LIBRARIES.items()
    }
    named = {"camshaft": "this", "reference": "reference", "accelerate": "Accelerate", "lightning": "Lightning"}
    steps = {LIBRARIES[name]: figures[f"MLP, CPU: {theirs} / by hand"] - 1 for name, theirs in named.items()}
    picture, (left, right) = plt.subplots(1, 2, figsize=(8.4, 2.2), layout="constrained")
    bars(left, "killed at 11 places, resumed bit for bit at", resumes, "{:.0f}")
    bars(right, "time added to a hand-written training step", steps, "{:.0%}")
    picture.savefig(target, metadata={"Date": None}, transparent=True)


def draw_loop(figures: dict[str, float], target: Path) -> None:
    """Draw what an empty iteration costs, against a bare loop; with a logarithmic scale, as the range is wide."""
    none, ten = figures["no handlers / bare loop"], figures["ten every=100, once, before/after, ... / bare loop"]
    ratios = {
        "Camshaft, no handlers": none,
        "Camshaft, 100 handlers that are not due": figures["100 handlers not due / bare loop"],
        "Camshaft, ten filtered handlers": ten,
        "Ignite, no handlers": none * figures["reference / this, no handlers"],
        "Ignite, ten filtered handlers": ten * figures["reference / this, ten handlers"],
    }
    picture, axes = plt.subplots(figsize=(8.4, 2.2), layout="constrained")
    bars(axes, "an empty iteration, in bare loops (logarithmic)", ratios, "{:.3g} x")
    axes.set_xscale("log")
    axes.set_xlim(1, 3 * max(ratios.values()))
    picture.savefig(target, metadata={"Date": None}, transparent=True)


def main(source: Path, folder: Path) -> None:
    """Read the figures, and write the pictures."""
    figures = json.loads(source.read_text(encoding="utf-8"))
    mpl.rcParams["svg.hashsalt"] = "camshaft"  # the same file for the same figures
    draw_promises(figures, folder / "figures.svg")
    draw_loop(figures, folder / "loop.svg")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
