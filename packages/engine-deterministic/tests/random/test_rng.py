from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from camshaft.deterministic import manual_seed
from camshaft.deterministic._random._rng import isolated, remember_generators, seed_everything, seed_generators
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.engine import EngineError


def draw():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(1).item(), torch.randn(3).tolist()


@pytest.fixture(autouse=True)
def leave_numpy_alone():
    bit_generator = np.random.get_bit_generator()
    yield
    np.random.set_bit_generator(bit_generator)


@pytest.mark.parametrize("seed_all", [seed_generators, seed_everything])
def test_a_seed_decides_all_generators(seed_all):
    seed_all(derive_seed(5))
    first = draw()
    draw()
    seed_all(derive_seed(5))
    assert first == draw()
    seed_all(derive_seed(6))
    assert all(mine != other for mine, other in zip(first, draw(), strict=True))


def test_seeds_that_differ_in_their_upper_half_differ_for_numpy():
    seed_generators(5)
    first = np.random.rand()
    seed_generators(5 + 2**32)
    assert first != np.random.rand()


def test_torch_and_numpy_do_not_draw_the_same_numbers():
    # Both are Mersenne Twisters: under one 32-bit seed their outputs would be the same words.
    for seed in range(20):
        seed_generators(derive_seed(seed))
        words = torch.randint(0, 2**32, (50,), dtype=torch.int64).tolist()
        assert not set(words) & set(np.random.randint(0, 2**32, 50, dtype=np.uint64).tolist())


def test_generators_are_put_back_with_their_cached_gaussian():
    manual_seed(3)
    np.random.randn()
    random.gauss(0, 1)
    torch.randn(3)
    put_back = remember_generators()
    expected = np.random.randn(), random.gauss(0, 1), draw()
    seed_everything(9)
    draw()
    put_back()
    assert expected == (np.random.randn(), random.gauss(0, 1), draw())


def test_another_bit_generator_of_numpy_is_seeded_and_put_back():
    np.random.set_bit_generator(np.random.PCG64(1))
    with isolated(4):
        inside = np.random.rand()
    put_back = remember_generators()
    expected = np.random.rand()
    put_back()
    assert expected == np.random.rand()
    with isolated(4):
        assert inside == np.random.rand()


def test_an_isolated_block_has_its_own_streams_and_leaves_the_others():
    manual_seed(1)
    expected = draw()
    manual_seed(1)
    with isolated(8) as reseed:
        first, second = draw(), draw()
        reseed(8)
        assert first == draw()
    assert expected == draw()
    with isolated(8):
        assert (first, second) == (draw(), draw())


def test_an_isolated_block_puts_back_after_an_error():
    manual_seed(1)
    expected = draw()
    manual_seed(1)
    with pytest.raises(KeyError), isolated(8):
        raise KeyError(draw())
    assert expected == draw()


PRIVATE = {
    "torch": (lambda: torch.Generator().manual_seed(1), lambda g: torch.rand(1, generator=g).item()),
    "python": (lambda: random.Random(1), lambda g: g.random()),
    "numpy": (lambda: np.random.default_rng(1), lambda g: g.random()),
    "old numpy": (lambda: np.random.RandomState(1), lambda g: g.rand()),
}


@pytest.mark.parametrize("kind", PRIVATE)
def test_a_private_generator_is_seeded_in_the_block_and_put_back(kind):
    make, take = PRIVATE[kind]
    generator, copied, other = make(), make(), make()
    take(other)
    with isolated(8, [generator]):
        inside = take(generator)
    assert take(copied) == take(generator)
    with isolated(8, [other]):
        assert inside == take(other)
    with isolated(9, [other]):
        assert inside != take(other)


def test_manual_seed_gives_the_numbers_that_the_libraries_give():
    manual_seed(56)
    mine = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(56)
    np.random.seed(56)
    torch.manual_seed(56)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == mine


@pytest.mark.parametrize("seed", [-(2**63), -1, 0, 2**32, 2**64 - 1, np.int64(5), torch.tensor(5)])
def test_manual_seed_takes_whatever_torch_takes(seed):
    manual_seed(seed)
    first = draw()
    manual_seed(seed)
    assert first == draw()


@pytest.mark.parametrize(
    ("seed", "error"),
    [(2**64, ValueError), (-(2**63) - 1, ValueError), (1.0, TypeError), ("1", TypeError), (True, TypeError)],
)
def test_manual_seed_refuses_other_values_and_seeds_nothing(seed, error):
    manual_seed(1)
    expected = draw()
    manual_seed(1)
    with pytest.raises(error, match="`seed` must be") as caught:
        manual_seed(seed)
    assert isinstance(caught.value, EngineError)
    assert expected == draw()
