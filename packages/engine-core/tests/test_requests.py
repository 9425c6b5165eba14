from __future__ import annotations

import copy

import pytest

from camshaft.engine import Engine, Events
from camshaft.engine._requests import NewData, Requests, Terminate, TerminateEpoch


def test_callbacks_run_in_order_and_what_they_add_runs_too() -> None:
    requests, calls = Requests(), []
    requests.at_safe_point(lambda: (calls.append(1), requests.at_safe_point(lambda: calls.append(3))))
    requests.at_safe_point(lambda: calls.append(2))
    requests.call_back()

    assert calls == [1, 2, 3]
    assert requests.callbacks == []


def test_what_waits_for_a_safe_point_raises_the_signal() -> None:
    requests = Requests()
    assert not requests.signal
    requests.at_safe_point(print)

    assert requests.signal


def test_dropping_leaves_nothing_that_is_asked_for() -> None:
    requests = Requests()
    requests.terminate, requests.terminate_epoch = Terminate(True), TerminateEpoch(False)
    requests.interrupt, requests.new_data = True, NewData([1])
    requests.at_safe_point(print)
    requests.drop()

    assert (requests.terminate, requests.terminate_epoch, requests.interrupt) == (None, None, False)
    assert (requests.new_data, requests.callbacks) == (None, [])


def test_one_hold_is_enough() -> None:
    requests = Requests()
    assert not requests.is_held()
    requests.holds += [lambda: False, lambda: True]

    assert requests.is_held()


def test_nothing_is_asked_of_a_copy() -> None:
    requests = Requests()
    requests.terminate = Terminate(False)
    requests.holds.append(bool)
    copied = copy.deepcopy(requests)

    assert (copied.terminate, copied.holds) == (None, [bool])


@pytest.mark.parametrize(
    ("flag", "iterations"), [("should_terminate", 2), ("should_terminate_single_epoch", 5), ("should_interrupt", 2)]
)
def test_setting_a_flag_asks_for_what_its_method_asks_for(flag: str, iterations: int) -> None:
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda engine: setattr(engine, flag, True))
    assert iterations == engine.run(range(3), max_epochs=2).iteration


@pytest.mark.parametrize("flag", ["should_terminate", "should_terminate_single_epoch", "should_interrupt"])
def test_a_flag_that_is_set_to_false_takes_the_request_back(flag: str) -> None:
    engine = Engine(lambda engine, batch: None)

    @engine.on(Events.ITERATION_COMPLETED(once=2))
    def change_ones_mind() -> None:
        setattr(engine, flag, True)
        setattr(engine, flag, False)
        assert not getattr(engine, flag)

    assert 6 == engine.run(range(3), max_epochs=2).iteration
