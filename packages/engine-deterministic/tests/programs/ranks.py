"""Two ranks with gloo: each step's samples, with their noise, as all ranks together have them."""

from __future__ import annotations

import json
import random
import sys

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic import DeterministicEngine


class Noisy(Dataset):
    def __len__(self):
        return 24

    def __getitem__(self, index):
        return torch.tensor([index, random.random(), np.random.rand(), torch.rand(1).item()], dtype=torch.float64)


def main():
    torch.distributed.init_process_group("gloo")
    rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    steps, dropout = [], []

    def step(engine, batch):
        parts = [torch.zeros_like(batch) for _ in range(world_size)]
        torch.distributed.all_gather(parts, batch)
        steps.append(sorted(torch.cat(parts).tolist()))
        dropout.append(torch.rand(1).item())

    engine = DeterministicEngine(step)
    engine.run(DataLoader(Noisy(), 8 // world_size, sampler=DistributedSampler(Noisy())), max_epochs=2, seed=5)
    numbers = [None] * world_size
    torch.distributed.all_gather_object(numbers, dropout)
    if rank == 0:
        distinct = len({number for part in numbers for number in part})
        sys.stdout.write(json.dumps({"steps": steps, "distinct": distinct}))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
