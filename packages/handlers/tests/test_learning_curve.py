from __future__ import annotations

import struct

import pytest

from camshaft.engine import ArgumentError
from camshaft.handlers import History
from camshaft.handlers._learning_curve import group_names, make_axes


def test_a_panel_holds_the_tags_of_a_quantity():
    rows = [{"epoch": 1, "train/loss": 1.0}, {"epoch": 2, "validation/loss": 1.0, "lr": 0.1}]

    assert group_names(rows, "epoch", None) == {
        "loss": {"train/loss": "train", "validation/loss": "validation"}, "lr": {"lr": ""},
    }  # fmt: skip


def test_names_choose_and_order_the_panels():
    rows = [{"epoch": 1, "a": 1.0, "b": 1.0, "c": 1.0}]

    assert list(group_names(rows, "epoch", ["c", "a"])) == ["c", "a"]


def test_a_picture_of_a_history_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    with History(tmp_path / "h.jsonl") as history:
        history.write({"train/loss": 1.0, "accuracy": float("nan")}, 1)
        history.write({"train/loss": 0.5, "accuracy": 0.5}, 2)
    history.plot(tmp_path / "both.png")
    history.plot(tmp_path / "one.png", ["accuracy"])

    def width(name):
        header = (tmp_path / name).read_bytes()[:24]
        assert header.startswith(b"\x89PNG")
        return struct.unpack(">I", header[16:20])[0]

    assert width("both.png") > width("one.png") > 0


def test_only_finite_values_are_drawn():
    pytest.importorskip("matplotlib")
    from camshaft.handlers._learning_curve import draw_panel

    (axis,) = make_axes(1, "test")
    rows = [{"epoch": 1, "a": 1.0}, {"epoch": 2, "a": float("nan")}, {"epoch": 3}, {"epoch": 4, "a": 3.0}]
    draw_panel(axis, rows, "epoch", {"a": ""}, {"": "C3"})

    (line,) = axis.lines
    assert line.get_color() == "C3"
    assert [tuple(point) for point in line.get_xydata()] == [(1.0, 1.0), (4.0, 3.0)]


def test_a_history_without_values_cannot_be_drawn(tmp_path):
    with pytest.raises(ArgumentError, match="must hold something to draw"):
        History(tmp_path / "h.jsonl").plot(tmp_path / "p.png")
