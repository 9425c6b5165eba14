from __future__ import annotations

import random
from collections import defaultdict, deque
from typing import Any

import pytest

from camshaft.engine import Engine
from camshaft.handlers.checkpoint._rollback import Snapshot


class Plain:
    """Keeps its state in containers that are changed in place."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {"list": [1, [2]], "set": {3}, "deque": deque([4]), "more": defaultdict(int, a=5)}
        self.pair = ([6], 7)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take nothing over."""


class Hidden:
    """Keeps its state where no attribute shows it."""

    def __init__(self) -> None:
        self.random = random.Random(1)

    def state_dict(self) -> dict[str, Any]:
        return {"random": self.random.getstate()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.random.setstate(state["random"])


def test_containers_get_their_content_back_and_stay_the_same_objects() -> None:
    target = Plain()
    values, inner, snapshot = target.values, target.values["list"][1], Snapshot()
    snapshot.add(target)

    target.values["list"].append(9)
    inner.append(9)
    target.values["set"].clear()
    target.values["deque"].extend([9, 9])
    target.values["more"]["b"] = 9
    target.pair[0].append(9)
    target.values = {}
    target.extra = 9  # type: ignore[attr-defined] # a state may bring attributes of its own

    assert snapshot.restore() == []
    assert target.values is values
    assert target.values["list"][1] is inner
    assert vars(target) == vars(Plain())


def test_a_state_that_no_attribute_shows_is_loaded_back() -> None:
    target, snapshot = Hidden(), Snapshot()
    snapshot.add(target)
    target.random.random()

    assert snapshot.restore() == []
    assert random.Random(1).random() == target.random.random()


def test_objects_inside_objects_are_put_back_too() -> None:
    outer, inner, snapshot = Plain(), Plain(), Snapshot()
    outer.values["inner"] = [inner]
    snapshot.add(outer)
    inner.values.clear()

    assert snapshot.restore() == []
    assert inner.values.keys() == Plain().values.keys()


def test_what_refers_to_itself_is_recorded_once() -> None:
    target, snapshot = Plain(), Snapshot()
    target.values["self"] = target
    snapshot.add(target)
    snapshot.add(target)
    target.values.clear()

    assert snapshot.restore() == []
    assert target.values["self"] is target


def test_engines_and_their_state_are_put_back() -> None:
    engine, snapshot = Engine(lambda engine, batch: None), Snapshot()
    engine.run([1, 2, 3])
    state, before = engine.state, dict(vars(engine.state))
    snapshot.add(engine)
    engine.load_state_dict({"iteration": 1, "max_epochs": 9, "epoch_length": 3})

    assert snapshot.restore() == []
    assert engine.state is state
    assert before == vars(state)
    assert engine.state_dict()["iteration"] == 3


def test_an_object_that_cannot_be_put_back_does_not_keep_the_others_from_it() -> None:
    class Refuses(Plain):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise RuntimeError("no way back")

    refuses, plain, snapshot = Refuses(), Plain(), Snapshot()
    snapshot.add(plain)
    snapshot.add(refuses)
    plain.values.clear()
    refuses.values.clear()

    assert [str(problem) for problem in snapshot.restore()] == ["no way back"]
    assert vars(plain) == vars(Plain())
    assert vars(refuses) == vars(Plain())


def test_tensors_are_put_back_in_place() -> None:
    torch = pytest.importorskip("torch")
    model, snapshot = torch.nn.BatchNorm1d(3), Snapshot()
    weight, meta = model.weight, torch.nn.Linear(2, 1, device="meta")
    snapshot.add(model)
    snapshot.add(meta)
    model.load_state_dict({**model.state_dict(), "weight": torch.full((3,), 7.0), "running_mean": torch.ones(3)})

    assert snapshot.restore() == []
    assert model.weight is weight
    assert weight.tolist() == [1.0, 1.0, 1.0]
    assert model.running_mean.tolist() == [0.0, 0.0, 0.0]


def test_the_precision_of_an_optimizer_state_survives() -> None:
    torch = pytest.importorskip("torch")
    parameter = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    optimizer, snapshot = torch.optim.SGD([parameter], lr=0.1, momentum=0.9), Snapshot()
    precise = torch.tensor([1 / 3, 2 / 3], dtype=torch.float64)
    optimizer.state[parameter]["momentum_buffer"] = precise
    snapshot.add(optimizer)
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.state[parameter]["momentum_buffer"].dtype == torch.bfloat16

    assert snapshot.restore() == []
    assert optimizer.state[parameter]["momentum_buffer"] is precise
    assert precise.tolist() == [1 / 3, 2 / 3]
