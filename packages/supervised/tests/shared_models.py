"""Trains models that processes share in every way that torch offers, and writes down how they end.

torchrun --nproc-per-node 2 shared_models.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.profiler import profile

from camshaft.engine import ArgumentError, Engine, Events
from camshaft.supervised import create_supervised_trainer
from camshaft.supervised._gradient_exchange import GradientExchange

COUNT, SIZE, STEPS, CLIP = 5, 4, 3, 0.3
EXCHANGE = "c10d::_reduce_scatter_base_"  # how the profiler calls it


def make_batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the batches of all processes together."""
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(SIZE, 3, generator=generator) for _ in range(COUNT)]
    return [(x, 3 * x.sum(1, keepdim=True)) for x in inputs]


def make_model() -> nn.Sequential:
    """Return a model that is the same in all processes."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))


def sharded(**options: Any) -> nn.Module:
    """Return the model under `fully_shard`, some of it inside."""
    model = make_model()
    for part in (model[0], model[2], model):
        fully_shard(part, mesh=init_device_mesh("cpu", (torch.distributed.get_world_size(),)), **options)
    return model


def parallel() -> nn.Module:
    """Return the model with two layers that are divided among the processes, and one that is not."""
    plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
    return parallelize_module(make_model(), mesh, plan)


def make_trainer(model: nn.Module, steps: int = STEPS, **options: Any) -> Engine[Any, Any]:
    """Return a trainer that accumulates and clips."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    options = {"gradient_accumulation_steps": steps, "clip_grad_norm": CLIP} | options
    return create_supervised_trainer(model, optimizer, nn.functional.mse_loss, **options)


def train_known(trainer: Engine[Any, Any], batches: list[Any]) -> None:
    """Train for two epochs of windows of 3 and 2."""
    trainer.run(batches, max_epochs=2)


def train_unknown(trainer: Engine[Any, Any], batches: list[Any]) -> None:
    """Train for one epoch whose last window ends before its time."""
    trainer.run(batch for batch in batches)


def train_cut(trainer: Engine[Any, Any], batches: list[Any]) -> None:
    """Train for two epochs of which the first is cut short inside its second window."""
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda engine: engine.terminate_epoch())
    trainer.run(batches, max_epochs=2)


def train_anew(trainer: Engine[Any, Any], batches: list[Any]) -> None:
    """Stop inside a window and begin a new run."""
    trainer.run(batches, max_iters=4)
    trainer.state.max_iters = None
    trainer.run(batches, max_epochs=1)


TRAININGS: dict[str, Callable[[Engine[Any, Any], list[Any]], None]] = {
    "known": train_known,
    "unknown": train_unknown,
    "cut": train_cut,
    "anew": train_anew,
}


def whole(model: nn.Module) -> list[torch.Tensor]:
    """Return the parameters, gathered from all processes."""
    found: Iterable[Any] = model.parameters()
    return [(each.full_tensor() if hasattr(each, "full_tensor") else each).detach() for each in found]


def refusal(model: nn.Module) -> str:
    """Return what making a trainer that clips says against the model."""
    try:
        make_trainer(model)
    except ArgumentError as error:
        return str(error)
    return ""


def exchanges_inside_window(*, every_iteration: bool) -> int:
    """Return how often a sharded model exchanges gradients in an iteration that is not the last of its window."""
    model = sharded()
    exchange = GradientExchange(model, model.parameters, every_iteration=every_iteration)
    x, y = make_batches()[0]
    with profile() as ran, exchange.postponed():
        nn.functional.mse_loss(model(x), y).backward()
    return sum(each.count for each in ran.key_averages() if each.key == EXCHANGE)


def main(folder: str) -> None:
    """Train in all ways, in one go: starting processes takes longer."""
    torch.distributed.init_process_group("gloo")
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    batches = make_batches()
    share = [(x[rank::size], y[rank::size]) for x, y in batches]
    found: dict[str, Any] = {}
    for name, train in TRAININGS.items():
        model = sharded()
        with profile() as ran:
            train(make_trainer(model), share)
        found[f"sharded, {name}"] = whole(model)
        found[f"exchanges, {name}"] = sum(each.count for each in ran.key_averages() if each.key == EXCHANGE)
        model = parallel()
        train(make_trainer(model), batches)
        found[f"parallel, {name}"] = whole(model)
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    model = sharded(mp_policy=policy)
    train_cut(make_trainer(model), share)
    found["sharded in bfloat16, cut"] = whole(model)
    found["inside a window"] = [exchanges_inside_window(every_iteration=each) for each in (False, True)]
    found["refusal"] = refusal(FullyShardedDataParallel(make_model(), device_id=torch.device("cpu")))
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
