"""Where a loader stands, and which iteration may have its batches."""

from __future__ import annotations

import threading

import pytest
import torch
from every_kind import (
    DATA,
    Failing,
    Noisy,
    Stream,
    loader,
)
from looping import dumped, epochs_of, loaded, on_its_way, resumable, texts

from camshaft.engine import ArgumentError, EngineWarning


def test_a_batch_counts_when_the_loop_gets_it_however_far_workers_are_ahead():
    made, _ = on_its_way(1, make=lambda: loader(num_workers=2, prefetch_factor=4))
    assert (made.epoch, made.index) == (0, 1)
    assert (made.state_dict()["epoch"], made.state_dict()["index"]) == (0, 1)


def test_the_last_batch_is_inside_its_epoch_and_the_end_is_at_the_next_one():
    made = resumable()
    places = [(made.epoch, made.index) for _ in made]
    assert places[-1] == (0, 4)
    assert (made.epoch, made.index) == (1, 0)


def test_the_length_is_that_of_a_whole_epoch_while_a_part_is_left():
    made, _ = on_its_way(3)
    again = resumable()
    again.load_state_dict(made.state_dict())
    assert (len(again), len(list(again)), len(list(again))) == (4, 1, 4)


def test_data_without_a_length_has_none():
    with pytest.raises(TypeError):
        len(resumable(lambda: loader(Stream())))


def test_a_loop_after_a_break_is_the_next_epoch():
    made = resumable()
    for _ in made:
        break
    assert texts(made) == texts(epochs_of(resumable(), 2)[1])


def test_a_state_taken_after_a_break_goes_on_inside_the_epoch():
    made = resumable()
    for _ in made:
        break
    again = resumable()
    again.load_state_dict(made.state_dict())
    assert texts(again) == texts(resumable())[1:]


def test_set_epoch_begins_that_epoch_from_its_start():
    made = resumable()
    expected = [texts(epoch) for epoch in epochs_of(resumable(), 4)]
    made.set_epoch(3)
    assert texts(made) == expected[3]
    made.set_epoch(1)
    assert (made.epoch, made.index) == (1, 0)
    assert texts(made) == expected[1]
    assert texts(made) == expected[2]


def test_set_epoch_goes_on_inside_the_epoch_that_a_loaded_state_is_in():
    made, _ = on_its_way(2)
    again = resumable()
    again.load_state_dict(made.state_dict())
    again.set_epoch(0)
    assert len(list(again)) == 2


@pytest.mark.parametrize(
    "name", ["shuffled", "keeping data", "restarting stream", "stream", "iterable that counts epochs"]
)
def test_set_epoch_gives_up_the_rest_of_the_epoch_that_a_loaded_state_is_in(name):
    whole = resumable(DATA[name])
    for _ in whole:
        state = whole.state_dict()
        break
    whole.set_epoch(1)
    again = resumable(DATA[name])
    again.load_state_dict(loaded(dumped(state)))
    again.set_epoch(1)
    assert texts(again) == texts(whole)


def test_set_epoch_in_the_body_of_a_loop_is_for_the_next_loop():
    made = resumable()
    for _ in made:
        made.set_epoch(5)
        assert made.epoch == 0
    assert (made.epoch, made.index) == (5, 0)


@pytest.mark.parametrize("epoch", [-1, 1.5, True, None])
def test_set_epoch_refuses_what_is_no_number_of_an_epoch(epoch):
    with pytest.raises(ArgumentError, match="`epoch` must be an integer of at least 0"):
        resumable().set_epoch(epoch)


def test_an_iteration_that_was_not_begun_takes_no_epoch():
    made = resumable()
    iter(made)
    iterator = iter(made)
    assert made.epoch == 0
    assert texts(iterator) == texts(resumable())


def test_an_older_iteration_raises_when_a_newer_one_has_begun():
    made, older = on_its_way(1)
    newer = iter(made)
    next(older)
    next(newer)
    with pytest.raises(RuntimeError, match="a newer one has begun"):
        next(older)
    assert texts(newer) == texts(epochs_of(resumable(), 2)[1])[1:]


def test_nested_loops_over_one_loader_raise():
    made = resumable()
    with pytest.raises(RuntimeError, match="make one for each loop"):
        [(one, other) for one in made for other in made]


def test_two_loaders_go_side_by_side():
    seen = [(repr(one), repr(other)) for one, other in zip(resumable(), resumable(seed=8), strict=True)]
    assert seen == list(zip(texts(resumable()), texts(resumable(seed=8)), strict=True))


def test_an_iteration_that_has_ended_stays_so():
    made = resumable()
    iterator = iter(made)
    list(iterator)
    next(iter(made))
    assert next(iterator, None) is None


def test_an_iteration_that_was_begun_is_over_when_a_state_is_loaded():
    made, iterator = on_its_way(1)
    made.load_state_dict(made.state_dict())
    with pytest.raises(RuntimeError, match="a state was loaded"):
        next(iterator)


def test_an_iterator_that_was_not_begun_begins_where_a_state_says():
    made, _ = on_its_way(2)
    again = resumable()
    iterator = iter(again)
    again.load_state_dict(made.state_dict())
    assert texts(iterator) == texts(resumable())[2:]


def test_a_state_may_be_loaded_again_and_again():
    made, _ = on_its_way(2)
    state = made.state_dict()
    expected = texts(resumable())[2:]
    for _ in range(3):
        made.load_state_dict(state)
        assert texts(made) == expected


def test_a_loop_left_by_an_exception_stands_behind_the_batch_that_it_had():
    made = resumable()

    def train():
        for number, _ in enumerate(made):
            if number == 1:
                raise KeyError("a step")

    with pytest.raises(KeyError) as error:  # which holds the frame of the loop, and its iterator
        train()
    again = resumable()
    again.load_state_dict(made.state_dict())
    assert texts(again) == texts(resumable())[2:]
    del error


def test_a_batch_that_failed_is_fetched_again_when_it_is_asked_for_again():
    iterator = iter(resumable(lambda: loader(Failing(4))))
    seen = texts([next(iterator)])
    with pytest.raises(OSError, match="the disk is away"):
        next(iterator)
    assert seen + texts(iterator) == texts(resumable(lambda: loader()))


def test_a_batch_that_failed_is_the_next_one_of_the_state():
    made = resumable(lambda: loader(Failing(4), num_workers=1))
    with pytest.raises(OSError, match="the disk is away"):
        list(made)
    again = resumable(lambda: loader())
    again.load_state_dict(made.state_dict())
    assert (again.epoch, again.index) == (0, 1)
    assert texts(again) == texts(resumable(lambda: loader()))[1:]


def test_a_second_thread_is_refused_in_the_middle_of_a_fetch():
    is_fetching, may_go_on = threading.Event(), threading.Event()

    class Slow(Noisy):
        def __getitem__(self, index):
            is_fetching.set()
            assert may_go_on.wait(60)
            return super().__getitem__(index)

    made = resumable(lambda: loader(Slow()))
    thread = threading.Thread(target=next, args=(iter(made),))
    thread.start()
    assert is_fetching.wait(60)
    try:
        with pytest.raises(RuntimeError, match="one thing at a time"):
            made.state_dict()
    finally:
        may_go_on.set()
        thread.join()
    assert made.index == 1


def test_workers_end_when_a_loop_is_left():
    made = resumable(lambda: loader(num_workers=1))
    for _ in made:
        break
    assert torch.multiprocessing.active_children() == []


def test_persistent_workers_end_with_the_loader():
    made = resumable(lambda: loader(num_workers=1, persistent_workers=True))
    list(made)
    assert len(torch.multiprocessing.active_children()) == 1
    del made
    assert torch.multiprocessing.active_children() == []


def test_data_with_no_batches_has_epochs_all_the_same():
    for made in (resumable(lambda: loader([])), resumable(list), resumable(lambda: iter(()))):
        assert (list(made), made.epoch) == ([], 1)


def cut_off(name):
    """Return a loader whose second batch was fetched and did not reach the loop: a Ctrl-C came between."""
    made, iterator = on_its_way(1, make=DATA[name])
    made._reader.fetch(iterator._turn)
    return made, iterator


def test_a_batch_that_an_interrupt_has_kept_from_the_loop_comes_again():
    made, iterator = cut_off("shuffled")
    assert (made.index, made.state_dict()["index"]) == (1, 1)
    assert texts(iterator) == texts(resumable())[1:]


def test_an_interrupt_in_a_fetch_from_data_that_may_have_moved_on_is_told():
    made, iterator = cut_off("keeping data")
    with pytest.warns(EngineWarning, match="batch 1 of epoch 0 may be lost"):
        made.state_dict()
    with pytest.warns(EngineWarning, match="batch 1 of epoch 0 may be lost"):
        next(iterator)
    assert made.state_dict()["index"] == 2
