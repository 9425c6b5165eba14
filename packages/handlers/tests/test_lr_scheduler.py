from __future__ import annotations

import copy

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning, Events, StateDictError
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


def test_a_restored_warm_up_continues():
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


@pytest.mark.parametrize(
    "event",
    [Events.ITERATION_STARTED, Events.EPOCH_STARTED(every=2), Events.ITERATION_COMPLETED | Events.GET_BATCH_STARTED],
)
def test_a_scheduler_that_steps_before_the_optimizer_is_warned_about(event):
    with pytest.warns(EngineWarning, match="steps before the optimizer does: the first learning rate is never used"):
        LRScheduler(Counting()).attach(make_engine(), event)


def test_a_warm_up_needs_a_step():
    with pytest.raises(ArgumentError, match="`steps` must be an integer of at least 1, got 0"):
        with_warmup(None, 0)


# ---- states that do not fit ------------------------------------------------------------------------


def schedulers(torch):
    """Return makers of schedulers of several kinds."""
    scheduler = torch.optim.lr_scheduler

    def sequence(optimizer, parts=2):
        steps = [scheduler.StepLR(optimizer, 3) for _ in range(parts)]
        return scheduler.SequentialLR(optimizer, steps, milestones=list(range(2, parts + 1)))

    return {
        "step": lambda optimizer: scheduler.StepLR(optimizer, 3),
        "cosine": lambda optimizer: scheduler.CosineAnnealingLR(optimizer, 10),
        "plateau": lambda optimizer: scheduler.ReduceLROnPlateau(optimizer),
        "lambda": lambda optimizer: scheduler.LambdaLR(optimizer, lambda step: 0.9**step),
        "cycle": lambda optimizer: scheduler.OneCycleLR(optimizer, 0.1, total_steps=10),
        "multi": lambda optimizer: scheduler.MultiStepLR(optimizer, [2, 4]),
        "sequence": sequence,
        "longer sequence": lambda optimizer: sequence(optimizer, parts=3),
    }


def make_handler(torch, name, groups=1):
    parameters = [{"params": [torch.nn.Parameter(torch.zeros(()))]} for _ in range(groups)]
    optimizer = torch.optim.SGD(parameters, lr=0.5, momentum=0.9)
    handler = LRScheduler(schedulers(torch)[name](optimizer))
    for _ in range(3):
        optimizer.step()
        handler.scheduler.step(*([1.0] if name == "plateau" else []))
    return handler


@pytest.mark.parametrize("name", ["step", "cosine", "plateau", "lambda", "cycle", "multi", "sequence"])
def test_a_state_fits_a_scheduler_of_its_kind(name):
    torch = pytest.importorskip("torch")
    state = make_handler(torch, name).state_dict()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=0.5, momentum=0.9)
    handler = LRScheduler(schedulers(torch)[name](optimizer))

    handler.load_state_dict(copy.deepcopy(state))

    assert handler.state_dict()["last_epoch"] == 3


@pytest.mark.parametrize("own", ["step", "cosine", "plateau", "lambda", "sequence"])
@pytest.mark.parametrize("other", ["cycle", "multi", "longer sequence"])
def test_the_state_of_another_kind_is_refused_and_changes_nothing(own, other):
    torch = pytest.importorskip("torch")
    handler, state = make_handler(torch, own), make_handler(torch, other).state_dict()
    before = copy.deepcopy(handler.state_dict())

    with pytest.raises(StateDictError, match="`state_dict` must be that of a .* like this, got "):
        handler.load_state_dict(state)

    assert handler.state_dict() == before


def test_a_state_for_another_number_of_groups_is_refused():
    torch = pytest.importorskip("torch")

    with pytest.raises(StateDictError, match="got 2 entries in 'base_lrs' instead of 1"):
        make_handler(torch, "step").load_state_dict(make_handler(torch, "step", groups=2).state_dict())


@pytest.mark.parametrize("state", [None, [], {}, {"step_size": 3, "gamma": 0.1, "base_lrs": [0.5], "last_epoch": "3"}])
def test_what_is_no_state_is_refused_and_changes_nothing(state):
    torch = pytest.importorskip("torch")
    handler = make_handler(torch, "step")
    before = copy.deepcopy(handler.state_dict())

    with pytest.raises(StateDictError):
        handler.load_state_dict(state)

    assert handler.state_dict() == before


def test_a_state_that_the_scheduler_itself_refuses_half_way_changes_nothing():
    class Picky(Counting):
        def load_state_dict(self, state_dict):
            super().load_state_dict(state_dict)
            if state_dict["steps"] > 5:
                raise RuntimeError("of the test")

    handler = LRScheduler(Picky())

    with pytest.raises(StateDictError, match="which refuses it: of the test"):
        handler.load_state_dict({"steps": 9})

    assert handler.state_dict() == {"steps": 0}


def test_the_state_of_a_scheduler_of_pytorch_ignite_is_refused_by_name():
    torch = pytest.importorskip("torch")
    handler = make_handler(torch, "step")
    foreign = {
        "event_index": 5, "param_name": "lr", "save_history": False, "param_group_index": None,
        "lr_scheduler": handler.state_dict(),
    }  # fmt: skip

    with pytest.raises(StateDictError, match="got one of pytorch-ignite, which sets the learning rate at another"):
        handler.load_state_dict(foreign)
