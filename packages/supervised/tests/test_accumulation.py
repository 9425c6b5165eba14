from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from camshaft.supervised._accumulation import MicroBatch, Window, window_length

steps_in_window = st.integers(1, 7)
epoch_lengths = st.integers(1, 30)


def micro_batches(window: Window, epoch_length: int, known: bool, start: int = 0):
    for done in range(epoch_length):
        yield window.begin_iteration(start + done, done, epoch_length if known else None)
        window.complete_iteration()


@given(steps_in_window, epoch_lengths)
def test_a_known_epoch_falls_into_full_windows_and_a_rest(steps, epoch_length):
    places = list(micro_batches(Window(steps), epoch_length, known=True))

    lengths = [place.window_length for place in places if place.is_last]
    full, rest = divmod(epoch_length, steps)
    assert lengths == [steps] * full + [rest] * bool(rest)


@given(steps_in_window, epoch_lengths, st.booleans())
def test_a_window_opens_after_each_one_that_closed(steps, epoch_length, known):
    places = list(micro_batches(Window(steps), epoch_length, known))

    assert places[0].is_first
    assert all(before.is_last == after.is_first for before, after in pairwise(places))


@given(steps_in_window, epoch_lengths)
def test_the_weights_of_a_window_add_up_to_one(steps, epoch_length):
    window, weight = Window(steps), 0.0

    for place in micro_batches(window, epoch_length, known=False):
        weight = 1 / place.window_length if place.is_first else weight + 1 / place.window_length
    factor = window.close_early()

    assert abs(weight * (factor or 1.0) - 1.0) < 1e-12


@given(steps_in_window, epoch_lengths)
def test_a_window_is_open_exactly_between_its_first_and_its_last_iteration(steps, epoch_length):
    window = Window(steps)

    for place in micro_batches(window, epoch_length, known=True):
        assert window.is_open == (not place.is_first)

    assert not window.is_open


@given(steps_in_window, epoch_lengths, epoch_lengths)
def test_each_epoch_starts_a_window(steps, first, second):
    window = Window(steps)

    for start, length in ((0, first), (first, second)):
        first_micro_batch, *_ = micro_batches(window, length, known=True, start=start)
        assert first_micro_batch.is_first


def test_an_iteration_that_failed_spoils_the_window():
    window = Window(4)
    window.begin_iteration(0, 0, 8)
    window.complete_iteration()
    window.begin_iteration(1, 1, 8)  # fails: never completed

    place = window.begin_iteration(1, 1, 8)

    assert place.is_first
    assert place.window_length == 3


def test_a_window_continues_when_a_stopped_run_is_continued():
    window = Window(4)
    window.begin_iteration(0, 0, 8)
    window.complete_iteration()

    window.drop_unless_next(1)

    assert window.begin_iteration(1, 1, 8) == MicroBatch(is_first=False, is_last=False, window_length=4)


def test_a_window_of_another_run_is_dropped():
    window = Window(4)
    window.begin_iteration(0, 0, 8)
    window.complete_iteration()

    window.drop_unless_next(0)

    assert not window.is_open
    assert window.begin_iteration(0, 0, 8).is_first


def test_a_run_restored_inside_a_window_weights_what_is_left_of_it():
    assert [window_length(4, done, epoch_length=7) for done in range(7)] == [4, 3, 2, 1, 3, 2, 1]


def test_a_closed_window_has_nothing_to_close_early():
    window = Window(2)
    assert window.close_early() is None

    list(micro_batches(window, 2, known=False))

    assert window.close_early() is None
