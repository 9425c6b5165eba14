"""A line chart as SVG, without a script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement

WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 28, 10, 28
MOST_POINTS = 400  # of a line; a longer one is thinned out
SMALLEST_SPAN = 1e-290
MARKED = 40  # with at most this many points, each one gets a marker
COLORS = 6  # classes c0 to c5 of the page's style
Point = tuple[float, float]


class Line(NamedTuple):
    """A line: its name, the class of its color, and its points (step, value)."""

    label: str
    color: str
    points: Sequence[Point]


def line_chart(lines: Sequence[Line], title: str, step_name: str) -> Element:
    """Return a chart.

    Args:
        lines: what to draw; all points are finite, and there is one at least.
        title: what is drawn, for those who cannot see it.
        step_name: what the steps count.
    """
    steps = [step for line in lines for step, _ in line.points]
    values = [value for line in lines for _, value in line.points]
    x_range = min(steps), max(steps)
    y_ticks = ticks(min(values), max(values))

    def place(point: Point) -> Point:
        return (
            LEFT + _share(point[0], *x_range) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - _share(point[1], y_ticks[0], y_ticks[-1]) * (HEIGHT - TOP - BOTTOM),
        )

    svg = Element("svg", {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img"})
    SubElement(svg, "title").text = title
    for y in y_ticks:
        across = place((x_range[0], y))[1]
        SubElement(
            svg, "line", {"class": "grid", "x1": f"{LEFT}", "x2": f"{WIDTH - RIGHT}", "y1": f"{across:.1f}",
                          "y2": f"{across:.1f}"},
        )  # fmt: skip
        _text(svg, "end", LEFT - 6, across + 4, number_text(y))
    for x in ticks(*x_range, whole=True):
        _text(svg, "middle", place((x, y_ticks[0]))[0], HEIGHT - 8, number_text(x))
    for line in lines:
        _draw(svg, [(place(point), point) for point in thinned(line.points)], line.color, step_name)
    return svg


def _draw(svg: Element, points: Sequence[tuple[Point, Point]], color: str, step_name: str) -> None:
    """Draw a line, with a marker at each point if there are few. A marker tells its value to the mouse."""
    path = " ".join(f"{x:.1f},{y:.1f}" for (x, y), _ in points)
    SubElement(svg, "polyline", {"class": color, "points": path})
    for (x, y), (step, value) in points if len(points) <= MARKED else ():
        circle = SubElement(svg, "circle", {"class": color, "cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "3"})
        SubElement(circle, "title").text = f"{step_name} {step:g}: {value:.6g}"


def _text(svg: Element, anchor: str, x: float, y: float, text: str) -> None:
    SubElement(svg, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}).text = text


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def ticks(low: float, high: float, *, whole: bool = False, count: int = 5) -> list[float]:
    """Return round numbers that span a range, about `count` of them.

    Examples:
        >>> ticks(0.12, 0.93), ticks(1, 10, whole=True)
        ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [2, 4, 6, 8, 10])
    """
    span = high - low
    if span <= 1e-9 * abs(high) or span < SMALLEST_SPAN:  # one value, as far as can be seen
        span = abs(high) if abs(high) > SMALLEST_SPAN else 1.0
    step = 10.0 ** math.floor(math.log10(span / count))
    step *= next(factor for factor in (1, 2, 5, 10) if span / count <= factor * step * (1 + 1e-9))
    if whole:
        step = max(1, round(step))
        first, last = math.ceil(low / step), math.floor(high / step)
        return [each * step for each in range(first, last + 1)] or [low]
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{each * step:.12g}") for each in range(first, max(last, first + 1) + 1)]


def thinned(line: Sequence[Point]) -> list[Point]:
    """Return a line with few enough points to draw: of each piece the lowest and the highest, so that peaks stay.

    Examples:
        >>> line = [(step, 1.0 if step == 777 else 0.0) for step in range(10_000)]
        >>> len(thinned(line)) <= MOST_POINTS, (777, 1.0) in thinned(line)
        (True, True)
    """
    if len(line) <= MOST_POINTS:
        return list(line)
    size = math.ceil(len(line) / (MOST_POINTS // 2))
    pieces = (line[start : start + size] for start in range(0, len(line), size))
    return [
        point
        for piece in pieces
        for point in sorted({min(piece, key=lambda point: point[1]), max(piece, key=lambda point: point[1])})
    ]


def number_text(value: float) -> str:
    """Return a number for an axis.

    Examples:
        >>> number_text(20000), number_text(0.25), number_text(3e-7)
        ('20,000', '0.25', '3e-07')
    """
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e7 else f"{value:.4g}"
