from __future__ import annotations

import threading

from camshaft.engine._control import Control, running


def test_callbacks_run_in_order_and_what_they_add_runs_too() -> None:
    control, calls = Control(), []
    control.at_safe_point(lambda: (calls.append(1), control.at_safe_point(lambda: calls.append(3))))
    control.at_safe_point(lambda: calls.append(2))
    control.reach_safe_point()

    assert calls == [1, 2, 3]
    assert control.callbacks == []


def test_every_request_raises_the_signal() -> None:
    control = Control()
    assert not control.signal
    control.notice()
    assert control.signal
    control.signal = False
    control.at_safe_point(print)
    assert control.signal


def test_clearing_drops_every_stop() -> None:
    control = Control()
    control.terminate = control.skip_completed = control.terminate_epoch = True
    control.skip_epoch_completed = control.interrupt = control.new_data = True
    control.clear()

    assert not any(
        (control.terminate, control.skip_completed, control.terminate_epoch, control.skip_epoch_completed,
         control.interrupt, control.new_data)
    )  # fmt: skip


def test_one_hold_is_enough() -> None:
    control = Control()
    assert not control.is_held()
    control.holds += [lambda: False, lambda: True]
    assert control.is_held()


def test_each_thread_has_its_own_running_engines() -> None:
    seen: list[int] = []
    running.controls.append(Control())
    try:
        thread = threading.Thread(target=lambda: seen.append(len(running.controls)))
        thread.start()
        thread.join()
    finally:
        running.controls.pop()

    assert seen == [0]
