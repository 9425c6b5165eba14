"""The choice between running and replaying, on the CPU: a stand-in takes the place of the GPU's graphs.

The graphs themselves are tested in `tests-integration/gpu`, on a GPU.
"""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning
from camshaft.supervised import create_supervised_trainer
from camshaft.supervised._accumulation import GradientAccumulation
from camshaft.supervised._backends import plain_backend
from camshaft.supervised._batch import require_pair
from camshaft.supervised._factory import build_training_step
from camshaft.supervised._graphed_update import MOST_GRAPHS, WARM_UPS, Graphing
from camshaft.supervised._hook import without_post_step_hooks
from camshaft.supervised._learning_rate import LearningRates, with_tensor_rates
from camshaft.supervised._optimizer_step import OptimizerStep
from camshaft.supervised._precision import full_precision
from camshaft.supervised._train_step import detached_loss

CPU = torch.device("cpu")
mse_loss = torch.nn.functional.mse_loss
EAGER_FIRST = WARM_UPS + 1  # the first iteration makes the state of the optimizer, and with it new memory


class StandIn:
    """Records by computing and undoing it; a replay computes it again, into the same results and gradients."""

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.optimizer = model, optimizer
        self.is_recording = False
        self.done: list[str] = []

    def run(self, function: Callable[[], Any]) -> Any:
        self.done.append("run")
        return function()

    def record(self, function: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        self.done.append("record")
        kept = [tensor.detach().clone() for tensor in self._memory()]
        before = [None if p.grad is None else p.grad.clone() for p in self.model.parameters()]
        self.is_recording = True
        try:
            y_pred, loss = function()
        finally:
            self.is_recording = False
        gradients = [p.grad for p in self.model.parameters()]
        with torch.no_grad():
            for tensor, value in zip(self._memory(), kept, strict=True):
                tensor.copy_(value)
            for gradient, value in zip(gradients, before, strict=True):
                if gradient is not None and value is not None:
                    gradient.copy_(value)

        def replay() -> None:
            self.done.append("replay")
            with without_post_step_hooks(self.optimizer):  # a graph calls no Python
                new_pred, new_loss = function()
            with torch.no_grad():
                if y_pred is not None:
                    y_pred.copy_(new_pred)
                loss.copy_(new_loss)
                for own, parameter in zip(gradients, self.model.parameters(), strict=True):
                    if own is not None and own is not parameter.grad:
                        own.copy_(parameter.grad)

        return replay, (y_pred, loss)

    def _memory(self) -> list[torch.Tensor]:
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        return [*self.model.parameters(), *self.model.buffers(), *(v for v in states if isinstance(v, torch.Tensor))]


class Job:
    """A trainer whose step is a graph, made by the stand-in, and the same one without a graph."""

    def __init__(
        self, model: torch.nn.Module | None = None, output_transform=detached_loss, accumulation: int = 1, **options
    ) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Linear(3, 1) if model is None else model
        self.plain_model = copy.deepcopy(self.model)
        self.optimizer, self.plain_optimizer = (
            torch.optim.SGD(model.parameters(), **({"lr": 0.1, "momentum": 0.9, "fused": True} | options))
            for model in (self.model, self.plain_model)
        )
        self.stand_in = StandIn(self.model, self.optimizer)
        rates = LearningRates(self.optimizer, CPU)
        backend = with_tensor_rates(plain_backend(self.optimizer), rates, self.stand_in)
        step, accumulating = build_training_step(
            self.model, mse_loss, full_precision, split=require_pair, predict=self.model,
            optimizer_step=OptimizerStep(self.optimizer, backend), accumulation_steps=accumulation,
            output_transform=output_transform, graphing=Graphing(self.stand_in, rates, CPU),
        )  # fmt: skip
        self.trainer = Engine(step)
        if isinstance(accumulating, GradientAccumulation):
            accumulating.attach(self.trainer)
        self.plain = create_supervised_trainer(
            self.plain_model, self.plain_optimizer, mse_loss, gradient_accumulation_steps=accumulation
        )

    def run(self, *sizes: int) -> list[str]:
        """Train both on batches of these sizes, and return what the stand-in was asked to do."""
        self.stand_in.done.clear()
        batches = make_batches(sizes)
        self.trainer.run(batches)
        self.plain.run(batches)
        return self.stand_in.done

    def assert_same(self) -> None:
        for own, plain in zip(self.model.parameters(), self.plain_model.parameters(), strict=True):
            torch.testing.assert_close(own, plain, rtol=1e-6, atol=1e-7)


def make_batches(sizes) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(len(sizes))
    return [(torch.randn(n, 3, generator=generator), torch.randn(n, 1, generator=generator)) for n in sizes]


def test_a_shape_is_captured_after_its_warm_ups_and_replayed_from_then_on():
    job = Job()

    assert job.run(*[4] * 7) == ["run"] * EAGER_FIRST + ["record", "replay", "replay", "replay"]
    job.assert_same()


def test_a_shape_that_comes_seldom_runs_as_usual_between_the_replays():
    job = Job()
    job.run(*[4] * 8)

    assert job.run(4, 2, 4) == ["replay", "run", "replay"]
    job.assert_same()


def test_each_shape_gets_a_graph_of_its_own():
    job = Job()
    job.run(*[4] * 8, *[2] * 8)

    assert job.run(4, 2, 4, 2) == ["replay"] * 4
    job.assert_same()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from((1, 2, 5)), min_size=1, max_size=30), st.sampled_from((1, 2, 3)))
def test_any_sequence_of_shapes_trains_as_without_a_graph(sizes, accumulation):
    job = Job(accumulation=accumulation)
    for _ in range(2):
        job.run(*sizes)

    job.assert_same()


def test_a_learning_rate_that_a_scheduler_changes_takes_effect():
    job = Job()
    job.run(*[4] * 8)
    for optimizer in (job.optimizer, job.plain_optimizer):
        optimizer.param_groups[0]["lr"] = 0.01

    assert job.run(4, 4) == ["replay", "replay"]
    job.assert_same()


def test_the_learning_rate_stays_a_number_for_everybody_else():
    job = Job()
    job.run(*[4] * 8)

    assert job.optimizer.param_groups[0]["lr"] == 0.1
    assert type(job.optimizer.state_dict()["param_groups"][0]["lr"]) is float


def test_a_learning_rate_that_is_a_tensor_is_read_in_each_iteration():
    job = Job()
    rate = torch.tensor(0.1)
    job.optimizer.param_groups[0]["lr"] = rate
    job.run(*[4] * 8)
    rate.fill_(0.02)
    job.plain_optimizer.param_groups[0]["lr"] = 0.02

    assert job.run(4, 4) == ["replay", "replay"]
    job.assert_same()


@pytest.mark.parametrize(
    "change",
    [
        lambda model, optimizer: optimizer.param_groups[0].update(momentum=0.5),
        lambda model, optimizer: model.bias.requires_grad_(False),
        lambda model, optimizer: optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict())),
        lambda model, optimizer: setattr(model.weight, "data", model.weight.data.clone()),
        lambda model, optimizer: optimizer.state.clear(),
        lambda model, optimizer: optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]}),
    ],
    ids=["momentum", "frozen", "loaded optimizer", "other memory", "state forgotten", "new group"],
)
def test_what_is_changed_is_not_replayed_as_it_was(change):
    job = Job()
    job.run(*[4] * 8)
    change(job.model, job.optimizer)
    change(job.plain_model, job.plain_optimizer)

    assert job.run(4)[0] == "run"
    job.run(*[4] * 8)
    assert job.run(4) == ["replay"]
    job.assert_same()


def test_a_frozen_layer_gets_another_graph_and_the_first_fits_again_when_it_trains():
    model = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Dropout(0.0))
    job = Job(model)
    job.run(*[4] * 8)
    model[1].eval()
    assert job.run(4) == ["run"]
    model[1].train()

    assert job.run(4) == ["replay"]


def test_outputs_are_tensors_of_their_iteration_alone():
    losses = []
    job = Job(output_transform=lambda x, y, y_pred, loss: losses.append((x, y_pred, loss)))
    job.run(*[4] * 8)
    batches = make_batches([4] * 8)

    assert len({loss.data_ptr() for _, _, loss in losses}) == 8
    for (x, y_pred, loss), (given_x, y) in zip(losses, batches, strict=True):
        assert x.data_ptr() == given_x.data_ptr() or torch.equal(x, given_x)
        assert not y_pred.requires_grad
        assert torch.equal(mse_loss(y_pred, y), loss)


def test_gradients_can_be_read_after_each_iteration():
    job = Job()
    job.run(*[4] * 8)
    job.optimizer.zero_grad()
    job.run(4)

    for own, plain in zip(job.model.parameters(), job.plain_model.parameters(), strict=True):
        torch.testing.assert_close(own.grad, plain.grad)


def test_what_is_to_be_called_after_each_optimizer_step_is_called_once():
    job = Job()
    calls = []
    job.optimizer.register_step_post_hook(lambda optimizer, args, kwargs: calls.append(len(job.stand_in.done)))
    done = job.run(*[4] * 7)

    assert len(calls) == 7
    assert done.count("record") == 1


@pytest.mark.parametrize("where", ["module", "gradient", "step"])
def test_while_there_are_hooks_iterations_run_as_usual_and_one_warning_says_so(where):
    job = Job()
    job.run(*[4] * 8)
    calls = []
    hook = {
        "module": lambda: job.model.register_forward_hook(lambda *_: calls.append(1)),
        "gradient": lambda: job.model.weight.register_hook(lambda gradient: calls.append(1)),
        "step": lambda: job.optimizer.register_step_pre_hook(lambda *_: calls.append(1)),
    }[where]()

    with pytest.warns(EngineWarning, match="hooks") as caught:
        assert job.run(4, 4) == ["run", "run"]
    assert len(caught) == 1
    assert calls == [1, 1]
    hook.remove()
    assert job.run(4) == ["replay"]
    job.assert_same()


def test_a_step_that_draws_numbers_on_the_cpu_is_never_captured_and_one_warning_says_so():
    class Skips(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) if random.random() < 0.5 else super().forward(2 * x)

    job = Job(Skips(3, 1))
    batches = make_batches([4] * 10)
    with pytest.warns(EngineWarning, match="random numbers on the CPU") as caught:
        job.trainer.run(batches)

    assert job.stand_in.done == ["run"] * 10
    assert len(caught) == 1


def test_more_shapes_than_graphs_run_as_usual_and_one_warning_says_so():
    job = Job()
    sizes = range(1, MOST_GRAPHS + 2)
    with pytest.warns(EngineWarning, match="other shapes"):
        job.run(*[n for n in sizes for _ in range(8)])

    assert job.run(1, MOST_GRAPHS + 1) == ["replay", "run"]
    job.assert_same()


def test_memory_that_moves_in_each_iteration_is_told():
    kept = []  # so that no address comes twice

    class Moves(torch.nn.Linear):
        def forward(self, x):
            kept.append(self.weight.data)
            self.weight.data = self.weight.data.clone()
            return super().forward(x)

    job = Job(Moves(3, 1))
    with pytest.warns(EngineWarning, match="at another place"):
        job.run(*[4] * 12)
    job.assert_same()


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ((torch.ones(2, 3, requires_grad=True), torch.ones(2, 1)), "requires_grad=True"),
        ((torch.ones(2, 3).to_sparse(), torch.ones(2, 1)), "layout torch.sparse_coo"),
        ((torch.ones(2, 3, device="meta"), torch.ones(2, 1)), "on meta"),
        ((torch.ones(2, 3), object()), "object"),
    ],
)
def test_a_batch_that_no_graph_can_take_is_refused(batch, said):
    with pytest.raises(ArgumentError, match=said):
        Job().trainer.run([batch])


def test_nested_batches_with_plain_values_have_a_graph_for_each_value():
    class Scales(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x["x"] * x["factor"])

    job = Job(Scales(3, 1))
    batches = [({"x": x, "factor": factor}, y) for (x, y) in make_batches([4] * 8) for factor in (1, 2)]
    for trainer in (job.trainer, job.plain):
        trainer.run(batches)

    assert job.stand_in.done.count("record") == 2
    job.assert_same()


@pytest.mark.parametrize("value", [1, None, "yes"])
def test_the_option_is_true_or_false(value):
    model = torch.nn.Linear(3, 1)
    with pytest.raises(ArgumentTypeError, match="cuda_graph"):
        create_supervised_trainer(model, torch.optim.SGD(model.parameters(), fused=True), mse_loss, cuda_graph=value)


def test_on_the_cpu_it_is_refused():
    model = torch.nn.Linear(3, 1)
    with pytest.raises(ArgumentError, match=r"`cuda_graph` must be False unless .* got 'cpu'"):
        create_supervised_trainer(model, torch.optim.SGD(model.parameters(), fused=True), mse_loss, cuda_graph=True)


def test_nothing_is_told_when_all_goes_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Job().run(*[4] * 8)
