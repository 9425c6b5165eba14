"""Load malformed states of engines, and checkpoints of which one object refuses its part: nothing may change.

A malformed state is a good one with one entry missing, unknown or out of its range; it must be refused with the
entry in the text. A partial load is a checkpoint of several objects of which one cannot take what is there.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from outcome import Outcome
from torch import nn

from camshaft.deterministic import DeterministicEngine
from camshaft.engine import Engine, EngineWarning, Events
from camshaft.handlers import Checkpoint, DiskSaver, NoCheckpointError, restore_latest

Malformed = tuple[str, dict[str, Any]]  # what the text must name, and the state

NO_COUNTS = (-1, 2.5, True, float("nan"), float("inf"), "3", [3], None)
NO_FLAGS = (1, None, "yes")
COUNTS = ("epoch", "epoch_iteration", "data_pass", "batch")
FLAGS = ("pass_open", "over", "awaits_data", "skips_epoch_completed")


def stopped(kind: type[Engine[Any, Any]]) -> Engine[Any, Any]:
    """Return an engine that was stopped in the middle of its second epoch, behind a first one that was cut short."""
    engine = kind(lambda engine, batch: batch)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate_epoch)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=4), engine.terminate)
    engine.run([1, 2, 3], max_epochs=4, seed=7)
    return engine


def malformed(good: Mapping[str, Any]) -> Iterator[Malformed]:
    """Yield states that are like `good` but for one entry."""
    top, position = dict(good), dict(good["position"])
    for key in ("iteration", "epoch_length", "max_epochs", "position"):
        yield key, {name: value for name, value in top.items() if name != key} | ({} if key != "position" else {key: 3})
        for value in NO_COUNTS:
            if (key, value) != ("epoch_length", None):  # not known yet: an honest state
                yield key, {**top, key: value}
    for key in COUNTS:
        for value in NO_COUNTS:
            yield key, {**top, "position": {**position, key: value}}
        yield key, {**top, "position": {name: value for name, value in position.items() if name != key}}
        if key != "data_pass":  # any number of passes may have been empty
            yield key, {**top, "position": {**position, key: 10**6}}
    for key in FLAGS:
        for value in NO_FLAGS:
            yield key, {**top, "position": {**position, key: value}}
    for value in ("NO_EVENT", "STARTED", 3, None):
        yield "stage", {**top, "position": {**position, "stage": value}}
    yield "nonsense", {**top, "nonsense": 1}
    yield "nonsense", {**top, "position": {**position, "nonsense": 1}}
    yield "epoch", {**top, "epoch": 1}
    yield "max_iters", {**top, "max_iters": 12}
    yield "iteration", {**top, "iteration": 13}
    yield "seed", {**top, "seed": 1.5}
    yield "stateful", {**top, "stateful": {"unknown": {}}}


def refusals(kind: type[Engine[Any, Any]]) -> Iterator[str]:
    """Yield, for each malformed state, what went wrong; an empty text if nothing did."""
    engine = stopped(kind)
    good = engine.state_dict()
    for key, state in malformed(good):
        before = repr((engine.state_dict(), vars(engine.state)))
        problem = ""
        try:
            engine.load_state_dict(deepcopy(state))
        except ValueError as error:
            problem = "" if key in str(error) else f"{key} is not named in {error}"
        else:
            problem = f"a malformed {key} was taken"
        if repr((engine.state_dict(), vars(engine.state))) != before:
            problem += f"; a malformed {key} has changed the engine"
        yield f"{kind.__name__}: {problem}" if problem else ""


class Refusing:
    """An object that takes a state half, and then refuses the rest."""

    def __init__(self) -> None:
        self.values = [1, 2]

    def state_dict(self) -> dict[str, Any]:
        return {"values": list(self.values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values[0] = 99
        raise ValueError("the rest of it does not fit")


def training(refusing: int, *, has_wide_model: bool = False) -> dict[str, Any]:
    """Return objects of several kinds; number `refusing` of them is one that refuses."""
    torch.manual_seed(refusing)
    model = nn.Sequential(nn.Linear(3, 4 if has_wide_model else 3), nn.BatchNorm1d(4 if has_wide_model else 3))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(5, 3)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    objects: list[Any] = [model, optimizer, scheduler, stopped(Engine), stopped(DeterministicEngine)]
    if refusing < len(objects) and not has_wide_model:
        objects[refusing] = Refusing()
    return {f"object_{place}": each for place, each in enumerate(objects)}


def partial_loads() -> Iterator[str]:
    """Yield, for each load that cannot be completed, what went wrong; an empty text if nothing did."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore", EngineWarning)
        engine: Engine[None, None] = Engine(lambda engine, batch: None)
        saver = DiskSaver(name)
        handler = Checkpoint(training(9), saver)
        handler(engine)
        path = Path(str(handler.last_checkpoint))
        for place in range(6):
            for way in ("load_objects", "restore_latest"):
                # The last one is a model of another shape.
                objects = training(place, has_wide_model=place == 5)
                before = repr({key: described(each) for key, each in objects.items()})
                try:
                    if way == "load_objects":
                        Checkpoint.load_objects(objects, path)
                    else:
                        restore_latest(name, objects)
                except (ValueError, RuntimeError, NoCheckpointError):
                    unchanged = repr({key: described(each) for key, each in objects.items()}) == before
                    yield "" if unchanged else f"{way} has changed objects although number {place} refused"
                else:
                    yield f"{way} was done although number {place} refused"


def described(thing: Any) -> Any:
    """Return everything that an object would save, tensors down to their bits."""
    state = thing.values if isinstance(thing, Refusing) else thing.state_dict()
    return _bits(state)


def _bits(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.dtype, value.tolist()
    if isinstance(value, Mapping):
        return {key: _bits(each) for key, each in value.items()}
    return [_bits(each) for each in value] if isinstance(value, list | tuple) else value


def run(full: bool) -> Outcome:
    """Try all of them, in the slice those of plain engines only."""
    kinds: list[type[Engine[Any, Any]]] = [Engine, DeterministicEngine] if full else [Engine]
    states = [problem for kind in kinds for problem in refusals(kind)]
    loads = list(partial_loads())
    losses = [problem for problem in (*states, *loads) if problem]
    detail = "; ".join(losses) or f"{len(states)} malformed states, {len(loads)} partial loads"
    return Outcome("G11 refused states", len(states) + len(loads), len(losses), detail)
