"""Schedulers of parameters of optimizers."""

from __future__ import annotations

import torch
from torch.optim import lr_scheduler as torch_schedulers

from ignite.engine import Engine, Events
from ignite.handlers import (
    BatchSizeScheduler,
    ConcatScheduler,
    CosineAnnealingScheduler,
    ExpStateScheduler,
    LambdaStateScheduler,
    LinearCyclicalScheduler,
    LRScheduler,
    ParamGroupScheduler,
    ParamScheduler,
    PiecewiseLinear,
    PiecewiseLinearStateScheduler,
    ReduceLROnPlateauScheduler,
    create_lr_scheduler_with_warmup,
)
from reference_cases.tools import case, error_of, make_optimizer, values_of


@case
def cyclical_schedulers():
    options = [
        {}, {"cycle_mult": 2.0}, {"cycle_mult": 1.5}, {"start_value_mult": 0.5, "end_value_mult": 0.25},
        {"cycle_size": 5}, {"cycle_size": 7, "cycle_mult": 1.3},
    ]  # fmt: skip
    results = []
    for kind in (LinearCyclicalScheduler, CosineAnnealingScheduler):
        for option in options:
            optimizer = make_optimizer()
            scheduler = kind(optimizer, "lr", 1.0, 0.1, **{"cycle_size": 4, **option})
            results.append([values_of(scheduler, optimizer, 23), scheduler.state_dict()])
    return results


@case
def cyclical_schedulers_with_warmup():
    results = []
    options = {"warmup_duration": 2, "start_value_mult": 0.5, "end_value_mult": 0.2, "cycle_mult": 1.5}
    for option in ({"warmup_duration": 2}, {"warmup_duration": 1, "cycle_mult": 1.3}, options):
        for kind, more in ((CosineAnnealingScheduler, {}), (LinearCyclicalScheduler, {"monotonic": True})):
            optimizer = make_optimizer()
            scheduler = kind(optimizer, "lr", 1.0, 0.1, 4, **option, **more)
            results.append([values_of(scheduler, optimizer, 31), scheduler.state_dict()])
    return results


@case
def monotonic_scheduler():
    optimizer = make_optimizer()
    return values_of(LinearCyclicalScheduler(optimizer, "lr", 1.0, 0.1, 5, monotonic=True, cycle_mult=1.3), optimizer)


@case
def piecewise_linear():
    results = []
    for milestones in (
        [(0, 0.5), (5, 0.1)], [(3, 1.0)], [(2, 0.1), (4, 0.7), (5, 0.3), (9, 0.3)],
        [(10, 0.5), (20, 0.45), (21, 0.3), (30, 0.1), (40, 0.1)],
    ):  # fmt: skip
        optimizer = make_optimizer()
        results.append(values_of(PiecewiseLinear(optimizer, "lr", milestones), optimizer, 45))
    return results


@case
def one_group_of_several():
    optimizer = make_optimizer(groups=2)
    engine = Engine(lambda engine, batch: None)
    first = CosineAnnealingScheduler(optimizer, "lr", 1.0, 0.0, 4, param_group_index=0, save_history=True)
    second = PiecewiseLinear(optimizer, "lr", [(1, 0.1), (3, 0.02)], param_group_index=1, save_history=True)
    engine.add_event_handler(Events.ITERATION_STARTED, first, "first")
    engine.add_event_handler(Events.ITERATION_STARTED, second, "second")
    engine.run([0] * 5)
    return engine.state.param_history, [group["lr"] for group in optimizer.param_groups]


@case
def attached_scheduler():
    optimizer = make_optimizer(groups=2)
    engine = Engine(lambda engine, batch: None)
    LinearCyclicalScheduler(optimizer, "lr", 1.0, 0.0, 4, save_history=True).attach(engine)
    CosineAnnealingScheduler(optimizer, "momentum", 0.9, 0.5, 4, save_history=True).attach(
        engine, Events.ITERATION_COMPLETED(every=2)
    )
    engine.run([0] * 3, max_epochs=2)
    return engine.state.param_history


@case
def own_scheduler():
    class Betas(ParamScheduler):
        def get_param(self):
            return (0.1 * self.event_index, 0.99)

    optimizer = torch.optim.Adam([torch.zeros(1)], lr=0.1)
    return values_of(Betas(optimizer, "betas"), optimizer, 3, name="betas"), Betas.simulate_values(3, param_name="b")


@case
def concatenated():
    results = []
    for durations in ([4, 6], [1, 3]):
        optimizer = make_optimizer(groups=2)
        schedulers = [
            LinearCyclicalScheduler(optimizer, "lr", 0.0, 1.0, 8),
            CosineAnnealingScheduler(optimizer, "lr", 1.0, 0.2, 4),
            PiecewiseLinear(optimizer, "lr", [(0, 0.2), (4, 0.0)]),
        ]
        combined = ConcatScheduler(schedulers, durations, save_history=True)
        engine = Engine(lambda engine, batch: None)
        combined.attach(engine)
        engine.run([0] * 16)
        results.append([engine.state.param_history, combined.state_dict(), combined.get_param()])
    return results


@case
def grouped():
    optimizer = make_optimizer(groups=2)
    schedulers = [
        CosineAnnealingScheduler(optimizer, "lr", 1.0, 0.0, 4, param_group_index=0),
        LinearCyclicalScheduler(optimizer, "lr", 0.1, 0.0, 4, param_group_index=1),
    ]
    group = ParamGroupScheduler(schedulers, names=["base", "head"], save_history=True)
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_STARTED, group)
    engine.run([0] * 6)
    return engine.state.param_history, group.state_dict(), group.get_param()


TORCH = {
    "step": lambda optimizer: torch_schedulers.StepLR(optimizer, 3, 0.5),
    "multi_step": lambda optimizer: torch_schedulers.MultiStepLR(optimizer, [2, 5], 0.5),
    "lambda": lambda optimizer: torch_schedulers.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch)),
    "one_cycle": lambda optimizer: torch_schedulers.OneCycleLR(optimizer, 1.0, total_steps=12),
    "cyclic": lambda optimizer: torch_schedulers.CyclicLR(optimizer, 0.01, 0.1, step_size_up=3, cycle_momentum=False),
}


@case
def torch_schedulers_from_iteration_started():
    results = {}
    for name, make in TORCH.items():
        optimizer = make_optimizer(groups=2)
        results[name] = values_of(LRScheduler(make(optimizer)), optimizer, 11)
    return results


@case
def torch_schedulers_legacy():
    results = {}
    more = {"exponential": lambda optimizer: torch_schedulers.ExponentialLR(optimizer, 0.9)}
    for name, make in {**TORCH, **more}.items():
        optimizer = make_optimizer()
        scheduler = LRScheduler(make(optimizer), use_legacy=True)
        results[name] = values_of(scheduler, optimizer, 11, Events.ITERATION_COMPLETED)
    return results


@case
def simulated_values():
    optimizer = make_optimizer()
    schedulers = [LinearCyclicalScheduler(optimizer, "lr", 1.0, 0.0, 10), PiecewiseLinear(optimizer, "lr", [(0, 0.5)])]
    return [
        LinearCyclicalScheduler.simulate_values(5, param_name="lr", start_value=1.0, end_value=0.0, cycle_size=4),
        PiecewiseLinear.simulate_values(6, param_name="lr", milestones_values=[(1, 1.0), (4, 0.0)]),
        ConcatScheduler.simulate_values(6, schedulers=schedulers, durations=[3]),
        ConcatScheduler.simulate_values(4, schedulers, [2], param_names=["lr", "momentum"]),
        ParamGroupScheduler.simulate_values(4, schedulers),
        LRScheduler.simulate_values(7, torch_schedulers.StepLR(make_optimizer(groups=2), 3)),
        ReduceLROnPlateauScheduler.simulate_values(6, [1, 2, 3, 4, 5, 6], 0.1, factor=0.5, patience=1),
        LambdaStateScheduler.simulate_values(4, lambda_obj=lambda event: 2 * event, param_name="x"),
        ExpStateScheduler.simulate_values(4, initial_value=1, gamma=0.5, param_name="x", create_new=True),
        BatchSizeScheduler.simulate_values(4, scheduler_fn=lambda event: event + 1),
        [scheduler.event_index for scheduler in schedulers],
        [group["lr"] for group in optimizer.param_groups],
    ]


@case
def warmup_before_torch_schedulers():
    results = []
    for groups in (1, 2):
        for end in (None, 0.1, 0.7):
            for duration in (2, 3, 5):
                optimizer = make_optimizer(groups)
                scheduler = create_lr_scheduler_with_warmup(
                    torch_schedulers.ExponentialLR(optimizer, 0.9), 0.0, duration, warmup_end_value=end
                )
                results.append(values_of(scheduler, optimizer, 12))
    return results


@case
def warmup_before_own_schedulers():
    results = []
    for end in (None, 0.5, 1.0):
        for duration in (2, 3, 5):
            for groups in (1, 2):
                optimizer = make_optimizer(groups)
                follower = CosineAnnealingScheduler(optimizer, "lr", 1.0, 0.0, 4)
                scheduler = create_lr_scheduler_with_warmup(follower, 0.0, duration, warmup_end_value=end)
                results.append(values_of(scheduler, optimizer, 12))
    return results


@case
def warmup_history_and_simulation():
    optimizer, values = make_optimizer(), [None] * 8
    scheduler = create_lr_scheduler_with_warmup(
        torch_schedulers.StepLR(optimizer, 2), 0.0, 3, 0.7, save_history=True, output_simulated_values=values
    )
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_STARTED, scheduler)
    engine.run([0] * 8)
    return values, engine.state.param_history


@case
def warmup_on_two_events():
    optimizer = make_optimizer()
    scheduler = create_lr_scheduler_with_warmup(torch_schedulers.ExponentialLR(optimizer, 0.5), 0.0, 5)
    events = Events.ITERATION_STARTED(event_filter=lambda engine, event: event <= 5)
    events |= Events.EPOCH_STARTED(event_filter=lambda engine, event: event > 1 + 5 / 8)
    seen = []
    trainer = Engine(lambda engine, batch: seen.append(optimizer.param_groups[0]["lr"]))
    trainer.add_event_handler(events, scheduler)
    trainer.run(range(8), max_epochs=4)
    return seen


@case
def reduced_on_plateau():
    results = []
    for options in ({}, {"param_group_index": 1, "min_lr": 0.01}, {"mode": "max", "cooldown": 1}):
        optimizer = make_optimizer(groups=2)
        trainer, evaluator = Engine(lambda engine, batch: None), Engine(lambda engine, batch: None)
        scheduler = ReduceLROnPlateauScheduler(
            optimizer, "loss", trainer=trainer, save_history=True, factor=0.5, patience=1, threshold=0.1, **options
        )
        losses = iter([10, 5, 3, 4, 4, 4, 5, 1, 1, 1, 1, 1])
        evaluator.add_event_handler(Events.STARTED, lambda e, losses=losses: e.state.metrics.update(loss=next(losses)))
        evaluator.add_event_handler(Events.COMPLETED, scheduler)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e, ev=evaluator: ev.run([0]) and None)
        trainer.run([0] * 12)
        results.append([trainer.state.param_history, scheduler.get_param(), scheduler.event_index])
    return results


@case
def resumed_schedulers():
    """Stop after 7 events, load the states into new schedulers, go on."""

    def make(optimizer):
        return [
            LinearCyclicalScheduler(optimizer, "lr", 1.0, 0.1, 4, cycle_mult=1.5),
            PiecewiseLinear(optimizer, "lr", [(2, 0.1), (9, 0.7)]),
            LRScheduler(torch_schedulers.StepLR(optimizer, 3, 0.5)),
            ConcatScheduler(
                [LinearCyclicalScheduler(optimizer, "lr", 0.0, 1.0, 8), PiecewiseLinear(optimizer, "lr", [(1, 0.5)])],
                [9],
            ),
            create_lr_scheduler_with_warmup(torch_schedulers.StepLR(optimizer, 4), 0.0, 3),
        ]

    results = []
    for place in range(5):
        optimizer = make_optimizer()
        scheduler = make(optimizer)[place]
        values_of(scheduler, optimizer, 7)
        again = make_optimizer()
        other = make(again)[place]
        again.load_state_dict(optimizer.state_dict())
        other.load_state_dict(scheduler.state_dict())
        results.append(values_of(other, again, 8))
    return results


@case
def batch_size_schedule():
    loader = torch.utils.data.DataLoader(list(range(40)), batch_size=4)
    scheduler = BatchSizeScheduler(loader, lambda epoch: 4 * (epoch + 1), save_history=True)
    sizes = []
    engine = Engine(lambda engine, batch: sizes.append(len(batch)))
    scheduler.attach(engine)
    engine.run(loader, max_epochs=2)
    return sizes[:8], engine.state.param_history, scheduler.get_param()


@case
def errors_of_schedulers():
    o = make_optimizer()
    s = LinearCyclicalScheduler(o, "lr", 1, 0, 4)
    group = ParamGroupScheduler([s], ["a"])
    concat = ConcatScheduler([s, s], [1])
    return [
        error_of(call)
        for call in (
            lambda: s.load_state_dict([]), lambda: s.load_state_dict({}), lambda: s.load_state_dict({"event_index": 3}),
            lambda: LinearCyclicalScheduler(o, "lr", 1, 0, 1), lambda: LinearCyclicalScheduler({}, "lr", 1, 0, 9),
            lambda: LinearCyclicalScheduler(o, "lr", 1, 0, 9, warmup_duration=2),
            lambda: PiecewiseLinear(o, "lr", []), lambda: PiecewiseLinear(o, "lr", [(3, 1.0), (1, 1.0)]),
            lambda: PiecewiseLinear(o, "lr", [1, 2]), lambda: PiecewiseLinear(o, "lr", [(1.5, 2.0)]),
            lambda: PiecewiseLinear(o, "lr", [[1, 2.0]]), lambda: ConcatScheduler([], []),
            lambda: ConcatScheduler([s], []), lambda: ConcatScheduler([s, 1], [1]),
            lambda: ConcatScheduler([s, s], [1.5]), lambda: ConcatScheduler([s, s], 1),
            lambda: ConcatScheduler(s, [1]), lambda: ConcatScheduler([s, s], [1, 2]),
            lambda: ConcatScheduler([s, LinearCyclicalScheduler(make_optimizer(), "lr", 1, 0, 4)], [1]),
            lambda: ConcatScheduler([s, LinearCyclicalScheduler(o, "momentum", 1, 0, 4)], [1]),
            lambda: LRScheduler(1), lambda: ParamGroupScheduler([s], ["a", "b"]), lambda: ParamGroupScheduler([s, 1]),
            lambda: ParamGroupScheduler([s], [1]), lambda: ParamGroupScheduler(s),
            lambda: ParamGroupScheduler([s], "a"),
            lambda: create_lr_scheduler_with_warmup(12, 0.0, 3), lambda: create_lr_scheduler_with_warmup(s, 0.0, 1),
            lambda: create_lr_scheduler_with_warmup(s, 0.0, 1.5),
            lambda: create_lr_scheduler_with_warmup(s, 0.0, 3, output_simulated_values="a"),
            lambda: LRScheduler.simulate_values(4, 1), lambda: ConcatScheduler.simulate_values(4, [s, s], [2], "lr"),
            lambda: ReduceLROnPlateauScheduler.simulate_values(6, [1, 2, 3], 0.1),
            lambda: ReduceLROnPlateauScheduler(o, "loss")(Engine(lambda engine, batch: None)),
            lambda: ReduceLROnPlateauScheduler(o, "loss", param_group_index=0, min_lr=[0.1]),
            lambda: group.load_state_dict({}), lambda: group.load_state_dict(3),
            lambda: group.load_state_dict({"schedulers": [("b", {})]}), lambda: concat.load_state_dict({}),
            lambda: BatchSizeScheduler(3, lambda event: event), lambda: LambdaStateScheduler(3, "p"),
            lambda: PiecewiseLinearStateScheduler([], "p"),
        )
    ]  # fmt: skip
