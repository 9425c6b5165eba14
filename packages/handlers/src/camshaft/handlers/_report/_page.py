"""The page of a run. It is built as a tree of elements, so that every text in it is escaped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from camshaft.engine import ArgumentError
from camshaft.handlers._checkpoint_row import Row, size_text
from camshaft.handlers._learning_curve import group_names
from camshaft.handlers._local_path import local_path
from camshaft.handlers._profile import duration_text
from camshaft.handlers._report._chart import COLORS, Line, Point, line_chart, number_text
from camshaft.handlers._report._run_folder import Curves, RunFolder, Start, read_run_folder
from camshaft.handlers._report._style import STYLE
from camshaft.handlers.checkpoint.storage._durable import replacing

KILLED = "killed: it wrote no end"
LARGEST = 1e300  # of the values that are drawn; NaN is not below it
UNKNOWN = "still running, or killed: it wrote no end"


def write_report(
    folder: str | os.PathLike[str], path: str | os.PathLike[str] | None = None, *, verify: bool = True
) -> Path:
    """Write one HTML page about a run: curves, options, starts and stops, checkpoints, profile.

    The page needs no server, no network and no script. It is made of what lies in the folder and the folders in it:
    the files of `History` and `CSVLogger` (`*.jsonl`, `*.csv`), of `RunLog`, of `Profiler.write_json`
    (`profile.json`), the checkpoints, and `options.json`, which you write yourself: one JSON object.

    Args:
        folder: the folder of the run.
        path: the file to write, all of it at once; None means `report.html` in the folder.
        verify: whether to read every checkpoint completely. Otherwise only its end is looked at.

    Returns:
        The file that was written.

    Raises:
        ArgumentError: there is nothing about a run in the folder, one of the two is a URL, or `path` is there and no
            file.
        OSError: the folder cannot be read, or the file not be written.

    Examples:
        >>> from camshaft.engine import Engine
        >>> from camshaft.handlers import History
        >>> folder = getfixture("tmp_path")
        >>> engine, history = Engine(lambda engine, batch: 1 / batch), History(folder / "history.jsonl")
        >>> history.attach(engine, output_transform=lambda output: {"loss": output})
        >>> state = engine.run([1, 2, 4], max_epochs=3)
        >>> write_report(folder).name
        'report.html'
    """
    folder = local_path("folder", folder, "copy the run to this machine first")
    # In the folder of a run, which is not trusted, a link leads nowhere. It is replaced.
    target = folder / "report.html" if path is None else local_path("path", path).resolve()
    if target.exists() and not target.is_file():
        raise ArgumentError(f"`path` must be a file or a new name, got {str(target)!r}, which is neither; give another")
    run = read_run_folder(folder, verify=verify)
    if run.is_empty:
        unreadable = f" that can be read ({'; '.join(run.problems[:3])})" if run.problems else ""
        raise ArgumentError(
            f"`folder` must hold something about a run, got {str(folder)!r} without any{unreadable}; give the folder "
            "into which History, CSVLogger, RunLog or Checkpoint write"
        )
    content = tostring(make_page(run), encoding="unicode", method="html")
    try:
        with replacing(target, durable=False) as descriptor, open(descriptor, "wb", closefd=False) as file:
            file.write(f"<!doctype html>\n{content}\n".encode(errors="backslashreplace"))
    except OSError as error:  # it names what stands for the page until it is whole
        raise OSError(error.errno, error.strerror, str(target)) from error
    return target


def make_page(run: RunFolder) -> Element:
    """Return the page as a tree."""
    page = Element("html", {"lang": "en"})
    head, body = SubElement(page, "head"), SubElement(page, "body")
    SubElement(head, "meta", {"charset": "utf-8"})
    SubElement(head, "meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"})
    policy = "default-src 'none'; style-src 'unsafe-inline'"  # nothing is loaded or run, whatever the files hold
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": policy})
    name = run.path.absolute().name
    SubElement(head, "title").text = f"Run {name}"
    SubElement(head, "style").text = STYLE
    SubElement(body, "h1").text = f"Run {name}"
    SubElement(body, "p", {"class": "summary"}).text = summary(run)
    add_curves(body, run.curves)
    if run.starts:
        SubElement(body, "h2").text = "Starts and stops"
        titles = ("", "time (UTC)", "from iteration", "ended", "at iteration", "how", "process")
        add_table(body, titles, (start_row(start, is_last=start is run.starts[-1]) for start in run.starts))
    add_checkpoints(body, run)
    if run.options:
        SubElement(body, "h2").text = "Options"
        add_table(body, ("option", "value"), ((name, text_of(value)) for name, value in run.options.items()))
    if run.profile:
        add_profile(body, run.profile)
    if run.problems:
        SubElement(body, "h2").text = "Not readable"
        add_table(body, ("file and reason",), ((problem,) for problem in run.problems))
    return page


def summary(run: RunFolder) -> str:
    """Return in one line how the run stands."""
    damaged = sum(row["problem"] is not None for rows in run.checkpoints.values() for row in rows)
    files = sum(map(len, run.checkpoints.values()))
    parts = []
    if run.starts:
        last = run.starts[-1].end
        parts.append(f"{last['what']} at iteration {last['iteration']}" if last else UNKNOWN)
        parts.append(counted(len(run.starts), "start"))
    if files:
        parts.append(counted(files, "checkpoint") + (f", {damaged} DAMAGED" if damaged else ", none damaged"))
    return " · ".join(parts)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun.

    Examples:
        >>> counted(1, "start"), counted(2, "start")
        ('1 start', '2 starts')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def add_curves(body: Element, curves: Sequence[Curves]) -> None:
    """Add a chart for each quantity of each file."""
    for each in curves:
        SubElement(body, "h2").text = each.file
        charts = SubElement(body, "div", {"class": "charts"})
        panels = group_names(each.rows, each.step_name, None)
        labels = dict.fromkeys(label for names in panels.values() for label in names.values())
        colors = {label: f"c{place % COLORS}" for place, label in enumerate(labels)}  # one for a label in all panels
        for quantity, names in panels.items():
            lines = [Line(label or quantity, colors[label], points_of(each, name)) for name, label in names.items()]
            add_chart(charts, quantity, [line for line in lines if line.points], each.step_name)


def points_of(curves: Curves, name: str) -> list[Point]:
    """Return the points of a line; values that are not finite, or nearly not, cannot be drawn."""
    rows = [row for row in curves.rows if curves.step_name in row and name in row]
    points = [(row[curves.step_name], row[name]) for row in rows]
    return [point for point in points if all(abs(each) < LARGEST for each in point)]


def add_chart(charts: Element, quantity: str, lines: Sequence[Line], step_name: str) -> None:
    """Add a chart with its title, and below it what the lines are and how they end."""
    figure = SubElement(charts, "figure")
    SubElement(figure, "figcaption").text = quantity
    if not lines:
        SubElement(figure, "p").text = "no finite values"
        return
    figure.append(line_chart(lines, f"{quantity} by {step_name}", step_name))
    legend = SubElement(figure, "p", {"class": "legend"})
    for line in lines:
        step, value = line.points[-1]
        entry = SubElement(legend, "span", {"class": line.color})
        SubElement(entry, "b").text = line.label
        entry[-1].tail = f" {value:.6g} at {step_name} {number_text(step)}"


def start_row(start: Start, *, is_last: bool) -> tuple[str, ...]:
    """Return the cells of a start."""
    begin, end = start.begin or {}, start.end or {}
    how = ": ".join(text_of(end[key]) for key in ("what", "error") if key in end) or (UNKNOWN if is_last else KILLED)
    return (
        text_of(begin.get("what", "went on")),
        time_of(begin),
        text_of(begin.get("iteration", "")),
        time_of(end),
        text_of(end.get("iteration", "")),
        how,
        " ".join(text_of(begin[key]) for key in ("process", "host") if key in begin),
    )


def time_of(line: dict[str, Any]) -> str:
    """Return the time of a line, as people write it."""
    return text_of(line.get("time", "")).replace("T", " ").removesuffix("+00:00")


def add_checkpoints(body: Element, run: RunFolder) -> None:
    """Add a table for each folder with checkpoints."""
    for folder, rows in run.checkpoints.items():
        SubElement(body, "h2").text = "Checkpoints" if len(run.checkpoints) == 1 else f"Checkpoints: {folder}"
        table = add_table(body, ("file", "step", "score", "size", "state"), map(checkpoint_row, rows))
        for line, row in zip(table.iter("tr"), [None, *rows], strict=True):
            if row and row["problem"] is not None:
                line.set("class", "bad")


def checkpoint_row(row: Row) -> tuple[str, ...]:
    """Return the cells of a checkpoint."""
    score = "" if row["score"] is None else f"{row['score_name'] or 'score'} {row['score']:.6g}"
    state = [*row["marks"], *(["inexact"] if row["exact"] is False else [])]
    state.append("sound" if row["problem"] is None else f"DAMAGED: {row['problem']}")
    step = "" if row["step"] is None else f"{row['step']:g}"
    return row["file"], step, score, size_text(row["size_bytes"]), ", ".join(state)


def add_profile(body: Element, profile: dict[str, Any]) -> None:
    """Add the phases and the handlers, those that took longest first."""
    SubElement(body, "h2").text = "Profile"
    rows = [("", *measures(row)) for row in profile["phases"]]
    rows += [(text_of(row.get("event", "")), *measures(row)) for row in profile["handlers"]]
    add_table(body, ("event", "name", "count", "total", "mean", "share"), rows)
    SubElement(body, "p").text = f"{duration_text(float(profile['wall_s']))} in all"


def measures(row: Row) -> tuple[str, ...]:
    """Return the cells of a row of a profile."""
    total, mean = duration_text(float(row["total_s"])), duration_text(float(row["mean_s"]))
    return text_of(row["name"]), f"{int(row['count']):,}", total, mean, f"{float(row['share']):.1%}"


def add_table(body: Element, titles: Iterable[str], rows: Iterable[Iterable[str]]) -> Element:
    """Add a table that can be scrolled sideways; return it."""
    table = SubElement(SubElement(body, "div", {"class": "wide"}), "table")
    line = SubElement(table, "tr")
    for title in titles:
        SubElement(line, "th").text = title
    for row in rows:
        line = SubElement(table, "tr")
        for cell in row:
            SubElement(line, "td").text = cell
    return table


def text_of(value: Any) -> str:
    """Return a value of a file for people; a very long one is cut off."""
    text = str(value)
    return text if len(text) <= 500 else f"{text[:500]} ..."
