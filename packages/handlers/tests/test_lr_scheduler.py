from __future__ import annotations

import pytest

from camshaft.engine import ArgumentTypeError, Engine, Events
from camshaft.handlers import LRScheduler, with_warmup


class Counting:
    """The least that a scheduler is."""

    def __init__(self):
        self.steps = []

    def step(self, *metric):
        self.steps.append(metric)

    def state_dict(self):
        return {"steps": len(self.steps)}

    def load_state_dict(self, state_dict):
        self.steps = [()] * state_dict["steps"]


def make_engine():
    return Engine(lambda engine, batch: batch)


def test_a_scheduler_steps_in_each_iteration_or_in_each_epoch():
    for event, steps in ((Events.ITERATION_COMPLETED, 6), (Events.EPOCH_COMPLETED, 2)):
        engine, scheduler = make_engine(), Counting()
        LRScheduler(scheduler).attach(engine, event)
        engine.run([1, 2, 3], max_epochs=2)
        assert scheduler.steps == [()] * steps


def test_a_metric_is_handed_to_the_scheduler():
    engine, scheduler = make_engine(), Counting()
    LRScheduler(scheduler, metric=lambda engine: engine.state.output * 10).attach(engine)

    engine.run([1, 2])

    assert scheduler.steps == [(10,), (20,)]


def test_its_state_is_that_of_the_scheduler():
    engine, scheduler = make_engine(), Counting()
    handler = LRScheduler(scheduler)
    handler.attach(engine)
    engine.run([1, 2])

    restored = LRScheduler(Counting())
    restored.load_state_dict(handler.state_dict())

    assert restored.scheduler.steps == [(), ()]


def test_what_is_no_scheduler_is_refused():
    with pytest.raises(ArgumentTypeError, match="`scheduler` must have a method 'step', got 0.1"):
        LRScheduler(0.1)


def rates(torch, make_scheduler, iterations):
    """Return the learning rate that each iteration is made with."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    scheduler, used = make_scheduler(optimizer), []

    def step(engine, batch):
        used.append(round(optimizer.param_groups[0]["lr"], 6))
        optimizer.step()

    engine = Engine(step)
    LRScheduler(scheduler).attach(engine)
    engine.run(range(iterations))
    return used


def test_a_warm_up_comes_before_the_scheduler():
    torch = pytest.importorskip("torch")

    def make(optimizer):
        return with_warmup(torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5), steps=4, start_factor=0.2)

    assert rates(torch, make, 9) == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 0.5, 0.5, 0.25]


def test_a_restored_warm_up_goes_on():
    torch = pytest.importorskip("torch")

    def make():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)
        return optimizer, LRScheduler(with_warmup(cosine, steps=4))

    def steps(optimizer, handler, count):
        used = []
        for _ in range(count):
            used.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            handler(None)
        return used

    straight = steps(*make(), 12)
    for stop in range(12):
        optimizer, handler = make()
        before = steps(optimizer, handler, stop)
        restored_optimizer, restored = make()
        restored_optimizer.load_state_dict(optimizer.state_dict())
        restored.load_state_dict(handler.state_dict())
        assert before + steps(restored_optimizer, restored, 12 - stop) == straight


def test_a_plateau_lowers_the_rate():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    engine = make_engine()
    LRScheduler(plateau, metric=lambda engine: engine.state.output).attach(engine)

    engine.run([3.0, 2.0, 2.0, 2.0])

    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
