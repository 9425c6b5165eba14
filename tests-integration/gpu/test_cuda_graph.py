"""The training step as a CUDA graph, on a GPU: it trains as the step does without one, and resumes bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from gpu_training import waiting_refused
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from camshaft.engine import ArgumentError, Engine, Events
from camshaft.supervised import GraphCaptureError, create_supervised_trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

GPU = "cuda"
FLOAT16: dict[str, Any] = {"amp_mode": "amp", "scaler": True}
PRECISIONS: dict[str, dict[str, Any]] = {"full": {}, "bfloat16": {"amp_mode": "amp"}, "float16": FLOAT16}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipped norm": {"clip_grad_norm": 0.1},
    "clipped values": {"clip_grad_value": 0.01},
    "accumulated": {"gradient_accumulation_steps": 3},
    "deterministic": {"deterministic": True},
}
Optimizers = Callable[[Any], torch.optim.Optimizer]


def make_adam(parameters: Any, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, **({"lr": 0.01, "fused": True, "capturable": True} | options))


def make_sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, fused=True)


OPTIMIZERS: dict[str, Optimizers] = {
    "SGD": make_sgd,
    "SGD without momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.05, fused=True),
    "Adam, fused": make_adam,
    "AdamW, fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, fused=True, capturable=True),
}
for _name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "ASGD", "Adadelta", "RMSprop", "Rprop"):
    OPTIMIZERS[_name] = partial(getattr(torch.optim, _name), lr=0.01, capturable=True)


def make_model(dropout: float = 0.2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Linear(4 * 64, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 4),
    ).to(GPU)  # fmt: skip


def make_batches(*sizes: int, device: str = GPU) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn((size, 1, 8, 8), generator=generator).to(device),
            torch.randint(4, (size,), generator=generator).to(device),
        )
        for size in sizes
    ]


class Job:
    """A model in training, with or without a graph."""

    def __init__(self, make_optimizer: Optimizers = make_adam, *, graph: bool = True, **options: Any) -> None:
        self.model = make_model()
        self.optimizer = make_optimizer(self.model.parameters())
        self.trainer = create_supervised_trainer(
            self.model, self.optimizer, cross_entropy, device=GPU, cuda_graph=graph, **options
        )
        self.losses: list[Any] = []
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._note)

    def _note(self, engine: Engine[Any, Any]) -> None:
        self.losses.append(engine.state.output)

    def train(self, batches: Any, **options: Any) -> list[float]:
        torch.manual_seed(7)
        self.losses.clear()
        self.trainer.run(batches, **options)
        return [loss.item() for loss in self.losses]

    def saved(self) -> dict[str, Any]:
        state: dict[str, Any] = {"model": self.model, "optimizer": self.optimizer, "trainer": self.trainer}
        saved = {name: copy.deepcopy(value.state_dict()) for name, value in state.items()}
        return saved | {"generator": torch.cuda.get_rng_state()}

    def load(self, saved: dict[str, Any]) -> None:
        for name in ("model", "optimizer", "trainer"):
            getattr(self, name).load_state_dict(copy.deepcopy(saved[name]))


@pytest.fixture(autouse=True)
def same_kernels() -> Iterator[None]:
    torch.backends.cudnn.benchmark, before = False, torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = before


def assert_same(actual: nn.Module, expected: nn.Module) -> None:
    torch.testing.assert_close(actual.state_dict(), expected.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("option", OPTIONS)
def test_it_trains_bit_for_bit_as_without_a_graph(precision: str, option: str) -> None:
    options = PRECISIONS[precision] | OPTIONS[option]
    batches = make_batches(*[8] * 40)
    graph, plain = Job(make_sgd, **options), Job(make_sgd, graph=False, **options)

    assert graph.train(batches, seed=3) == plain.train(batches, seed=3)
    assert_same(graph.model, plain.model)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_that_can_be_captured_trains_as_without_a_graph(name: str) -> None:
    batches = make_batches(*[8] * 12)
    graph, plain = Job(OPTIMIZERS[name]), Job(OPTIMIZERS[name], graph=False)
    for job in (graph, plain):
        scheduler = torch.optim.lr_scheduler.StepLR(job.optimizer, 1, gamma=0.5)
        job.trainer.add_event_handler(Events.EPOCH_COMPLETED, scheduler.step)
        job.train(batches, max_epochs=3)

    torch.testing.assert_close(graph.model.state_dict(), plain.model.state_dict(), rtol=1e-4, atol=1e-5)
    assert graph.optimizer.param_groups[0]["lr"] == pytest.approx(plain.optimizer.param_groups[0]["lr"])


def test_random_numbers_are_those_of_a_run_without_a_graph() -> None:
    graph, plain = Job(), Job(graph=False)
    graph.train(make_batches(*[8] * 10))
    after = torch.rand(3, device=GPU)
    plain.train(make_batches(*[8] * 10))

    assert torch.equal(after, torch.rand(3, device=GPU))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_run_that_continues_is_that_of_one_that_was_never_stopped(precision: str) -> None:
    data = TensorDataset(*make_batches(100)[0])

    def job() -> Job:
        return Job(deterministic=True, **PRECISIONS[precision])

    def loader() -> DataLoader[Any]:
        return DataLoader(data, batch_size=8, shuffle=True)

    whole = job()
    saved: dict[int, dict[str, Any]] = {}
    whole.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: saved.update({engine.state.iteration: whole.saved()})
    )
    whole.train(loader(), max_epochs=2, seed=5)
    for iteration in (1, 4, 5, 6, 13, 20):
        resumed = job()
        resumed.load(saved[iteration])
        torch.cuda.set_rng_state(saved[iteration]["generator"])
        resumed.trainer.run(loader(), max_epochs=2)
        assert_same(resumed.model, whole.model)


def test_shapes_that_come_mixed_train_as_without_a_graph() -> None:
    sizes = [8, 8, 4, 8, 3, 8, 4, 8, 8, 4, 8, 4, 4, 8, 8, 5] * 3
    graph, plain = Job(make_sgd), Job(make_sgd, graph=False)

    assert graph.train(make_batches(*sizes)) == plain.train(make_batches(*sizes))
    assert_same(graph.model, plain.model)


def test_no_iteration_waits_for_the_gpu() -> None:
    for options in PRECISIONS.values():
        job = Job(make_sgd, clip_grad_norm=1.0, **options)
        batches = make_batches(*[8] * 10)
        job.train(batches)
        with waiting_refused():
            job.trainer.run(batches)


def test_a_loss_that_is_infinite_is_not_stepped_and_halves_the_scale() -> None:
    batches = make_batches(*[8] * 12)
    batches[9] = (batches[9][0] * float("inf"), batches[9][1])
    graph, plain = Job(make_sgd, **FLOAT16), Job(make_sgd, graph=False, **FLOAT16)
    for module in (*graph.model.modules(), *plain.model.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False  # they would be infinite too
    graph.train(batches)
    plain.train(batches)

    assert graph.trainer.state.scaler.get_scale() == plain.trainer.state.scaler.get_scale() == 2.0**15
    assert all(parameter.isfinite().all() for parameter in graph.model.parameters())
    assert_same(graph.model, plain.model)


def test_states_that_are_loaded_in_the_middle_of_a_run_are_used() -> None:
    jobs = Job(), Job(graph=False)
    for job in jobs:
        job.train(make_batches(*[8] * 6))
        kept = job.saved()
        job.train(make_batches(*[8] * 6))
        job.model.load_state_dict(kept["model"])
        job.optimizer.load_state_dict(kept["optimizer"])
        job.train(make_batches(*[8] * 8))

    torch.testing.assert_close(jobs[0].model.state_dict(), jobs[1].model.state_dict(), rtol=1e-4, atol=1e-5)


def test_outputs_and_gradients_are_those_of_their_iteration() -> None:
    kept: list[tuple[torch.Tensor, ...]] = []
    graph = Job(make_sgd, output_transform=lambda x, y, y_pred, loss: kept.append((y_pred, y, loss)))
    graph.trainer.run(make_batches(*[8] * 10))

    for y_pred, y, loss in kept:
        torch.testing.assert_close(cross_entropy(y_pred, y), loss)
    assert all(parameter.grad is not None for parameter in graph.model.parameters())


def test_batches_may_be_pinned_by_a_thread_while_a_step_is_captured() -> None:
    data = TensorDataset(*make_batches(400, device="cpu")[0])
    loader = DataLoader(data, batch_size=8, num_workers=2, pin_memory=True)
    graph, plain = Job(make_sgd, non_blocking=True), Job(make_sgd, graph=False)

    assert graph.train(loader) == plain.train(loader)


def test_work_memory_that_somebody_frees_is_not_that_of_a_graph() -> None:
    graph, plain = Job(make_sgd), Job(make_sgd, graph=False)
    batches = make_batches(*[8] * 10)
    for job in (graph, plain):
        job.train(batches)
        torch._C._cuda_clearCublasWorkspaces()  # noqa: SLF001  # Lightning does so at the end of a training
        torch.cuda.empty_cache()
        job.train(batches)

    assert_same(graph.model, plain.model)


def test_evaluation_in_between_changes_nothing() -> None:
    graph, plain = Job(make_sgd), Job(make_sgd, graph=False)
    x, _ = make_batches(16)[0]
    for job in (graph, plain):

        def evaluate(model: nn.Module = job.model) -> None:
            model.eval()
            with torch.no_grad():
                model(x)

        job.trainer.add_event_handler(Events.ITERATION_COMPLETED(every=3), evaluate)
        job.train(make_batches(*[8] * 16))

    assert_same(graph.model, plain.model)


WAITS: dict[str, Callable[[torch.Tensor], object]] = {
    "item": lambda loss: loss.item(),
    "mask": lambda loss: loss.reshape(1)[loss.reshape(1) > 0],
    "synchronize": lambda loss: torch.cuda.synchronize(),  # torch does not notice this one
}


@pytest.mark.parametrize("name", WAITS)
def test_a_step_that_waits_for_the_gpu_is_an_error_and_the_gpu_can_be_used_afterwards(name: str) -> None:
    def loss_fn(y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = cross_entropy(y_pred, y)
        WAITS[name](loss)
        return loss

    other, plain = Job(make_sgd), Job(make_sgd, graph=False)
    batches = make_batches(*[8] * 10)
    other.train(batches)
    plain.train(batches)
    model = make_model()
    trainer = create_supervised_trainer(model, make_sgd(model.parameters()), loss_fn, cuda_graph=True)
    with pytest.raises(GraphCaptureError, match="could not capture"):
        trainer.run(batches)

    assert trainer.state.iteration >= 4
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert other.train(batches) == plain.train(batches)  # its graph, and the random numbers in it, still work


def test_an_error_of_the_step_comes_out_as_it_is_while_it_is_captured() -> None:
    def loss_fn(y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if torch.cuda.is_current_stream_capturing():
            raise KeyError("mine")
        return cross_entropy(y_pred, y)

    model = make_model()
    trainer = create_supervised_trainer(model, make_sgd(model.parameters()), loss_fn, cuda_graph=True)
    with pytest.raises(KeyError, match="mine"):
        trainer.run(make_batches(*[8] * 10))


@pytest.mark.parametrize(
    ("make_optimizer", "options", "said"),
    [
        (lambda parameters: torch.optim.SGD(parameters, lr=0.1), {}, r"make it with SGD\(..., fused=True\)"),
        (lambda parameters: torch.optim.Adam(parameters), {}, r"Adam\(..., capturable=True\)"),
        (lambda parameters: torch.optim.Adam(parameters, capturable=True), FLOAT16, "without fused=True"),
        (lambda parameters: torch.optim.LBFGS(parameters), {}, "use one of torch.optim"),
        (make_sgd, {"compile": {"mode": "reduce-overhead"}}, "`compile` must leave graphs"),
    ],
)
def test_what_cannot_be_captured_is_refused_at_once(
    make_optimizer: Optimizers, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        Job(make_optimizer, **options)


def test_a_model_on_the_cpu_is_refused() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ArgumentError, match="`model` must be whole and on one CUDA device"):
        create_supervised_trainer(model, make_sgd(model.parameters()), cross_entropy, device=GPU, cuda_graph=True)
