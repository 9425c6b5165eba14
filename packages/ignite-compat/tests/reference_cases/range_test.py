"""The range test of the learning rate."""

from __future__ import annotations

import contextlib

import torch

from ignite.engine import Engine
from ignite.handlers import (
    FastaiLRFinder,
)
from reference_cases.tools import case, error_of, make_batches, make_network, make_optimizer, make_trainer


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
