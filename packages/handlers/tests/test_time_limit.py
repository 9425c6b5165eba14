from __future__ import annotations

import logging
import math

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, Events
from camshaft.handlers import TimeLimit


class Clock:
    """A clock that goes one second per reading."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


@pytest.mark.parametrize(("limit", "iterations"), [(0.5, 1), (3, 4), (3.5, 4), (math.inf, 10)])
def test_the_engine_is_terminated_at_the_event_after_the_limit(limit, iterations):
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED, TimeLimit(limit, clock=Clock()))

    assert engine.run(range(10)).iteration == iterations


def test_the_time_counts_from_the_construction():
    clock = Clock()
    limit = TimeLimit(5, clock=clock)
    clock.now += 100
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.EPOCH_STARTED, limit)

    assert engine.run(range(10)).iteration == 0


def test_it_sits_on_any_event():
    for event in Events:
        engine = Engine(lambda engine, batch: None)
        limit = TimeLimit(5, clock=Clock())
        engine.add_event_handler(event, limit)

        assert engine.has_event_handler(limit, event)


def test_the_default_is_eight_hours():
    assert TimeLimit().limit_sec == 8 * 60 * 60


@pytest.mark.parametrize("limit", ["1", None, True, [1]])
def test_what_is_no_number_is_refused(limit):
    with pytest.raises(ArgumentTypeError, match="`limit_sec` must be a number of seconds, got "):
        TimeLimit(limit)


@pytest.mark.parametrize("limit", [0, -1.5, math.nan])
def test_a_limit_that_is_not_above_zero_is_refused(limit):
    with pytest.raises(ArgumentError, match="`limit_sec` must be above 0, got "):
        TimeLimit(limit)


def test_a_logger_of_its_own_is_written_to(caplog):
    engine, limit = Engine(lambda engine, batch: batch), TimeLimit(5, clock=iter([0, 9]).__next__)
    limit.logger = logging.getLogger("mine")
    engine.add_event_handler(Events.ITERATION_COMPLETED, limit)
    with caplog.at_level(logging.INFO):
        engine.run([1, 2])
    assert [("mine", "TimeLimit: 9 s have passed, the limit is 5 s")] == [
        (record.name, record.message) for record in caplog.records if "TimeLimit" in record.message
    ]
