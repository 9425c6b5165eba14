"""What handlers do, as values that can be written down: run here, and with pytorch-ignite itself.

Only public names of `ignite` are used, so that either package can be behind it. `benchmarks/ignite_handlers.py` runs the
cases with whichever is installed; `expected.json` holds what pytorch-ignite 0.5.5 gave.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import warnings
from pathlib import Path

import torch
from ignite.engine import Engine, EventEnum, Events
from ignite.handlers import (
    BasicTimeProfiler,
    BatchSizeScheduler,
    Checkpoint,
    ConcatScheduler,
    CosineAnnealingScheduler,
    DiskSaver,
    EarlyStopping,
    EMAHandler,
    EpochOutputStore,
    ExpStateScheduler,
    FastaiLRFinder,
    HandlersTimeProfiler,
    LambdaStateScheduler,
    LinearCyclicalScheduler,
    LRScheduler,
    ModelCheckpoint,
    MultiStepStateScheduler,
    ParamGroupScheduler,
    ParamScheduler,
    PiecewiseLinear,
    PiecewiseLinearStateScheduler,
    ProgressBar,
    ReduceLROnPlateauScheduler,
    StepStateScheduler,
    TensorboardLogger,
    TerminateOnNan,
    TimeLimit,
    Timer,
    create_lr_scheduler_with_warmup,
    global_step_from_engine,
)
from ignite.handlers.checkpoint import CheckpointEvents
from ignite.handlers.base_logger import BaseHandler, BaseLogger, BaseOutputHandler
from ignite.handlers.tensorboard_logger import (
    GradsHistHandler,
    GradsScalarHandler,
    OptimizerParamsHandler,
    OutputHandler,
    WeightsHistHandler,
    WeightsScalarHandler,
)
from torch.optim import lr_scheduler as torch_schedulers

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def run_case(name):
    """Return what a case gives, as JSON would keep it; its output and its warnings are dropped."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return json.loads(json.dumps(CASES[name](), default=plain))


def plain(value):
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return Path(value).name
    return value.item()  # a number of numpy


# ---- helpers -------------------------------------------------------------------------------------


def make_optimizer(groups=1, lr=0.1):
    parameters = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr * (n + 1)} for n in range(groups)]
    return torch.optim.SGD(parameters, lr=lr)


def values_of(scheduler, optimizer, count=14, event=Events.ITERATION_STARTED, name="lr"):
    """Return the values that each iteration of a run sees."""
    seen = []
    engine = Engine(lambda engine, batch: seen.append([group[name] for group in optimizer.param_groups]))
    engine.add_event_handler(event, scheduler)
    engine.run([0] * count)
    return seen


def error_of(function):
    """Return the builtin class of the error that a call raises, None without one."""
    try:
        function()
    except Exception as error:  # noqa: BLE001  # whichever it is
        return next(each.__name__ for each in type(error).__mro__ if each.__module__ == "builtins")
    return None


def warnings_of(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [each.category.__name__ if each.category is DeprecationWarning else "UserWarning" for each in caught]


def logged_scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    scalars = {tag: [[e.step, e.value] for e in accumulator.Scalars(tag)] for tag in sorted(tags["scalars"])}
    histograms = {tag: [e.step for e in accumulator.Histograms(tag)] for tag in sorted(tags["histograms"])}
    return {"scalars": scalars, "histograms": histograms}


def make_network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Tanh(), torch.nn.Linear(4, 2))


def make_batches(count=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(count):
        x = torch.randn(8, 3, generator=generator)
        batches.append((x, (x.sum(1) > 0).long()))
    return batches


def make_trainer(model, optimizer):
    def step(engine, batch):
        model.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    return Engine(step)


# ---- schedulers of optimizers --------------------------------------------------------------------


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
            lambda: LRScheduler(1), lambda: ParamGroupScheduler([s], ["a", "b"]), lambda: ParamGroupScheduler([s, 1]),
            lambda: ParamGroupScheduler([s], [1]), lambda: ParamGroupScheduler(s), lambda: ParamGroupScheduler([s], "a"),
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


# ---- schedulers of the state ---------------------------------------------------------------------


def state_values(scheduler, event=Events.ITERATION_STARTED, epochs=1, **attributes):
    engine = Engine(lambda engine, batch: None)
    for name, value in attributes.items():
        setattr(engine.state, name, value)
    scheduler.attach(engine, event)
    seen = []
    engine.add_event_handler(event, lambda: seen.append(engine.state.p))
    engine.run([0] * 8, max_epochs=epochs)
    return seen, getattr(engine.state, "param_history", None)


@case
def state_schedulers():
    def make():
        return [
            LambdaStateScheduler(lambda event: 10 * event, "p", save_history=True, create_new=True),
            PiecewiseLinearStateScheduler([(2, 1.0), (5, 0.0)], "p", save_history=True, create_new=True),
            ExpStateScheduler(1, 0.9, "p", create_new=True),
            StepStateScheduler(1, 0.5, 3, "p", create_new=True),
            MultiStepStateScheduler(1, 0.5, [3, 5], "p", create_new=True),
        ]

    results = [state_values(scheduler) for scheduler in make()]
    results += [state_values(scheduler, Events.EPOCH_COMPLETED, 3) for scheduler in make()]
    results += [state_values(scheduler, Events.ITERATION_COMPLETED(every=3)) for scheduler in make()]
    return results


@case
def state_scheduler_of_an_attribute():
    new = lambda **kw: LambdaStateScheduler(lambda event: event, "p", **kw)  # noqa: E731
    return [
        warnings_of(lambda: state_values(new())),
        warnings_of(lambda: state_values(new(create_new=True))),
        warnings_of(lambda: state_values(new(), p=5)),
        error_of(lambda: state_values(new(create_new=True), p=5)),
    ]


@case
def resumed_state_scheduler():
    first = ExpStateScheduler(1, 0.9, "p", create_new=True)
    state_values(first)
    second = ExpStateScheduler(7, 0.1, "p", create_new=True)
    second.load_state_dict(first.state_dict())
    return first.state_dict(), state_values(second)


# ---- averages ------------------------------------------------------------------------------------


@case
def ema_of_a_training():
    results = []
    for options in (
        {"momentum": 0.1}, {"momentum": 0.1, "momentum_warmup": 0.5, "warmup_iters": 4},
        {"momentum": 0.3, "handle_buffers": "update"}, {"momentum": 0.3, "handle_buffers": "ema_train"},
    ):  # fmt: skip
        for event in (Events.ITERATION_COMPLETED, Events.ITERATION_COMPLETED(every=3), Events.EPOCH_COMPLETED):
            model = make_network()
            trainer = make_trainer(model, torch.optim.SGD(model.parameters(), lr=0.1))
            handler = EMAHandler(model, **options)
            handler.attach(trainer, event=event)
            momenta = [trainer.state.ema_momentum]
            trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e, m=momenta: m.append(e.state.ema_momentum))
            trainer.run(make_batches(4), max_epochs=2)
            results.append([dict(handler.ema_model.state_dict()), momenta, handler.ema_model.training])
    return results


@case
def ema_of_a_state_that_has_the_name():
    def attach(**options):
        engine = Engine(lambda engine, batch: None)
        engine.state.ema_momentum = 0.3
        EMAHandler(make_network()).attach(engine, **options)
        return engine.state.ema_momentum

    return warnings_of(attach), warnings_of(lambda: attach(warn_if_exists=False)), attach()


@case
def errors_of_ema():
    model = make_network()
    return [
        error_of(lambda options=options: EMAHandler(model, **options))
        for options in ({"momentum": 2}, {"momentum": 0}, {"momentum": 1.0}, {"handle_buffers": "x"})
    ] + [error_of(lambda: EMAHandler(3))]


# ---- the range test ------------------------------------------------------------------------------


def sweep(losses, groups=1, epochs=1, **options):
    optimizer = make_optimizer(groups, lr=1e-3)
    numbers, used = iter(losses), []

    def step(engine, batch):
        used.append([group["lr"] for group in optimizer.param_groups])
        return next(numbers)

    trainer, finder = Engine(step), FastaiLRFinder()
    with finder.attach(trainer, {"optimizer": optimizer}, **options):
        trainer.run([0] * (len(losses) // epochs), max_epochs=epochs)
    results = finder.get_results()
    suggestion = None
    with contextlib.suppress(RuntimeError):
        suggestion = finder.lr_suggestion()
    return used, results, suggestion, [group["lr"] for group in optimizer.param_groups], trainer.state.iteration


VALLEY = [5.0, 4.9, 3.0, 2.9, 1.0, 0.95, 0.9, 0.91, 4.5, 4.9]


@case
def range_test():
    return [
        sweep(VALLEY), sweep(VALLEY, smooth_f=0), sweep(VALLEY, smooth_f=0.9), sweep(VALLEY, step_mode="linear"),
        sweep(VALLEY * 2, num_iter=6, end_lr=1.0, smooth_f=0), sweep(VALLEY * 2, epochs=2, smooth_f=0, diverge_th=9),
        sweep(VALLEY, 2, smooth_f=0, start_lr=[1e-4, 1e-3], end_lr=[1.0, 10.0]), sweep(VALLEY, 2, smooth_f=0),
        sweep(VALLEY, start_lr=1e-5, end_lr=1.0, smooth_f=0), sweep([5.0, 6.0, 7.0, 8.0], smooth_f=0),
        sweep([5.0, 4.0, 3.0], smooth_f=0), sweep(VALLEY, smooth_f=0, diverge_th=2.0),
        sweep([torch.tensor(value) for value in (4.0, 2.0, 1.0, 0.5, 8.0)], smooth_f=0),
        sweep(VALLEY, 2, step_mode="linear", smooth_f=0, start_lr=1e-4, end_lr=2.0),
    ]  # fmt: skip


@case
def range_test_longer_than_the_run():
    optimizer, counts = make_optimizer(lr=1e-3), []
    trainer, finder = Engine(lambda engine, batch: 1.0 / engine.state.iteration), FastaiLRFinder()
    with finder.attach(trainer, {"optimizer": optimizer}, num_iter=25):
        state = trainer.run([0] * 10, max_epochs=1)
        counts += [state.iteration, state.epoch, state.max_epochs]
    trainer.run([0] * 10, max_epochs=2)
    return counts, trainer.state.iteration, len(finder.get_results()["lr"])


@case
def range_test_of_a_network():
    model = make_network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    trainer, finder = make_trainer(model, optimizer), FastaiLRFinder()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with finder.attach(trainer, {"model": model, "optimizer": optimizer}, end_lr=100.0, diverge_th=1.5) as same:
        same.run(make_batches(40))
    unchanged = all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    suggestion = finder.lr_suggestion()
    finder.apply_suggested_lr(optimizer)
    return finder.get_results(), suggestion, unchanged, optimizer.param_groups[0]["lr"], same is trainer


@case
def errors_of_the_range_test():
    def attach(to_save, **options):
        with FastaiLRFinder().attach(Engine(lambda engine, batch: None), to_save, **options):
            pass

    saved = {"optimizer": make_optimizer()}
    options = [
        {"num_iter": 0}, {"num_iter": 1.5}, {"smooth_f": 1}, {"smooth_f": -0.1}, {"diverge_th": 0.5},
        {"step_mode": "x"}, {"start_lr": 20.0}, {"end_lr": "a"}, {"start_lr": [1.0, 2.0]}, {"end_lr": [1.0, 2.0]},
        {"end_lr": 1e-6},
    ]  # fmt: skip
    finder = FastaiLRFinder()
    calls = [lambda option=option: attach(saved, **option) for option in options]
    calls += [lambda: attach({"model": make_network()}), lambda: attach([1]), lambda: attach({**saved, "model": 3})]
    calls += [finder.lr_suggestion, finder.plot, lambda: finder.apply_suggested_lr(make_optimizer())]
    calls += [lambda: sweep(["text"] * 3), lambda: sweep([torch.zeros(2)] * 3)]
    return [error_of(call) for call in calls], finder.get_results()


# ---- loggers -------------------------------------------------------------------------------------


def make_engine_with_values():
    engine = Engine(lambda engine, batch: batch)
    engine.state.alpha = 2.5
    engine.state.output = 1.5
    engine.state.metrics.update(
        acc=0.5, vec=torch.tensor([1.0, 2.0]), text="str", nested={"x": 1, "y": {"z": torch.tensor(3)}}, count=3,
        scalar=torch.tensor(2.5), listed=[1, 2], none=None, flag=True, matrix=torch.zeros(2, 2), one=torch.ones(1),
    )  # fmt: skip
    return engine


class Collected(BaseOutputHandler):
    def __call__(self, engine, logger, event_name):
        logger.lines.append(self._setup_output_metrics_state_attrs(engine, log_text=True, key_tuple=False))


class OwnLogger(BaseLogger):
    def __init__(self):
        self.lines = []

    def _create_output_handler(self, *args, **kwargs):
        return Collected(*args, **kwargs)

    def _create_opt_params_handler(self, *args, **kwargs):
        return lambda engine, logger, event_name: logger.lines.append(["params", str(event_name)])


@case
def logger_of_ones_own():
    class Handler(BaseHandler):
        def __call__(self, engine, logger, event_name):
            logger.lines.append([engine.state.epoch, event_name.name])

    engine, logger = make_engine_with_values(), OwnLogger()
    logger.attach(engine, Handler(), Events.EPOCH_STARTED(once=1) | Events.COMPLETED)
    logger.attach(engine, lambda *args, **kwargs: args[1].lines.append([len(args), kwargs]), Events.STARTED, 1, x=3)
    logger.attach_output_handler(
        engine, Events.ITERATION_COMPLETED(every=2), tag="t", output_transform=lambda output: {"l": output},
        state_attributes=["alpha"], metric_names="all",
    )  # fmt: skip
    handle = logger.attach_opt_params_handler(engine, Events.EPOCH_COMPLETED, 3, tag="x")
    engine.run([1.0, 2.0], max_epochs=2)
    handle.remove()
    with logger as same:
        return logger.lines, same is logger, error_of(lambda: logger.attach(engine, Handler(), "unknown"))


@case
def values_of_output_handlers():
    class Handler(BaseOutputHandler):
        def __call__(self, engine, logger, event_name):
            raise NotImplementedError

    engine = make_engine_with_values()
    results = []
    for options in (
        {"metric_names": "all"}, {"metric_names": ["acc", "vec", "missing"]}, {"output_transform": lambda output: output},
        {"output_transform": lambda output: {"a": output, "b": [output, output]}}, {"state_attributes": ["alpha"]},
        {"metric_names": ["acc"], "output_transform": lambda output: {"acc": 9}, "state_attributes": ["alpha"]},
    ):  # fmt: skip
        handler = Handler("tag", **options)
        named = handler._setup_output_metrics_state_attrs(engine, log_text=True)
        results.append([[list(key), value] for key, value in named.items()])
        results.append(handler._setup_output_metrics_state_attrs(engine, key_tuple=False))
    return results


@case
def errors_of_loggers():
    class Handler(BaseOutputHandler):
        def __call__(self, engine, logger, event_name):
            raise NotImplementedError

    model, engine = make_network(), make_engine_with_values()
    return [
        error_of(call)
        for call in (
            lambda: Handler("t"), lambda: Handler("t", "x"), lambda: Handler("t", ["a"], output_transform=3),
            lambda: Handler("t", ["a"], global_step_transform=3), lambda: Handler("t", {"a": 1}), BaseLogger,
            lambda: OptimizerParamsHandler(3), lambda: WeightsScalarHandler(3),
            lambda: WeightsScalarHandler(model, reduction=3),
            lambda: WeightsScalarHandler(model, reduction=lambda parameter: parameter),
            lambda: OutputHandler("t", ["a"])(engine, 3, Events.STARTED),
            lambda: OptimizerParamsHandler(make_optimizer())(engine, 3, Events.STARTED),
            lambda: ProgressBar().attach(engine, "acc"),
            lambda: ProgressBar().attach(engine, event_name=Events.EPOCH_COMPLETED),
            lambda: ProgressBar().attach(engine, event_name=Events.COMPLETED),
        )
    ]  # fmt: skip


@case
def tensorboard_files():
    with tempfile.TemporaryDirectory() as folder:
        model = make_network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        trainer = make_trainer(model, optimizer)
        evaluator = Engine(lambda engine, batch: None)
        evaluator.add_event_handler(Events.STARTED, lambda e: e.state.metrics.update(acc=0.5, vec=torch.ones(2)))
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]) and None)
        with TensorboardLogger(log_dir=folder) as logger:
            logger.attach_output_handler(
                trainer,
                Events.ITERATION_COMPLETED(every=2),
                tag="training",
                output_transform=lambda loss: {"loss": loss},
            )
            logger.attach_output_handler(
                evaluator, Events.COMPLETED, tag="validation", metric_names=["acc", "vec"],
                global_step_transform=global_step_from_engine(trainer),
            )  # fmt: skip
            logger.attach_opt_params_handler(trainer, Events.ITERATION_STARTED(every=3), optimizer, tag="sgd")
            for handler in (
                WeightsScalarHandler(model), WeightsScalarHandler(model, torch.sum, "m", ["0"]),
                WeightsHistHandler(model, whitelist=["3.bias"]), GradsScalarHandler(model, tag="g"),
                GradsHistHandler(model, whitelist=lambda name, parameter: "weight" in name),
            ):  # fmt: skip
                logger.attach(trainer, handler, Events.EPOCH_COMPLETED)
            trainer.run(make_batches(4), max_epochs=3)
        return logged_scalars(folder)


BAR = "{desc}[{n_fmt}/{total_fmt}] {percentage:3.0f}%{postfix}"


def shown_by_bar(batches=3, epochs=2, attach=(), **options):
    stream = io.StringIO()
    bar = ProgressBar(**{"bar_format": BAR, "persist": True, "mininterval": 0, "file": stream, **options})
    engine = make_engine_with_values()
    engine.state.metrics = {name: engine.state.metrics[name] for name in ("acc", "vec", "text", "count", "scalar")}
    bar.attach(engine, **dict(attach))
    engine.run([float(n) for n in range(batches)], max_epochs=epochs)
    # What was overwritten depends on the moment; what stays is the last of each line.
    return [line.split("\r")[-1].strip() for line in stream.getvalue().split("\n")], bar.pbar is None


@case
def progress_bars():
    return [
        shown_by_bar(), shown_by_bar(epochs=1), shown_by_bar(desc="Predictions"), shown_by_bar(epochs=1, desc="P"),
        shown_by_bar(attach={"metric_names": ["acc", "vec", "count", "scalar"]}),
        shown_by_bar(attach={"metric_names": "all"}), shown_by_bar(attach={"metric_names": ["missing"]}),
        shown_by_bar(attach={"output_transform": lambda output: output}),
        shown_by_bar(attach={"output_transform": lambda output: {"loss": output}}),
        shown_by_bar(attach={"output_transform": lambda output: [output, output]}),
        shown_by_bar(attach={"output_transform": lambda output: "text"}),
        shown_by_bar(attach={"state_attributes": ["alpha"]}),
        shown_by_bar(attach={"metric_names": ["acc"], "state_attributes": ["alpha"], "output_transform": float}),
        shown_by_bar(attach={"event_name": Events.EPOCH_COMPLETED, "closing_event_name": Events.COMPLETED}),
        shown_by_bar(attach={"event_name": Events.ITERATION_COMPLETED(every=2)}),
        shown_by_bar(attach={"closing_event_name": Events.COMPLETED}),
    ]  # fmt: skip


@case
def message_of_a_bar():
    stream = io.StringIO()
    ProgressBar(file=stream).log_message("a line")
    return stream.getvalue()


# ---- stopping, timing, storing -------------------------------------------------------------------


def stopped(scores, patience=2, **options):
    trainer = Engine(lambda engine, batch: batch)
    handler = EarlyStopping(patience, lambda engine: engine.state.output, trainer, **options)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, handler)
    trainer.run(scores)
    return trainer.state.iteration, handler.state_dict()


@case
def early_stopping():
    return [
        stopped([1.0, 3.0, 2.0, 2.0, 9.0]), stopped([1.0, 1.05, 1.1, 1.15, 1.2], min_delta=0.1),
        stopped([1.0, 1.05, 1.1, 1.15, 1.2], threshold=0.1),
        stopped([1.0, 1.05, 1.1, 1.15, 1.2], min_delta=0.1, cumulative_delta=True),
        stopped([1.0, 1.06, 1.12, 1.18, 1.2, 1.2], threshold=0.1, cumulative=True), stopped([3.0, 2.0, 1.0, 1.0, 1.0], mode="min"),
        stopped([1.0, 1.2, 1.3, 1.35, 1.36], threshold=0.1, threshold_mode="rel"), stopped([1.0, 1.0, 1.0], 1),
    ]  # fmt: skip


@case
def errors_of_early_stopping():
    engine = Engine(lambda engine, batch: None)
    options = [{"patience": 0}, {"min_delta": -1}, {"threshold": -1}, {"score_function": 3}, {"trainer": 3},
               {"mode": "x"}, {"threshold_mode": "x"}]  # fmt: skip
    usual = {"patience": 2, "score_function": lambda engine: 0.0, "trainer": engine}
    handler = EarlyStopping(**usual)
    deprecated = [{"min_delta": 0.5}, {"cumulative_delta": True}, {"min_delta_mode": "rel"}]
    return [
        [error_of(lambda option=option: EarlyStopping(**{**usual, **option})) for option in options],
        error_of(lambda: handler.load_state_dict({"counter": 1})),
        [warnings_of(lambda option=option: EarlyStopping(**usual, **option)) for option in deprecated],
    ]


@case
def stopped_by_nan():
    results = []
    for batches in ([1.0, float("nan"), 2.0], [1.0, float("inf")], [1.0, 2.0]):
        engine = Engine(lambda engine, batch: {"loss": [torch.tensor(batch), batch]})
        engine.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
        results.append([engine.run(batches).iteration, engine.should_terminate])
    return results


@case
def time_limits():
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED, TimeLimit(3600))
    return engine.run([0] * 3).iteration, error_of(lambda: TimeLimit(-1)), error_of(lambda: TimeLimit("a"))


@case
def counted_by_a_timer():
    engine, timer = Engine(lambda engine, batch: None), Timer(average=True)
    same = timer.attach(
        engine, start=Events.EPOCH_STARTED, resume=Events.ITERATION_STARTED, pause=Events.ITERATION_COMPLETED,
        step=Events.ITERATION_COMPLETED,
    )  # fmt: skip
    engine.run([0] * 4, max_epochs=2)
    return timer.step_count, timer.running, same is timer, timer.value() >= 0


@case
def stored_outputs():
    engine = Engine(lambda engine, batch: (batch, 2 * batch))
    store, named = EpochOutputStore(), EpochOutputStore(lambda output: output[1])
    store.attach(engine)
    named.attach(engine, "outputs")
    engine.run([1, 2], max_epochs=2)
    data = store.data
    store.reset()
    return data, named.data, engine.state.outputs, store.data


@case
def basic_profile():
    engine, profiler = Engine(lambda engine, batch: None), BasicTimeProfiler()

    def count(engine):
        pass

    engine.add_event_handler(Events.ITERATION_COMPLETED, count)
    engine.add_event_handler(Events.EPOCH_COMPLETED(every=2), count)
    profiler.attach(engine)
    engine.run([1, 2, 3], max_epochs=2)
    results = profiler.get_results()
    printed = profiler.print_results(results).splitlines()
    return [
        sorted(results),
        {name: sorted(results[name]) for name in ("processing_stats", "dataflow_stats")},
        {name: sorted(stats) for name, stats in results["event_handlers_stats"].items() if name != "total_time"},
        results["event_handlers_names"],
        [line for line in printed if not any(letter.isdigit() for letter in line)],
    ]


class Fired(EventEnum):
    FIRED = "fired"


@case
def profile_of_handlers():
    engine, profiler = Engine(lambda engine, batch: engine.fire_event(Fired.FIRED)), HandlersTimeProfiler()
    engine.register_events(*Fired)

    class Callable:
        def __call__(self, engine):
            pass

        def method(self, engine):
            pass

    handler = Callable()
    profiler.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: None)
    engine.add_event_handler(Fired.FIRED, handler)
    engine.add_event_handler(Events.EPOCH_COMPLETED, handler.method)
    engine.run([1, 2, 3], max_epochs=2)
    rows = profiler.get_results()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile.csv"
        with contextlib.suppress(ModuleNotFoundError):
            profiler.write_results(str(path))
        lines = path.read_text().splitlines() if path.exists() else []
    return [
        sorted([row[0].rsplit(".", 1)[-1], row[1], len(row)] for row in rows),
        [name for name in sorted(lines[0].replace("profile_of_handlers.<locals>.", "").split(","))] if lines else None,
        len(lines),
    ]


# ---- checkpoints ---------------------------------------------------------------------------------


@case
def names_of_checkpoints():
    results = []
    usual = {"n_saved": 2}
    for options in (
        {}, {"filename_prefix": "best"}, {"score_function": lambda engine: engine.state.output},
        {"score_function": lambda engine: engine.state.output, "score_name": "loss"}, {"score_name": "acc"},
        {"global_step_transform": lambda engine, event: engine.state.epoch}, {"n_saved": None},
        {"score_name": "acc", "global_step_transform": lambda *_: 7, "filename_prefix": "p"}, {"include_self": True},
        {"filename_pattern": "{filename_prefix}_{global_step}-{name}.{ext}", "filename_prefix": "x"},
        {"greater_or_equal": True, "score_function": lambda engine: 1.0, "score_name": "same",
         "global_step_transform": lambda engine, event: engine.state.iteration},
    ):  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            trainer = Engine(lambda engine, batch: batch)
            trainer.state.metrics["acc"] = 0.25
            handler = Checkpoint({"model": make_network(), "trainer": trainer}, folder, **{**usual, **options})
            trainer.add_event_handler(Events.EPOCH_COMPLETED, handler)
            trainer.run([0.5, 0.75, 0.625], max_epochs=3)
            state = handler.state_dict()
            results.append([sorted(os.listdir(folder)), handler.last_checkpoint, state])  # noqa: PTH208
    return results


@case
def model_checkpoints():
    with tempfile.TemporaryDirectory() as folder:
        trainer = Engine(lambda engine, batch: None)
        handler = ModelCheckpoint(folder, "myprefix", n_saved=2, create_dir=True)
        trainer.add_event_handler(Events.EPOCH_COMPLETED(every=2), handler, {"mymodel": make_network()})
        trainer.run([0, 1, 2, 3, 4], max_epochs=6)
        errors = [
            error_of(lambda: ModelCheckpoint(folder, "other")), error_of(lambda: DiskSaver(folder)),
            error_of(lambda: DiskSaver(folder + "/missing", create_dir=False)), error_of(lambda: handler(trainer)),
        ]  # fmt: skip
        return sorted(os.listdir(folder)), handler.last_checkpoint, errors, isinstance(handler, Checkpoint)  # noqa: PTH208


@case
def save_handlers_of_ones_own():
    saved = []
    engine = Engine(lambda engine, batch: None)
    model = make_network()
    for handler in (lambda c, f, m: saved.append([sorted(c), f, dict(m)]), lambda c, f: saved.append([sorted(c), f])):
        Checkpoint({"model": model, "engine": engine}, handler, n_saved=None)(engine)
    return saved


@case
def saved_event():
    with tempfile.TemporaryDirectory() as folder:
        trainer, seen = Engine(lambda engine, batch: None), []
        trainer.register_events(*CheckpointEvents)
        trainer.add_event_handler(Checkpoint.SAVED_CHECKPOINT, lambda engine: seen.append(engine.state.epoch))
        trainer.add_event_handler(Events.EPOCH_COMPLETED(every=2), Checkpoint({"model": make_network()}, folder))
        trainer.run([0], max_epochs=5)
        return seen


@case
def patterns_of_names():
    return [
        Checkpoint.setup_filename_pattern(),
        Checkpoint.setup_filename_pattern(with_prefix=False, with_score=False, with_score_name=False),
        Checkpoint.setup_filename_pattern(with_score_name=False, with_global_step=False),
        error_of(lambda: Checkpoint.setup_filename_pattern(with_score=False)),
        error_of(lambda: Checkpoint.get_default_score_fn("acc", 2.0)),
    ]


# ---- four scripts in the manner of the documentation ---------------------------------------------


@case
def script_tensorboard_classification():
    """Train a classifier on blobs, validate each epoch, log both for TensorBoard, keep the best two models."""
    model = make_network(3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    trainer = make_trainer(model, optimizer)

    def validate(engine, batch):
        model.eval()
        with torch.no_grad():
            return model(batch[0]).argmax(1), batch[1]

    evaluator, validation = Engine(validate), make_batches(5, seed=9)

    @evaluator.on(Events.EPOCH_STARTED)
    def begin(engine):
        engine.state.right = engine.state.total = 0

    @evaluator.on(Events.ITERATION_COMPLETED)
    def count(engine):
        predicted, target = engine.state.output
        engine.state.right += int((predicted == target).sum())
        engine.state.total += len(target)

    @evaluator.on(Events.EPOCH_COMPLETED)
    def finish(engine):
        engine.state.metrics["accuracy"] = engine.state.right / engine.state.total
        engine.state.metrics["norm"] = model[3].weight.norm()

    @trainer.on(Events.EPOCH_COMPLETED)
    def run_validation():
        evaluator.run(validation)

    with tempfile.TemporaryDirectory() as folder, TensorboardLogger(log_dir=f"{folder}/logs") as logger:
        logger.attach_output_handler(
            trainer, Events.ITERATION_COMPLETED(every=5), "training", output_transform=lambda loss: {"batchloss": loss}
        )
        logger.attach_opt_params_handler(trainer, Events.ITERATION_COMPLETED(every=10), optimizer=optimizer)
        logger.attach_output_handler(
            evaluator, Events.EPOCH_COMPLETED, "validation", metric_names=["accuracy"],
            global_step_transform=global_step_from_engine(trainer),
        )  # fmt: skip
        logger.attach(trainer, WeightsScalarHandler(model, whitelist=["3"]), Events.EPOCH_COMPLETED)
        best = ModelCheckpoint(
            f"{folder}/models", n_saved=2, filename_prefix="best", score_name="norm",
            score_function=Checkpoint.get_default_score_fn("norm"),
            global_step_transform=global_step_from_engine(trainer),
        )  # fmt: skip
        evaluator.add_event_handler(Events.COMPLETED, best, {"model": model})
        trainer.run(make_batches(12), max_epochs=4)
        logger.writer.flush()
        kept = sorted(os.listdir(f"{folder}/models"))  # noqa: PTH208
        return logged_scalars(f"{folder}/logs"), kept, best.last_checkpoint


@case
def script_lr_finder():
    """Look for a learning rate, apply it, then train with it."""
    model = make_network(5)
    optimizer = torch.optim.SGD(model.parameters(), lr=3e-4)
    trainer, finder = make_trainer(model, optimizer), FastaiLRFinder()
    to_save = {"model": model, "optimizer": optimizer}
    with finder.attach(trainer, to_save, num_iter=60, end_lr=30.0, diverge_th=1.5) as trainer_with_finder:
        trainer_with_finder.run(make_batches(12))
    finder.apply_suggested_lr(optimizer)
    losses = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
    trainer.run(make_batches(12), max_epochs=2)
    return finder.get_results(), finder.lr_suggestion(), losses, trainer.state.iteration


@case
def script_profilers():
    """Profile a training with a validation in it; only what does not depend on the machine is returned."""
    model = make_network(6)
    trainer = make_trainer(model, torch.optim.SGD(model.parameters(), lr=0.1))
    evaluator = Engine(lambda engine, batch: model(batch[0]))
    basic, detailed = BasicTimeProfiler(), HandlersTimeProfiler()
    basic.attach(trainer)
    detailed.attach(trainer)

    @trainer.on(Events.EPOCH_COMPLETED)
    def log_validation_results(engine):
        evaluator.run(make_batches(2))

    @trainer.on(Events.ITERATION_COMPLETED(every=3))
    def log_training_loss(engine):
        pass

    trainer.run(make_batches(6), max_epochs=2)
    stats, rows = basic.get_results(), detailed.get_results()
    basic.print_results(stats)
    detailed.print_results(rows)
    # Those of the other profiler have names of their own.
    names = sorted(row[0].rsplit(".", 1)[-1] for row in rows)
    names = [name for name in names if not name.startswith("_")]
    return names, sorted(stats["processing_stats"]), stats["processing_stats"]["total"] > 0, trainer.state.output


@case
def script_text_with_warmup_and_ema():
    """Classify bags of letters, with a warm-up into a cosine, an average of the weights, and early stopping."""
    words = "loops events epochs batches handlers engines metrics states tensors schedules".split()
    generator = torch.Generator().manual_seed(4)
    texts = [" ".join(words[int(n)] for n in torch.randint(10, (6,), generator=generator)) for _ in range(64)]
    data = [
        (
            torch.tensor([[ord(letter) - 97 for letter in text.replace(" ", "")[:24]] for text in texts[k : k + 8]]),
            torch.tensor([text.count("s") % 2 for text in texts[k : k + 8]]),
        )
        for k in range(0, 64, 8)
    ]
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Embedding(26, 8), torch.nn.Flatten(), torch.nn.Linear(8 * 24, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    trainer, rates, losses = make_trainer(model, optimizer), [], []
    cosine = CosineAnnealingScheduler(optimizer, "lr", 0.02, 0.0, cycle_size=40)
    scheduler = create_lr_scheduler_with_warmup(
        cosine, warmup_start_value=0.0, warmup_duration=5, warmup_end_value=0.02
    )
    trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)
    average = EMAHandler(model, momentum=0.1, momentum_warmup=0.3, warmup_iters=10)
    average.attach(trainer)

    def validate(engine, batch):
        with torch.no_grad():
            return torch.nn.functional.cross_entropy(average.ema_model(batch[0]), batch[1]).item()

    evaluator, outputs = Engine(validate), EpochOutputStore()
    outputs.attach(evaluator)
    evaluator.add_event_handler(
        Events.COMPLETED, EarlyStopping(2, lambda engine: -sum(outputs.data), trainer, min_delta=0.05)
    )
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(data[:3]) and None)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: rates.append(optimizer.param_groups[0]["lr"]))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: losses.append(e.state.output))
    trainer.run(data, max_epochs=8)
    return rates, losses, outputs.data, trainer.state.iteration, trainer.state.ema_momentum
