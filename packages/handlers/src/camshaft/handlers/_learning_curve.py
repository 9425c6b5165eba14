"""Plots of a run. matplotlib is imported only when one is drawn."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from camshaft.engine import ArgumentError
from camshaft.handlers._extra import import_extra

Rows = Sequence[Mapping[str, float]]
MARKED = 40  # with at most this many points, each one gets a marker


def draw_learning_curve(
    rows: Rows, step_name: str, path: str | os.PathLike[str], names: Iterable[str] | None = None
) -> None:
    """Draw values over their steps: one panel per quantity, with one line per tag.

    Args:
        rows: names to numbers, each with its step.
        step_name: the name of the step.
        path: the image file to write; its suffix decides the format.
        names: what to draw, in this order; None draws everything.

    Raises:
        ArgumentError: there is nothing to draw.
        ExtraMissingError: matplotlib is not installed; the extra is camshaft-handlers[plot].
    """
    panels = group_names(rows, step_name, names)
    if not panels:
        raise ArgumentError(f"`rows` must hold something to draw, got {len(rows)} rows with nothing but {step_name!r}")
    axes = make_axes(len(panels), "History.plot")
    labels = dict.fromkeys(label for members in panels.values() for label in members.values())
    colors = {label: f"C{place}" for place, label in enumerate(labels)}  # a tag has the same color in all panels
    for axis, (quantity, members) in zip(axes, panels.items(), strict=True):
        draw_panel(axis, rows, step_name, members, colors)
        axis.set(title=quantity, xlabel=step_name)
    axes[0].figure.savefig(path)


def draw_panel(axis: Any, rows: Rows, step_name: str, members: Mapping[str, str], colors: Mapping[str, str]) -> None:
    """Draw a labelled line for each name; values that are not finite are left out."""
    for name, label in members.items():
        points = [(row[step_name], row[name]) for row in rows if name in row and math.isfinite(row[name])]
        steps, values = zip(*points, strict=True) if points else ((), ())
        marker = "o" if len(points) <= MARKED else None
        axis.plot(steps, values, marker=marker, markersize=3.5, color=colors[label], label=label or name)
    if any(members.values()):
        axis.legend()


def group_names(rows: Rows, step_name: str, names: Iterable[str] | None) -> dict[str, dict[str, str]]:
    """Return quantity to name to label; the label of a name "tag/quantity" is its tag.

    Examples:
        >>> group_names([{"epoch": 1, "train/loss": 0.5, "test/loss": 0.6, "lr": 1.0}], "epoch", None)
        {'loss': {'train/loss': 'train', 'test/loss': 'test'}, 'lr': {'lr': ''}}
    """
    present = dict.fromkeys(name for row in rows for name in row if name != step_name)
    panels: dict[str, dict[str, str]] = {}
    for name in present if names is None else names:
        label, _, quantity = name.rpartition("/")
        panels.setdefault(quantity, {})[name] = label
    return panels


def make_axes(count: int, needed_by: str) -> list[Any]:
    """Return plain axes for `count` panels in a row."""
    figure_module = import_extra("matplotlib.figure", "plot", needed_by)
    figure = figure_module.Figure(figsize=(1 + 3.2 * count, 3.2), dpi=150, layout="constrained")
    axes = [figure.add_subplot(1, count, place + 1) for place in range(count)]
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.get_major_locator().set_params(integer=True)
    return axes
