"""Trainings to audit: one that resumes exactly, and others that each have forgotten something."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from every_kind import unseen_number
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from camshaft.deterministic import DeterministicEngine
from camshaft.deterministic.testing import AuditedRun
from camshaft.engine import Engine, Events

SIZE = 12


class Rows(Dataset):
    def __len__(self):
        return SIZE

    def __getitem__(self, index):
        return torch.full((3,), float(index)) / SIZE + 0.1 * torch.randn(3)


class CountingRows(Rows):
    """Gives each sample more weight than the one before."""

    def __init__(self):
        self.count = 0

    def __getitem__(self, index):
        self.count += 1
        return super().__getitem__(index) * (1 + self.count / 100)


class Turn:
    step = 1


class Remembering(Sampler):
    """Gives the indices in the other direction each time; what it remembers is in the first of many objects."""

    def __init__(self):
        self.turns = [Turn() for _ in range(100)]

    def __iter__(self):
        self.turns[0].step *= -1
        return iter(range(SIZE)[:: self.turns[0].step])

    def __len__(self):
        return SIZE


class Training:
    """A small training whose parts can be changed before it runs."""

    def __init__(self, dataset: Any = None, **loader: Any) -> None:
        self.model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.3), nn.Tanh(), nn.Linear(4, 1))
        self.optimizer: Any = torch.optim.SGD(self.model.parameters(), 0.1, momentum=0.9)
        self.loader = DataLoader(
            dataset or Rows(), 3, **({"shuffle": True} if "sampler" not in loader else {}), **loader
        )
        self.engine: Engine = DeterministicEngine(self.step)
        self.to_save = {"engine": self.engine, "model": self.model, "optimizer": self.optimizer}

    def step(self, engine: Any, batch: Any) -> float:
        self.optimizer.zero_grad()
        loss = self.model(batch).square().mean()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def audited(self, **others: Any) -> AuditedRun:
        return AuditedRun(self.engine, lambda: self.engine.run(self.loader, max_epochs=3), self.to_save, others)


def exact(folder):
    """Forget nothing: an average, a schedule and a count are saved."""
    training = Training()
    average = AveragedModel(training.model)
    schedule = torch.optim.lr_scheduler.StepLR(training.optimizer, 2, 0.5)
    training.to_save |= {"average": average, "schedule": schedule}
    training.engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: average.update_parameters(training.model))
    training.engine.add_event_handler(Events.EPOCH_COMPLETED, schedule.step)
    training.engine.state.best = 1.0
    training.engine.state_dict_user_keys.append("best")

    @training.engine.on(Events.ITERATION_COMPLETED)
    def note_best(engine):
        engine.state.best = min(engine.state.best, engine.state.output)

    return training.audited()


def average_not_saved(folder):
    training = Training()
    smooth = {"loss": 0.0}

    @training.engine.on(Events.ITERATION_COMPLETED)
    def smoothen(engine):
        smooth["loss"] = 0.9 * smooth["loss"] + 0.1 * engine.state.output

    return training.audited()


def schedule_not_saved(folder):
    training = Training()
    schedule = torch.optim.lr_scheduler.LambdaLR(training.optimizer, lambda step: 1 / (1 + step))
    training.engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: schedule.step())
    return training.audited()


def collate_with_generator(folder):
    hidden = np.array([np.random.default_rng(7)])  # nobody looks for generators in an array
    return Training(collate_fn=lambda samples: default_collate(samples) + hidden[0].random()).audited()


def dataset_that_counts(folder):
    return Training(CountingRows()).audited()


def sampler_with_memory(folder):
    return Training(sampler=Remembering()).audited()


def moving_average_not_saved(folder):
    training = Training()
    average = AveragedModel(training.model)
    training.engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: average.update_parameters(training.model))
    return training.audited()


class PrivateDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, x):
        return x * (torch.rand(x.shape, generator=self.generator) > 0.5)


def dropout_from_private_generator(folder):
    training = Training()
    training.model[1] = PrivateDropout()
    return training.audited()


def scaler_not_saved(folder):
    training = Training()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)

    def step(engine, batch):
        training.optimizer.zero_grad()
        loss = training.model(batch).square().mean()
        scaler.scale(loss).backward()
        scaler.step(training.optimizer)
        scaler.update()
        return loss.item()

    training.engine.process_function = step
    return training.audited()


def optimizer_not_saved(folder):
    training = Training()
    del training.to_save["optimizer"]
    return training.audited()


class Every:
    """Scales the parameters at every third call."""

    def __init__(self, model):
        self.model = model
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls % 3 == 0:
            with torch.no_grad():
                self.model[0].weight.mul_(0.9)


def handler_with_a_count(folder):
    training = Training()
    training.engine.add_event_handler(Events.ITERATION_COMPLETED, Every(training.model))
    return training.audited()


def attribute_of_the_state(folder):
    training = Training()
    training.engine.state.worst = 0.0

    @training.engine.on(Events.ITERATION_COMPLETED)
    def note_worst(engine):
        engine.state.worst = max(engine.state.worst, engine.state.output)

    return training.audited()


class CountingModel(nn.Module):
    """Counts its steps beside what it saves."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.steps = 0
        self.register_buffer("last", torch.zeros(1), persistent=False)

    def forward(self, x):
        self.steps += 1
        out = self.inner(x) * (1 + self.steps / 50)
        self.last = out.detach().mean()[None]
        return out


def model_that_counts(folder):
    training = Training()
    training.model = training.to_save["model"] = CountingModel(training.model)
    return training.audited()


def _shrink(training, factor):
    with torch.no_grad():
        training.model[0].weight.mul_(factor)


def attribute_of_an_evaluator(folder):
    training, evaluator = Training(), Engine(lambda engine, batch: batch)
    evaluator.best = 0.0

    @training.engine.on(Events.EPOCH_COMPLETED)
    def evaluate(engine):
        evaluator.run([1])
        evaluator.best += 0.1
        _shrink(training, 1 - evaluator.best)

    return training.audited()


def state_of_an_evaluator(folder):
    training, evaluator = Training(), Engine(lambda engine, batch: batch)
    evaluator.state.rounds = []

    @training.engine.on(Events.EPOCH_COMPLETED)
    def evaluate(engine):
        evaluator.state.rounds.append(engine.state.output)
        _shrink(training, 1 / len(evaluator.state.rounds))

    return training.audited()


def attribute_of_an_optimizer(folder):
    training = Training()
    training.optimizer.turns = 0

    @training.engine.on(Events.ITERATION_COMPLETED)
    def turn(engine):
        training.optimizer.turns += 1
        _shrink(training, 1 - training.optimizer.turns / 100)

    return training.audited()


def attribute_of_a_function(folder):
    training = Training()

    @training.engine.on(Events.ITERATION_COMPLETED)
    def turn(engine):
        turn.calls += 1
        _shrink(training, 1 - turn.calls / 100)

    turn.calls = 0
    return training.audited()


_turns = 0


def variable_of_the_module(folder):
    global _turns  # noqa: PLW0603  # as scripts do
    _turns = 0
    training = Training()

    @training.engine.on(Events.ITERATION_COMPLETED)
    def turn(engine):
        global _turns  # noqa: PLW0603
        _turns += 1
        _shrink(training, 1 - _turns / 100)

    return training.audited()


def count_in_a_closure(folder):
    training, calls = Training(), itertools.count(1)
    training.engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: _shrink(training, 1 - next(calls) / 100))
    return training.audited()


def generator_in_a_closure(folder):
    training = Training()

    def factors():
        factor = 1.0
        while True:
            factor *= 0.99
            yield factor

    falling = factors()
    training.engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: _shrink(training, next(falling)))
    return training.audited()


def iterator_over_a_list(folder):
    training = Training()
    falling = iter([1 - step / 100 for step in range(20)])
    training.engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: _shrink(training, next(falling)))
    return training.audited()


def item_of_a_long_list(folder):
    training = Training()
    factors = [1.0] * 200

    @training.engine.on(Events.ITERATION_COMPLETED)
    def turn(engine):
        factors[150] *= 0.99
        _shrink(training, factors[150])

    return training.audited()


def _at_the_third_iteration(change):
    training = Training()
    training.engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: change(training.model))
    return training.audited()


def frozen_layer(folder):
    return _at_the_third_iteration(lambda model: model[0].requires_grad_(requires_grad=False))


def layer_in_evaluation(folder):
    return _at_the_third_iteration(lambda model: model[1].eval())


def changed_dropout(folder):
    return _at_the_third_iteration(lambda model: setattr(model[1], "p", 0.6))


def count_in_a_file(folder):
    training = Training()
    file = folder / "count.txt"
    file.write_text(file.read_text() if file.exists() else "0")

    @training.engine.on(Events.ITERATION_COMPLETED)
    def turn(engine):
        file.write_text(str(int(file.read_text()) + 1))
        _shrink(training, 1 - int(file.read_text()) / 100)

    return training.audited()


class Meter:
    def __init__(self):
        self.calls = 0


class MeasuredModel(nn.Module):
    """Counts its steps in an object."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.meter = inner, Meter()

    def forward(self, x):
        self.meter.calls += 1
        return self.inner(x) * (1 + self.meter.calls / 50)


def object_in_a_model(folder):
    training = Training()
    training.model = training.to_save["model"] = MeasuredModel(training.model)
    return training.audited()


def iterable_that_shuffles_secretly(folder):
    training = Training()
    training.loader = (torch.full((2, 3), unseen_number() / 2**32) for _ in range(4))
    training.audited()
    run = training.engine.run
    return AuditedRun(training.engine, lambda: run(training.loader, epoch_length=4), training.to_save)


# Each with what the audit has to name.
FAULTS: dict[Callable[..., AuditedRun], str] = {
    average_not_saved: "smooth['loss']",
    schedule_not_saved: "schedule` (`LambdaLR`): add it to `to_save`",
    collate_with_generator: "",
    dataset_that_counts: "CountingRows.count",
    sampler_with_memory: "Turn.step",
    moving_average_not_saved: "average` (`AveragedModel`): add it to `to_save`",
    dropout_from_private_generator: "model['1.generator (random generator)']",
    scaler_not_saved: "scaler` (`GradScaler`): add it to `to_save`",
    optimizer_not_saved: "optimizer` (`SGD`): add it to `to_save`",
    handler_with_a_count: "`Every.calls`: give `Every` `state_dict`",
    attribute_of_the_state: "engine.state['worst']",
    model_that_counts: "model['steps']",
    object_in_a_model: "`Meter.calls`: give `Meter` `state_dict`",
    attribute_of_an_evaluator: "evaluator.best`: keep it in `engine.state`",
    state_of_an_evaluator: "evaluator.state.rounds",
    attribute_of_an_optimizer: "optimizer.turns`",
    attribute_of_a_function: "turn().calls`: keep it in `engine.state`",
    variable_of_the_module: "turn()._turns`: keep it in `engine.state`",
    count_in_a_closure: "calls (iterator)`: where it stands is not saved; count in `engine.state` instead",
    generator_in_a_closure: "factors().factor`",
    iterator_over_a_list: "falling (iterator)",
    item_of_a_long_list: "turn().factors",
    frozen_layer: "model['0.weight.requires_grad']",
    layer_in_evaluation: "model['1.training']",
    changed_dropout: "`model['1.p']`: `model` is in `to_save`, its `state_dict()` lacks this",
    count_in_a_file: "count.txt",
}


def forgets_to_return(folder):
    exact(folder)


def fails(folder):
    print("printed on the way")  # noqa: T201  # as trainings do
    raise OSError("the data is not there")


def two_iterations(folder):
    engine = DeterministicEngine(lambda engine, batch: batch)
    return AuditedRun(engine, lambda: engine.run([1, 2]), {"engine": engine})


def exits_at_once(folder):
    raise SystemExit(0)


def exits_at_the_end(folder):
    run = exact(folder)
    return AuditedRun(run.engine, lambda: (run.start(), sys.exit(0)), run.to_save)


def ends_its_process(folder):
    os._exit(0)


def interrupts_itself(folder):
    raise KeyboardInterrupt
