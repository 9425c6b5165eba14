from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch

from camshaft.deterministic import manual_seed
from camshaft.deterministic._random._rng_state import capture_rng, check_rng, restore_rng
from camshaft.engine import StateDictError


def draw():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(1).item()


@pytest.fixture
def saved():
    manual_seed(4)
    draw()
    return capture_rng()


def test_generators_are_restored_with_their_cached_gaussian(saved):
    expected = draw()
    manual_seed(5)
    restore_rng(saved)
    assert expected == draw()


def test_capturing_draws_nothing():
    manual_seed(4)
    expected = draw()
    manual_seed(4)
    capture_rng()
    assert expected == draw()


def test_the_state_loads_as_weights_only(saved):
    expected = draw()
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    buffer.seek(0)
    restore_rng(torch.load(buffer, weights_only=True))
    assert expected == draw()


def test_another_bit_generator_of_numpy_is_restored():
    before = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(3))
        buffer = io.BytesIO()
        torch.save(capture_rng(), buffer)
        buffer.seek(0)
        expected = np.random.rand()
        restore_rng(torch.load(buffer, weights_only=True))
        assert expected == np.random.rand()
    finally:
        np.random.set_bit_generator(before)


def test_the_state_of_a_device_that_is_not_there_is_left_out(saved):
    expected = draw()
    restore_rng({**saved, "accelerators": {"cuda:7": torch.zeros(16, dtype=torch.uint8)}})
    assert expected == draw()


@pytest.mark.parametrize("states", [3, [], {}, {"python": 1, "numpy": {}, "torch": 3, "accelerators": {}}])
def test_a_malformed_state_is_refused_and_nothing_changes(states):
    manual_seed(4)
    expected = draw()
    manual_seed(4)
    with pytest.raises(StateDictError, match="rng_states"):
        check_rng(states)
    assert expected == draw()


@pytest.mark.parametrize("key", ["python", "numpy", "torch"])
def test_a_malformed_entry_is_refused_and_nothing_changes(saved, key):
    expected = draw()
    restore_rng(saved)
    with pytest.raises(StateDictError):
        check_rng({**saved, key: {}})
    assert expected == draw()
