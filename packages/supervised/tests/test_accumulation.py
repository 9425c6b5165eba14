from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from camshaft.supervised._accumulation import Window, window_length

steps_in_window = st.integers(1, 7)
epoch_lengths = st.integers(1, 30)


def shares_of_epoch(window: Window, epoch_length: int, known: bool, start: int = 0):
    for done in range(epoch_length):
        yield window.enter(start + done, done, epoch_length if known else None)
        window.leave()


@given(steps_in_window, epoch_lengths)
def test_a_known_epoch_falls_into_full_windows_and_a_rest(steps, epoch_length):
    shares = list(shares_of_epoch(Window(steps), epoch_length, known=True))

    lengths = [share.length for share in shares if share.closes]
    full, rest = divmod(epoch_length, steps)
    assert lengths == [steps] * full + [rest] * bool(rest)


@given(steps_in_window, epoch_lengths, st.booleans())
def test_a_window_opens_after_each_one_that_closed(steps, epoch_length, known):
    shares = list(shares_of_epoch(Window(steps), epoch_length, known))

    assert shares[0].opens
    assert all(before.closes == after.opens for before, after in pairwise(shares))


@given(steps_in_window, epoch_lengths)
def test_the_weights_of_a_window_add_up_to_one(steps, epoch_length):
    window, weight = Window(steps), 0.0

    for share in shares_of_epoch(window, epoch_length, known=False):
        weight = 1 / share.length if share.opens else weight + 1 / share.length
    factor = window.close_early()

    assert abs(weight * (factor or 1.0) - 1.0) < 1e-12


@given(steps_in_window, epoch_lengths)
def test_a_window_is_open_exactly_between_its_first_and_its_last_iteration(steps, epoch_length):
    window = Window(steps)

    for share in shares_of_epoch(window, epoch_length, known=True):
        assert window.is_open == (not share.opens)

    assert not window.is_open


@given(steps_in_window, epoch_lengths, epoch_lengths)
def test_each_epoch_starts_a_window(steps, first, second):
    window = Window(steps)

    for start, length in ((0, first), (first, second)):
        first_share, *_ = shares_of_epoch(window, length, known=True, start=start)
        assert first_share.opens


def test_an_iteration_that_failed_spoils_the_window():
    window = Window(4)
    window.enter(0, 0, 8)
    window.leave()
    window.enter(1, 1, 8)  # fails: never left

    share = window.enter(1, 1, 8)

    assert share.opens
    assert share.length == 3


def test_a_window_goes_on_when_a_stopped_run_is_continued():
    window = Window(4)
    window.enter(0, 0, 8)
    window.leave()

    window.forget_unless_next(1)

    assert window.enter(1, 1, 8) == (False, False, 4)


def test_a_window_of_another_run_is_dropped():
    window = Window(4)
    window.enter(0, 0, 8)
    window.leave()

    window.forget_unless_next(0)

    assert not window.is_open
    assert window.enter(0, 0, 8).opens


def test_a_run_restored_inside_a_window_weights_what_is_left_of_it():
    assert [window_length(4, done, epoch_length=7) for done in range(7)] == [4, 3, 2, 1, 3, 2, 1]


def test_a_closed_window_has_nothing_to_close_early():
    window = Window(2)
    assert window.close_early() is None

    list(shares_of_epoch(window, 2, known=False))

    assert window.close_early() is None
