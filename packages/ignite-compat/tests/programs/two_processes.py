"""What `ignite.distributed` answers in each of two processes, as a JSON file for each rank.

python two_processes.py FOLDER spawn|parallel     starts the processes itself
torchrun --nproc_per_node=2 two_processes.py FOLDER launched
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import BatchSampler, DistributedSampler, IterableDataset, SequentialSampler, WeightedRandomSampler

import ignite.distributed as idist
from ignite.engine import Engine, Events
from ignite.utils import setup_logger

DATA = list(range(10))


def plain(value: Any) -> Any:
    """Return a value that JSON keeps, with what it was."""
    if isinstance(value, torch.Tensor):
        return {"tensor": value.tolist()}
    if isinstance(value, Path):
        return {"path": str(value)}
    return value


def error_of(function: Any, *args: Any, **kwargs: Any) -> str:
    """Return the name of the error that a call ends with."""
    try:
        function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001  # which one is the answer
        return type(error).__name__
    return "none"


def place() -> dict[str, Any]:
    return {
        name: getattr(idist, name)()
        for name in (
            "get_rank", "get_local_rank", "get_world_size", "get_nproc_per_node", "get_nnodes", "get_node_rank",
            "backend", "model_name",
        )
    } | {"device": str(idist.device())}  # fmt: skip


def reduced(rank: int) -> dict[str, Any]:
    overwritten = torch.arange(3) + rank
    result = idist.all_reduce(overwritten)
    return {
        "int": idist.all_reduce(rank + 1),
        "float": idist.all_reduce(0.1),
        "tensor": result,
        "overwritten": overwritten,
        **{op: idist.all_reduce(torch.tensor(rank + 2.0), op=op) for op in ("SUM", "PRODUCT", "MIN", "MAX")},
        **{op: idist.all_reduce(torch.tensor([bool(rank), True]), op=op) for op in ("AND", "OR")},
        "unknown operation": error_of(idist.all_reduce, 1, op="ABC"),
        "string": error_of(idist.all_reduce, "abc"),
    }


def gathered(rank: int) -> dict[str, Any]:
    return {
        "int": idist.all_gather(rank + 1),
        "scalar": idist.all_gather(torch.tensor(rank)),
        "vector": idist.all_gather(torch.arange(2) + rank),
        "shape": list(idist.all_gather(torch.ones(2, 3)).shape),
        "string": idist.all_gather("ab" * (rank + 1)),
        "mapping": idist.all_gather({"rank": rank}),
        "shapes": [
            list(part.shape)
            for part in idist.all_gather_tensors_with_shapes(torch.ones(rank + 1, rank + 2), [[1, 2], [2, 3]])
        ],
    }


def broadcast(rank: int) -> dict[str, Any]:
    return {
        "int": idist.broadcast(rank + 3, src=1),
        "float": idist.broadcast(rank + 3.5, src=1),
        "string": idist.broadcast("hello" if rank == 0 else ""),
        "path": idist.broadcast(Path("a") if rank == 0 else Path()),
        "tensor": idist.broadcast(torch.arange(3) * (rank + 1), src=1),
        "safe tensor": idist.broadcast(torch.ones(2) if rank == 0 else None, safe_mode=True),
        "safe string": idist.broadcast("text" if rank == 1 else None, src=1, safe_mode=True),
        "safe float": idist.broadcast(1.25 if rank == 1 else "other", src=1, safe_mode=True),
        "None from the source": error_of(idist.broadcast, None if rank == 0 else 1, safe_mode=True),
        "mapping": error_of(idist.broadcast, {"rank": rank}),
    }


def groups(rank: int) -> dict[str, Any]:
    both, second = idist.new_group([0, 1]), idist.new_group([1])
    return {
        "all": idist.all_reduce(torch.tensor(rank + 1), group=both),
        "list": idist.all_reduce(rank + 1, group=[0, 1]),
        "list again": idist.all_reduce(rank + 1, group=[0, 1]),
        "part": idist.all_gather(rank + 1, group=second),
        "no group": error_of(idist.all_reduce, 1, group="abc"),
        "no such rank": error_of(idist.new_group, [0, 2]),
    }


def loader(**kwargs: Any) -> list[Any]:
    made = idist.auto_dataloader(DATA, **kwargs)  # type: ignore[arg-type]  # a list will do
    return [made.batch_size, made.num_workers, type(made.sampler).__name__, getattr(made.sampler, "shuffle", None)]


class Numbers(IterableDataset[int]):
    """An iterable-style dataset."""

    def __iter__(self) -> Any:
        return iter(DATA)


def loaders() -> dict[str, Any]:
    batches = BatchSampler(SequentialSampler(DATA), 3, drop_last=False)
    proxy = idist.DistributedProxySampler(WeightedRandomSampler([1.0] * 7, 7))
    proxy.set_epoch(3)
    return {
        "shuffled": loader(batch_size=4, shuffle=True),
        "in order": loader(batch_size=4, shuffle=False),
        "small": loader(batch_size=1),
        "workers": loader(batch_size=4, num_workers=3),
        "another sampler": loader(batch_size=4, sampler=SequentialSampler(DATA)),
        "distributed sampler": loader(batch_size=4, sampler=DistributedSampler(DATA, shuffle=False)),  # type: ignore[arg-type]  # a list will do
        "batch sampler": loader(batch_sampler=batches),
        "iterable": idist.auto_dataloader(Numbers(), batch_size=4).batch_size,
        "parts": list(proxy),
    }


def ordered(local: bool) -> list[int]:
    """Return the ranks in the order in which they ran."""
    file = Path(sys.argv[1], f"order_{local}")
    with idist.one_rank_first(rank=1, local=local), file.open("a") as order:
        order.write(f"{idist.get_rank()}\n")
    idist.barrier()
    return [int(line) for line in file.read_text().splitlines()]


def on_one_rank() -> dict[str, Any]:
    @idist.one_rank_only(rank=1, with_barrier=True)
    def same(value: int) -> int:
        return value

    engine: Engine[int, int] = Engine(lambda engine, batch: batch)
    seen: list[int] = []

    @engine.on(Events.ITERATION_COMPLETED)
    @idist.one_rank_only()
    def see(engine: Engine[int, int]) -> None:
        seen.append(engine.state.iteration)

    engine.run(DATA[:3])
    return {"value": same(3), "handler": seen, "first": ordered(False), "first on its node": ordered(True)}


def training(local_rank: int, number: int, *, word: str) -> None:
    rank = idist.get_rank()
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    answers = {
        "arguments": [local_rank, number, word],
        "place": place(),
        "reduced": reduced(rank),
        "gathered": gathered(rank),
        "broadcast": broadcast(rank),
        "groups": groups(rank),
        "loaders": loaders(),
        "one rank": on_one_rank(),
        "model": type(idist.auto_model(model)).__name__,
        "optimizer": idist.auto_optim(optimizer) is optimizer,
        "again": error_of(idist.initialize, "gloo"),
        "log handlers": [type(handler).__name__ for handler in setup_logger("two").handlers],
    }
    Path(sys.argv[1], f"{rank}.json").write_text(json.dumps(answers, default=plain))


if __name__ == "__main__":
    match sys.argv[2]:
        case "spawn":
            idist.spawn("gloo", training, args=(5,), kwargs_dict={"word": "b"}, nproc_per_node=2)
        case "parallel":
            with idist.Parallel("gloo", nproc_per_node=2) as parallel:
                parallel.run(training, 5, word="b")
        case "launched":
            with idist.Parallel("gloo") as parallel:
                parallel.run(training, 5, word="b")
    assert idist.model_name() == "serial"
