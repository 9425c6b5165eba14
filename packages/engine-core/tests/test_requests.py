from __future__ import annotations

import copy

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
    twin = copy.deepcopy(requests)

    assert (twin.terminate, twin.holds) == (None, [bool])
