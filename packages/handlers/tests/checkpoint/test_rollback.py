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


class Holder:
    """Keeps one tensor, and takes over what it is given or refuses it."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def state_dict(self) -> dict[str, Any]:
        return {"again": [self.tensor]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.tensor.data = state["again"][0].detach().clone()


def odd_tensors() -> list[Any]:
    torch = pytest.importorskip("torch")

    class Marked(torch.Tensor):  # type: ignore[misc, name-defined]  # torch is a value here
        """A tensor of a class of its own, which cannot be deep-copied."""

    ones = torch.ones(3)
    return [
        ones.as_subclass(Marked),
        torch.ones(3, requires_grad=True) * 1,
        torch.eye(3).to_sparse(),
        torch.eye(3).to_sparse_csr(),
        torch.ones(3, dtype=torch.bfloat16),
        torch.ones(3, dtype=torch.complex64),
        torch.ones(2, 3).t(),
        torch.tensor(1.0),
    ]


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
def test_a_tensor_of_any_kind_that_is_given_other_memory_is_put_back() -> None:
    for tensor in odd_tensors():
        target, snapshot = Holder(tensor), Snapshot()
        before, kind = tensor.detach().clone(), type(tensor)
        snapshot.add(target)
        target.load_state_dict({"again": [tensor.detach() * 7]})

        assert snapshot.restore() == [], kind
        assert target.tensor is tensor
        assert (type(tensor), tensor.dtype, tensor.layout) == (kind, before.dtype, before.layout)
        assert tensor.detach().to_dense().tolist() == before.to_dense().tolist()


def test_a_tensor_that_was_given_another_shape_is_put_back_and_shares_its_memory_again() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(4.0)
    view, target, snapshot = tensor[1:], Holder(tensor), Snapshot()
    snapshot.add(target)
    target.load_state_dict({"again": [torch.ones(2, 2)]})

    assert snapshot.restore() == []
    assert tensor.tolist() == [0.0, 1.0, 2.0, 3.0]
    view.fill_(5.0)
    assert tensor.tolist() == [0.0, 5.0, 5.0, 5.0]


def test_a_lazy_module_is_loaded_and_is_put_back_without_a_shape() -> None:
    torch = pytest.importorskip("torch")
    for lazy, whole in (
        (torch.nn.LazyLinear(3), torch.nn.Linear(2, 3)),
        (torch.nn.LazyBatchNorm1d(), torch.nn.BatchNorm1d(4)),
    ):
        snapshot = Snapshot()
        snapshot.add(lazy)
        lazy.load_state_dict(whole.state_dict())

        assert snapshot.restore() == []
        assert lazy.has_uninitialized_params()
        lazy.load_state_dict(whole.state_dict())
        assert not lazy.has_uninitialized_params()
        assert torch.equal(lazy.weight, whole.weight)
