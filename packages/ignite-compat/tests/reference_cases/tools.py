"""What the cases share: how they are collected, and small things to train."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from pathlib import Path

import torch

from ignite.engine import Engine, Events

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


def raises(error, function, *args, **kwargs):
    """Return whether a call raises an error of this kind, or of one derived from it."""
    try:
        function(*args, **kwargs)
    except error:
        return True
    except Exception as other:  # noqa: BLE001  # whichever it is
        return repr(other)
    return False


def echo(engine, batch):
    return batch


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
