from __future__ import annotations

import copy
import random

import pytest

from camshaft.handlers._restored import restored, restored_generators

torch = pytest.importorskip("torch")


def same(left, right):
    """Return whether two nested values are equal, their tensors bit by bit, with type and device."""
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and left.device == right.device and torch.equal(left, right)
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def trained(make_optimizer, dtype=torch.float32):
    """Return a model and its optimizer after one step."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2, dtype=dtype)
    optimizer = make_optimizer(model.parameters())
    step(model, optimizer)
    return model, optimizer


def step(model, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(4, 3, dtype=model.weight.dtype)).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)


OPTIMIZERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "Adam": lambda parameters: torch.optim.Adam(parameters, amsgrad=True),
    "capturable": lambda parameters: torch.optim.Adam(parameters, lr=torch.tensor(1e-3)),
    "LBFGS": lambda parameters: torch.optim.LBFGS(parameters, max_iter=3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_optimizer_is_put_back_bit_by_bit(name, dtype):
    model, optimizer = trained(OPTIMIZERS[name], dtype)
    before = copy.deepcopy(optimizer.state_dict())

    with restored(model, optimizer):
        step(model, optimizer)
        assert not same(before, optimizer.state_dict())

    assert same(before, optimizer.state_dict())


def test_a_state_keeps_a_type_that_is_not_the_parameters():
    model, optimizer = trained(OPTIMIZERS["SGD"], torch.bfloat16)
    for entry in optimizer.state.values():
        entry["momentum_buffer"] = entry["momentum_buffer"].float() + 1e-4  # no bfloat16 holds it
    before = copy.deepcopy(optimizer.state_dict())

    with restored(model, optimizer):
        step(model, optimizer)

    assert [entry["momentum_buffer"].dtype for entry in optimizer.state.values()] == [torch.float32] * 2
    assert same(before, optimizer.state_dict())


def test_a_state_keeps_a_device_that_is_not_the_parameters():
    model, optimizer = trained(OPTIMIZERS["SGD"])
    away = torch.zeros(2, 3, device="meta")
    optimizer.state[model.weight]["elsewhere"] = away

    with restored(model, optimizer):
        optimizer.state[model.weight].clear()

    assert optimizer.state[model.weight]["elsewhere"] is away


def test_an_optimizer_keeps_its_own_tensors_and_parameter_groups():
    model, optimizer = trained(OPTIMIZERS["Adam"])
    state, groups, group = optimizer.state, optimizer.param_groups, optimizer.param_groups[0]
    addresses = [entry["exp_avg"].data_ptr() for entry in state.values()]
    extra = torch.nn.Parameter(torch.zeros(1))

    with restored(model, optimizer):
        optimizer.add_param_group({"params": [extra], "lr": 1.0})
        group["lr"], group["new"] = 5.0, 1
        optimizer.state[extra]["exp_avg"] = torch.zeros(1)

    assert optimizer.state is state
    assert optimizer.param_groups is groups
    assert len(groups) == 1
    assert groups[0] is group
    assert (group["lr"], "new" in group, extra in state) == (1e-3, False, False)
    assert [entry["exp_avg"].data_ptr() for entry in state.values()] == addresses


def test_an_optimizer_that_has_no_state_yet_has_none_afterwards():
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())

    with restored(model, optimizer):
        step(model, optimizer)

    assert dict(optimizer.state) == {}


class Slow(torch.optim.SGD):
    """An optimizer with a state of its own beside torch's."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=0.1)
        self.calls = 0

    def step(self, closure=None):
        self.calls += 1
        return super().step(closure)

    def state_dict(self):
        return super().state_dict() | {"calls": self.calls}

    def load_state_dict(self, state_dict):
        self.calls = state_dict["calls"]
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "calls"})


def test_an_optimizers_own_state_is_put_back_too():
    model, optimizer = trained(Slow)

    with restored(model, optimizer):
        step(model, optimizer)

    assert optimizer.calls == 1


class Statistics(torch.nn.Module):
    """A module that replaces a buffer, fills one that is not saved, and counts."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("recent", torch.zeros(2), persistent=False)
        self.register_buffer("late", None)
        self.count = 0

    def forward(self, x):
        self.mean = self.mean * 0.5 + x.double().mean(0)
        self.recent.copy_(x[0])
        self.late = x[0].clone()
        self.count += 1
        return x

    def get_extra_state(self):
        return {"count": self.count}

    def set_extra_state(self, state):
        self.count = state["count"]


def test_buffers_come_back_also_those_that_were_replaced_or_are_not_saved():
    module = torch.nn.Sequential(Statistics())
    own = module[0].mean

    with restored(module):
        module(torch.ones(3, 2))

    assert module[0].mean is own
    assert same([torch.zeros(2), torch.zeros(2)], [module[0].mean, module[0].recent])
    assert module[0].late is None
    assert module[0].count == 0


def test_modes_and_gradients_come_back_and_inside_there_are_no_gradients():
    model, _ = trained(OPTIMIZERS["SGD"])
    gradient, contents = model.weight.grad, model.weight.grad.clone()
    model.eval()

    with restored(model):
        assert model.weight.grad is None
        model.train()
        model(torch.ones(1, 3)).sum().backward()

    assert not model.training
    assert model.weight.grad is gradient
    assert torch.equal(gradient, contents)


def test_everything_is_put_back_after_an_error_even_if_one_object_refuses():
    model, _ = trained(OPTIMIZERS["SGD"])
    before = model.weight.detach().clone()

    class Refuses:
        def state_dict(self):
            return {}

        def load_state_dict(self, state_dict):
            raise ValueError("of the test")

    def fail():
        with restored(model, Refuses()):
            torch.nn.init.zeros_(model.weight)
            raise KeyError

    with pytest.raises(ValueError, match="of the test"):
        fail()

    assert torch.equal(model.weight, before)


def test_random_numbers_come_back():
    numpy = pytest.importorskip("numpy")
    model = torch.nn.Linear(1, 1)

    def draw():
        return random.random(), numpy.random.rand(), torch.rand(1).item()

    for seed in (random.seed, numpy.random.seed, torch.manual_seed):
        seed(0)
    with restored_generators(model):
        expected = draw()

    assert draw() == expected
