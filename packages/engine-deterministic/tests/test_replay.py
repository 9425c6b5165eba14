from __future__ import annotations

import random

import pytest
import torch

from camshaft.deterministic import ResumeMismatch, manual_seed
from camshaft.deterministic._replay import Replay, draw_again, skip_exactly


def remembering():
    """Draws a number at its beginning, and one for each batch."""
    scale = random.random()
    while True:
        yield scale, torch.rand(1).item()


def test_the_generators_are_noted_at_the_first_batch_and_put_back_there():
    manual_seed(3)
    first = Replay(remembering(), data_pass=0)
    torch.rand(7)  # by a handler, between iter() and the first batch
    expected = [next(first), next(first)]
    (saved,) = first.passes()
    assert (saved["data_pass"], saved["drawn"]) == (0, 2)
    manual_seed(4)
    again = Replay(remembering(), data_pass=0, rng=saved["rng"])
    assert expected == [next(again), next(again)]


def test_a_batch_in_hand_does_not_count():
    replay = Replay(iter("abc"), data_pass=2)
    skip_exactly(replay, 2)
    (entry,) = replay.state_dict(holds_batch=True)["passes"]
    assert (entry["data_pass"], entry["drawn"]) == (2, 1)


def test_generators_are_kept_of_the_first_and_the_last_pass_only():
    replay = Replay(iter("abc"), 0)
    for data_pass in (1, 2, 3):
        next(iter(replay), None)
        replay = Replay(iter("abc"), data_pass, replay.passes())
    next(replay)
    assert [True, False, False, True] == [each["rng"] is not None for each in replay.passes()]
    assert [0, 1, 2, 3] == [each["data_pass"] for each in replay.passes()]


def test_an_isolated_iterator_leaves_the_generators_alone():
    replay = Replay(iter("ab"), 0, is_isolated=True)
    assert next(replay) == "a"
    assert [None] == [each["rng"] for each in replay.passes()]


@pytest.mark.parametrize("passes", [[3], [2, 3], [1, 1, 2]])
def test_passes_over_one_iterator_are_drawn_again_one_after_the_other(passes):
    def numbers():
        data = iter(range(10))
        return lambda data_pass, earlier, rng: Replay(data, data_pass, earlier, rng=rng)

    start, earlier = numbers(), []
    for data_pass, count in enumerate(passes):
        replay = start(data_pass, earlier, None)
        skip_exactly(replay, count)
        earlier = replay.passes()
    again = draw_again(earlier, numbers())
    assert list(replay) == list(again)
    assert passes == [each["drawn"] for each in earlier]


def test_fewer_batches_than_there_were_are_a_mismatch():
    with pytest.raises(ResumeMismatch, match="batches was 'at least 3' and is 2"):
        skip_exactly(iter("ab"), 3)
