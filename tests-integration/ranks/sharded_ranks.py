"""One of two processes that train a model whose parameters are sharded over them; prints what it saw as JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import mse_loss

from camshaft.distributed import start
from camshaft.engine import EngineError
from camshaft.handlers import Checkpoint
from camshaft.supervised import create_supervised_trainer

BATCHES, SIZE = 6, 8


def make_batches(rank: int, size: int) -> list[Any]:
    """Return this process's share of some batches."""
    generator = torch.Generator().manual_seed(1)
    whole = [torch.rand(SIZE, 4, generator=generator) for _ in range(BATCHES)]
    return [(batch[rank::size], batch[rank::size].sum(1, keepdim=True)) for batch in whole]


def main() -> None:
    """Train; say what the parameters are, as whole tensors."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    with start(timeout_s=60, device="cpu") as process:
        if process.size > 1:
            mesh = init_device_mesh("cpu", (process.size,))
            fully_shard(model, mesh=mesh)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        steps = int(sys.argv[1])
        trainer = create_supervised_trainer(
            model, optimizer, mse_loss, clip_grad_norm=0.1, gradient_accumulation_steps=steps
        )
        process.agree(trainer)
        trainer.run(make_batches(process.rank, process.size))
        refused = ""
        try:
            with tempfile.TemporaryDirectory() as folder:
                Checkpoint({"model": model}, folder)
        except EngineError as error:
            refused = str(error)
        tensors = [getattr(each, "full_tensor", lambda each=each: each)() for each in model.parameters()]
        print(json.dumps({"parameters": [each.tolist() for each in tensors], "refused": refused}))


if __name__ == "__main__":
    main()
