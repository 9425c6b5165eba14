"""Runs: their limits, how they end and go on, what is saved of them."""

from __future__ import annotations

import random
from itertools import chain

import numpy as np
import torch
from torch.utils.data import DataLoader, SequentialSampler

from ignite.engine import Engine, Events, State
from ignite.engine.deterministic import (
    DeterministicEngine,
    ReproducibleBatchSampler,
    keep_random_state,
    update_dataloader,
)
from ignite.utils import manual_seed
from reference_cases.tools import case, echo, raises


def counts(state):
    return [state.epoch, state.iteration, state.epoch_length, state.max_epochs]


@case
def limits_of_a_run():
    limits = [
        ([1, 2, 3], {}), ([1, 2, 3], {"max_epochs": 2}), ([1, 2, 3], {"max_epochs": 2, "epoch_length": 5}),
        ([1, 2, 3], {"max_iters": 5}), (None, {"max_epochs": 2, "epoch_length": 3}), (range(10), {"epoch_length": 4}),
    ]  # fmt: skip
    return {
        "counts": [counts(Engine(echo).run(data, **each)) for data, each in limits],
        "wrong": [
            raises(ValueError, Engine(echo).run, []),
            raises(ValueError, Engine(echo).run, [1], max_epochs=2, max_iters=3),
            raises(ValueError, Engine(echo).run, None, max_epochs=1),
            raises(TypeError, Engine(echo).run, 5),
        ],
    }


@case
def going_on_with_more_epochs():
    engine = Engine(echo)
    seen = [counts(engine.run([1, 2, 3], max_epochs=each)) for each in (2, 4)]
    seen.append(raises(ValueError, engine.run, [1, 2, 3], max_epochs=2))
    seen.append(counts(engine.run([1, 2, 3])))
    return seen


@case
def what_a_state_holds():
    fresh, engine = State(), Engine(echo)
    engine.state.alpha = 0.5
    engine.run([1, 2], max_epochs=2)
    names = ("iteration", "epoch", "epoch_length", "max_epochs", "max_iters", "batch", "output", "metrics", "seed")
    values = [engine.state.get_event_attrib_value(event) for event in (Events.EPOCH_STARTED, Events.ITERATION_STARTED)]
    return {
        "fresh": {name: getattr(fresh, name) for name in names},
        "times": [value is not None for value in engine.state.times.values()],
        "values": values,
        "kept": [engine.state.alpha, State(alpha=1).alpha],
        "no counter": raises(RuntimeError, engine.state.get_event_attrib_value, Events.EXCEPTION_RAISED),
        "text": str(engine.state).splitlines()[0],
    }


@case
def saved_states_of_engines():
    engine = Engine(echo)
    engine.state_dict_user_keys.append("alpha")
    engine.state.alpha = 0.5
    engine.run([1, 2, 3], max_epochs=2)
    saved, loaded = engine.state_dict(), Engine(echo)
    loaded.state_dict_user_keys.append("alpha")
    loaded.load_state_dict(saved)
    whole = {"epoch": 2, "max_epochs": 5, "epoch_length": 4}
    resumed, epochs = Engine(echo), []
    resumed.load_state_dict(whole)
    resumed.add_event_handler(Events.EPOCH_STARTED, lambda: epochs.append(resumed.state.epoch))
    resumed.run(range(4))
    wrong = [{}, {"iteration": 1, **whole}, {"max_epochs": 5, "epoch_length": 4}]
    return {
        "saved": dict(sorted(saved.items())),
        "loaded": [*counts(loaded.state), loaded.state.alpha],
        "resumed": [epochs, counts(resumed.state)],
        "wrong": [raises(ValueError, Engine(echo).load_state_dict, each) for each in wrong],
        "user key": raises(ValueError, loaded.load_state_dict, whole),
        "no mapping": raises(TypeError, Engine(echo).load_state_dict, "a"),
    }


@case
def runs_that_end_early():
    seen = {}
    for how in ("terminate", "terminate_epoch", "interrupt"):
        engine, fired = Engine(echo), []
        for event in (Events.TERMINATE, Events.INTERRUPT, Events.EPOCH_COMPLETED, Events.COMPLETED):
            engine.add_event_handler(event, lambda engine, fired=fired: fired.append(str(engine.last_event_name)))
        note = fired.append
        engine.add_event_handler(
            Events.TERMINATE_SINGLE_EPOCH, lambda engine, iter_counter, note=note: note(iter_counter)
        )
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda engine, how=how: getattr(engine, how)())
        seen[how] = [counts(engine.run(range(4), max_epochs=2)), fired]
    engine, completed = Engine(echo), []
    engine.add_event_handler(Events.COMPLETED, lambda: completed.append(True))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: engine.terminate(skip_completed=True))
    engine.run(range(4))
    return {**seen, "without completed": completed, "flag": bool(engine.should_terminate)}


@case
def data_that_changes():
    batches = {"set": [], "iterator": [], "restarted": []}
    engine = Engine(lambda engine, batch: batches["set"].append(batch))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: engine.set_data([10, 11, 12, 13]))
    engine.run([1, 2, 3, 4], max_epochs=2)
    once = Engine(lambda engine, batch: batches["iterator"].append(batch))
    once.run(iter(range(5)), max_epochs=1)
    again = Engine(lambda engine, batch: batches["restarted"].append(batch))
    again.add_event_handler(Events.DATALOADER_STOP_ITERATION, lambda: again.set_data(iter(range(3))))
    again.run(iter(range(3)), max_epochs=3, epoch_length=3)
    return [batches, once.state.epoch_length]


@case
def engines_inside_engines():
    trainer, evaluator, seen = Engine(echo), Engine(echo), []

    @trainer.on(Events.EPOCH_COMPLETED(every=2))
    def evaluate(engine):
        evaluator.run([1, 2])
        seen.append([engine.state.epoch, evaluator.state.iteration])

    trainer.run([1, 2, 3], max_epochs=4)
    return seen


@case
def errors_in_steps():
    def fail(engine, batch):
        raise ZeroDivisionError("in the step")

    plain, noted, seen = Engine(fail), Engine(fail), []

    @noted.on(Events.EXCEPTION_RAISED)
    def note(engine, error):
        seen.append(type(error).__name__)
        raise error

    return [raises(ZeroDivisionError, plain.run, [1]), raises(ZeroDivisionError, noted.run, [1]), seen[0]]


@case
def batch_samplers_that_repeat():
    loader = DataLoader(list(range(10)), batch_size=3, shuffle=True)
    sampler = ReproducibleBatchSampler(loader.batch_sampler)
    passes = []
    for _ in range(2):
        torch.manual_seed(1)
        passes.append(list(sampler))
    torch.manual_seed(1)
    rest = list(ReproducibleBatchSampler(loader.batch_sampler, start_iteration=2))
    ordered = DataLoader(list(range(10)), batch_size=3)
    updated = update_dataloader(ordered, ReproducibleBatchSampler(ordered.batch_sampler))
    return [
        len(sampler), passes[0] == passes[1], passes[0][2:] == rest, sorted(chain(*passes[0])),
        [batch.tolist() for batch in updated], isinstance(updated, DataLoader), type(updated.batch_sampler).__name__,
        [raises(TypeError, ReproducibleBatchSampler, each) for each in (5, SequentialSampler(range(3)))],
    ]  # fmt: skip


@case
def seeds_and_random_states():
    def draw():
        return [torch.rand(1).item(), random.random(), np.random.rand()]

    @keep_random_state
    def disturb():
        """Draw."""
        draw()

    manual_seed(12)
    first = draw()
    manual_seed(12)
    disturb()
    return [first, draw() == first, disturb.__name__, disturb.__doc__]


@case
def deterministic_runs():
    def train(max_epochs, state=None):
        batches, saved = [], {}
        engine = DeterministicEngine(lambda engine, batch: batches.append(batch.tolist()))
        engine.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda: saved.update(engine.state_dict()))
        if state is not None:
            engine.load_state_dict(state)
        torch.manual_seed(3)
        loader = DataLoader(torch.arange(12), batch_size=4, shuffle=True, num_workers=1)
        engine.run(loader, max_epochs=max_epochs)
        return batches, saved

    whole, saved = train(3)
    rest, _ = train(3, saved)
    return [
        len(whole), [sorted(chain(*whole[n : n + 3])) for n in (0, 3, 6)], whole[3:] == rest,
        "rng_states" in saved, isinstance(DeterministicEngine(echo), Engine),
        raises(ValueError, DeterministicEngine(echo).run, None, max_epochs=1, epoch_length=2),
    ]  # fmt: skip
