from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler as torch_schedulers

from ignite.engine import Engine, Events
from ignite.handlers import (
    ConcatScheduler,
    LambdaStateScheduler,
    LinearCyclicalScheduler,
    LRScheduler,
    PiecewiseLinear,
    ReduceLROnPlateauScheduler,
    create_lr_scheduler_with_warmup,
)


def make_optimizer(lr=0.5):
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)


def rates_of(make, count=8, wrap=LRScheduler):
    optimizer, seen = make_optimizer(), []
    engine = Engine(lambda engine, batch: seen.append(optimizer.param_groups[0]["lr"]))
    engine.add_event_handler(Events.ITERATION_STARTED, wrap(make(optimizer)))
    engine.run(range(count))
    return seen


def rates_of_torch(make, count=8):
    optimizer, seen = make_optimizer(), []
    scheduler = make(optimizer)
    for _ in range(count):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


SCHEDULERS = {
    "exponential": lambda optimizer: torch_schedulers.ExponentialLR(optimizer, 0.9),
    "multiplicative": lambda optimizer: torch_schedulers.MultiplicativeLR(optimizer, lambda epoch: 0.9),
    "linear": lambda optimizer: torch_schedulers.LinearLR(optimizer, 0.25, total_iters=3),
    "constant": lambda optimizer: torch_schedulers.ConstantLR(optimizer, 0.25, total_iters=3),
    "cosine": lambda optimizer: torch_schedulers.CosineAnnealingLR(optimizer, 6),
    "restarts": lambda optimizer: torch_schedulers.CosineAnnealingWarmRestarts(optimizer, 3, 2),
    "polynomial": lambda optimizer: torch_schedulers.PolynomialLR(optimizer, 6),
    "sequential": lambda optimizer: torch_schedulers.SequentialLR(
        optimizer,
        [torch_schedulers.ConstantLR(optimizer, 0.1, 2), torch_schedulers.ExponentialLR(optimizer, 0.9)],
        milestones=[2],
    ),
    "chained": lambda optimizer: torch_schedulers.ChainedScheduler(
        [torch_schedulers.ConstantLR(optimizer, 0.1, 2), torch_schedulers.ExponentialLR(optimizer, 0.9)]
    ),
}


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step\\(\\)` before")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_rates_are_those_of_the_wrapped_scheduler(name):
    assert pytest.approx(rates_of_torch(SCHEDULERS[name])) == rates_of(SCHEDULERS[name])


def test_a_run_goes_on_when_only_torchs_own_scheduler_is_saved():
    whole = rates_of(SCHEDULERS["exponential"], 8)
    optimizer = make_optimizer()
    scheduler = SCHEDULERS["exponential"](optimizer)
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_STARTED, LRScheduler(scheduler))
    engine.run(range(3))
    again, seen = make_optimizer(), []
    other = SCHEDULERS["exponential"](again)
    again.load_state_dict(optimizer.state_dict())
    other.load_state_dict(scheduler.state_dict())
    engine = Engine(lambda engine, batch: seen.append(again.param_groups[0]["lr"]))
    engine.add_event_handler(Events.ITERATION_STARTED, LRScheduler(other))
    engine.run(range(5))
    assert whole[3:] == seen


def test_a_plateau_scheduler_is_refused_where_there_is_no_metric():
    with pytest.raises(TypeError, match="ReduceLROnPlateauScheduler"):
        LRScheduler(torch_schedulers.ReduceLROnPlateau(make_optimizer()))


def test_the_state_of_a_plateau_scheduler_holds_no_functions(tmp_path):
    scheduler = ReduceLROnPlateauScheduler(make_optimizer(), "loss", factor=0.1)
    torch.save(scheduler.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    other = ReduceLROnPlateauScheduler(make_optimizer(), "loss", factor=0.5)
    other.load_state_dict({**state, "scheduler": {**state["scheduler"], "_reduce_lr": print}})
    assert 0.1 == other.scheduler.factor


def test_a_function_without_a_state_is_not_saved():
    assert "lambda_obj" not in LambdaStateScheduler(lambda event: event, "alpha").state_dict()


def test_a_function_with_a_state_is_saved_with_its_scheduler():
    class Growing:
        def __init__(self, step):
            self.step = step

        def __call__(self, event):
            return self.step * event

        def state_dict(self):
            return {"step": self.step}

        def load_state_dict(self, state):
            self.step = state["step"]

    first, second = (LambdaStateScheduler(Growing(step), "alpha") for step in (3, 7))
    second.load_state_dict(first.state_dict())
    assert 3 == second.lambda_obj.step


def test_a_state_that_lacks_an_entry_changes_nothing():
    scheduler = LinearCyclicalScheduler(make_optimizer(), "lr", 1.0, 0.0, 4)
    before = dict(scheduler.state_dict())
    with pytest.raises(ValueError, match="end_value"):
        scheduler.load_state_dict({name: 9 for name in before if name != "end_value"})
    assert before == scheduler.state_dict()


def test_simulating_a_warm_up_leaves_scheduler_and_optimizer_as_they_are():
    optimizer = make_optimizer()
    scheduler = torch_schedulers.OneCycleLR(optimizer, 1.0, total_steps=9)
    before = [dict(group) for group in optimizer.param_groups], scheduler.state_dict()
    LRScheduler.simulate_values(5, scheduler)
    assert str(before) == str(([dict(group) for group in optimizer.param_groups], scheduler.state_dict()))


def test_the_history_of_all_parts_is_kept_when_the_whole_is_told_to():
    optimizer = make_optimizer()
    parts = [PiecewiseLinear(optimizer, "lr", [(0, value)]) for value in (1.0, 2.0)]
    scheduler = ConcatScheduler(parts, [2])
    scheduler.save_history = True
    engine = Engine(lambda engine, batch: None)
    scheduler.attach(engine)
    engine.run(range(3))
    assert [[1.0], [1.0], [2.0]] == engine.state.param_history["lr"]


def test_a_warm_up_has_the_history_it_was_asked_for_also_when_values_are_simulated():
    optimizer, values = make_optimizer(), [None] * 3
    scheduler = create_lr_scheduler_with_warmup(
        torch_schedulers.StepLR(optimizer, 2), 0.0, 2, save_history=True, output_simulated_values=values
    )
    assert scheduler.save_history
    assert [0, 1, 2] == [index for index, _ in values]


@pytest.mark.parametrize("kind", [LinearCyclicalScheduler, LRScheduler])
def test_values_are_drawn(kind):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    options = (
        {"lr_scheduler": torch_schedulers.StepLR(make_optimizer(), 2)}
        if kind is LRScheduler
        else {"param_name": "lr", "start_value": 1.0, "end_value": 0.0, "cycle_size": 4}
    )
    (line,) = kind.plot_values(num_events=5, **options)
    assert list(range(5)) == list(line.get_xdata())
