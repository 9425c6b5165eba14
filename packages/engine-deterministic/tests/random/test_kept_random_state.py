from __future__ import annotations

import inspect
import random

import numpy as np
import pytest
import torch

from camshaft.deterministic import keep_random_state, manual_seed
from camshaft.engine import Engine, Events


def draw():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(1).item()


@pytest.fixture
def expected():
    manual_seed(1)
    values = draw()
    manual_seed(1)
    return values


@keep_random_state
def reseed(seed, *, count=1):
    """Seed everything anew."""
    manual_seed(seed)
    return [draw() for _ in range(count)]


def test_a_decorated_function_leaves_the_generators_and_passes_everything_through(expected):
    assert len(reseed(12, count=3)) == 3
    assert expected == draw()
    assert reseed.__name__ == "reseed"
    assert reseed.__doc__ == "Seed everything anew."
    assert list(inspect.signature(reseed).parameters) == ["seed", "count"]


def test_the_generators_are_put_back_after_an_error(expected):
    @keep_random_state
    def fail():
        manual_seed(12)
        raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert expected == draw()


def test_calls_may_be_nested(expected):
    @keep_random_state
    def outer(depth):
        manual_seed(depth)
        first = draw()
        manual_seed(depth)
        if depth:
            outer(depth - 1)
        assert first == draw()

    outer(3)
    assert expected == draw()


def test_it_is_a_context_manager(expected):
    with keep_random_state():
        manual_seed(12)
        with keep_random_state():
            draw()
    assert expected == draw()


def test_one_context_manager_can_be_entered_inside_itself(expected):
    keep = keep_random_state()
    with keep:
        manual_seed(12)
        first = draw()
        manual_seed(12)
        with keep:
            draw()
        assert first == draw()
    assert expected == draw()


def test_it_is_a_decorator_with_parentheses_too(expected):
    @keep_random_state()
    def seed():
        manual_seed(12)
        return "done"

    assert seed() == "done"
    assert expected == draw()


def test_methods_are_decorated(expected):
    class Model:
        @keep_random_state
        def sample(self, number):
            manual_seed(number)
            return self, number

    model = Model()
    assert (model, 3) == model.sample(3)
    assert expected == draw()


def test_a_decorated_handler_gets_what_the_bare_one_would():
    engine = Engine(lambda engine, batch: batch)
    seen = []

    @engine.on(Events.ITERATION_COMPLETED)
    @keep_random_state
    def record(engine):
        seen.append(engine.state.output)

    @engine.on(Events.COMPLETED)
    @keep_random_state
    def end():
        seen.append("end")

    engine.run([1, 2])
    assert seen == [1, 2, "end"]


def test_what_runs_later_is_refused():
    def generate():
        yield 1

    async def wait():
        return 1

    for func in (generate, wait):
        with pytest.raises(TypeError, match="must run when it is called"):
            keep_random_state(func)
    with pytest.raises(TypeError, match="callable"):
        keep_random_state(3)
