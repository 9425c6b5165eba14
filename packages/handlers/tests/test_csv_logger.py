from __future__ import annotations

import csv

import pytest

from camshaft.engine import ArgumentError, Engine, Events, StateDictError
from camshaft.handlers import CSVLogger


def read(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_rows_are_read_back_by_the_standard_reader(tmp_path):
    logger = CSVLogger(tmp_path / "a.csv", step_name="epoch")
    logger.write({"loss, mean": 0.1, 'the "best"': 1e-300}, 1)
    logger.write({'the "best"': float("nan"), "loss, mean": float("inf")}, 2)

    assert read(tmp_path / "a.csv") == [
        ["epoch", "loss, mean", 'the "best"'], ["1", "0.1", "1e-300"], ["2", "inf", "nan"],
    ]  # fmt: skip


def test_a_value_that_is_missing_leaves_its_place_empty(tmp_path):
    logger = CSVLogger(tmp_path / "a.csv", columns=["a", "b"])
    logger.write({"b": 1.0}, 1)

    assert read(tmp_path / "a.csv") == [["step", "a", "b"], ["1", "", "1.0"]]


def test_a_value_without_a_column_is_refused_and_nothing_written(tmp_path):
    logger = CSVLogger(tmp_path / "a.csv")
    logger.write({"a": 1.0}, 1)

    with pytest.raises(ArgumentError, match=r"`columns` must name every value of .*a.csv, got \('a',\) without 'b'"):
        logger.write({"a": 2.0, "b": 2.0}, 2)

    assert read(tmp_path / "a.csv") == [["step", "a"], ["1", "1.0"]]


def test_a_new_logger_starts_the_file_again(tmp_path):
    for value in (1.0, 2.0):
        logger = CSVLogger(tmp_path / "a.csv")
        logger.write({f"v{value}": value}, 1)

    assert read(tmp_path / "a.csv") == [["step", "v2.0"], ["1", "2.0"]]


def test_a_restored_logger_drops_what_came_later_and_keeps_the_columns(tmp_path):
    first = CSVLogger(tmp_path / "a.csv")
    first.write({"a": 1.0, "b": 10.0}, 1)
    state = first.state_dict()
    first.write({"a": 2.0, "b": 20.0}, 2)

    second = CSVLogger(tmp_path / "a.csv")
    second.load_state_dict(state)
    second.write({"b": 30.0, "a": 3.0}, 2)

    assert read(tmp_path / "a.csv") == [["step", "a", "b"], ["1", "1.0", "10.0"], ["2", "3.0", "30.0"]]


def test_a_logger_saved_before_its_first_row_writes_the_header_once(tmp_path):
    first = CSVLogger(tmp_path / "a.csv")
    state = first.state_dict()
    first.write({"a": 1.0}, 1)

    second = CSVLogger(tmp_path / "a.csv")
    second.load_state_dict(state)
    second.write({"a": 2.0}, 1)
    second.write({"a": 3.0}, 2)

    assert read(tmp_path / "a.csv") == [["step", "a"], ["1", "2.0"], ["2", "3.0"]]


def test_a_run_writes_its_outputs(tmp_path):
    engine = Engine(lambda engine, batch: batch)
    logger = CSVLogger(tmp_path / "a.csv")
    logger.attach(engine, Events.ITERATION_COMPLETED(every=2), output_transform=lambda output: {"loss": output})
    engine.run([4, 3, 2, 1])

    assert read(tmp_path / "a.csv") == [["step", "loss"], ["2", "3.0"], ["4", "1.0"]]


def test_a_wrong_state_is_refused(tmp_path):
    with pytest.raises(StateDictError, match="must have 'size'"):
        CSVLogger(tmp_path / "a.csv").load_state_dict({"rows": 1})
