"""Ranks with gloo: what each step of all of them together saw, and what the step of each drew.

Usage: ranks.py FOLDER [resume]. Rank 0 writes a checkpoint of each training halfway, as one rank does for all;
"resume" goes on from those that are there, with however many ranks there are now.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic import DeterministicEngine, KeyedSampler
from camshaft.engine import Events

SIZE, GLOBAL_BATCH, SAVED_AT = 24, 8, 4


def noise(index):
    return torch.tensor([index, random.random(), np.random.rand(), torch.rand(1).item()], dtype=torch.float64)


def share():
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


class Noisy(Dataset):
    def __len__(self):
        return SIZE

    def __getitem__(self, index):
        return noise(index)


class Stream(IterableDataset):
    """The rows of this rank; it knows where it stands, which is somewhere else on each rank."""

    def __init__(self):
        self.index, self.step = share()

    def __iter__(self):
        while self.index < SIZE:
            self.index += self.step
            yield noise(self.index)
        self.index = share()[0]

    def state_dict(self):
        return {"index": self.index}

    def load_state_dict(self, state):
        self.index = state["index"]


class Iterable:
    def __iter__(self):
        rank, world_size = share()
        for index in range(rank, SIZE, world_size):
            yield noise(index).unsqueeze(0)


def make(kind):
    rank, world_size = share()
    batch_size = GLOBAL_BATCH // world_size
    if kind == "distributed":
        return DataLoader(Noisy(), batch_size, sampler=DistributedSampler(Noisy()))
    if kind == "keyed":
        return DataLoader(Noisy(), batch_size, sampler=KeyedSampler(SIZE, num_replicas=world_size, rank=rank))
    if kind == "stream":
        return DataLoader(Stream(), batch_size)
    if kind == "list":
        return [torch.full((1, 4), float(number), dtype=torch.float64) for number in range(4)]
    return Iterable()


def train(kind, folder, resume):
    rank, world_size = share()
    steps, drawn = [], []

    def step(engine, batch):
        every = [None] * world_size
        torch.distributed.all_gather_object(every, batch.tolist())
        steps.append(sorted(row for part in every for row in part))
        drawn.append([torch.rand(1).item(), random.random(), float(np.random.rand())])

    engine = DeterministicEngine(step)
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda: torch.rand(1 + rank))
    path = Path(folder) / f"{kind}.pt"
    torch.manual_seed(100 * resume + rank)
    if resume:
        engine.load_state_dict(torch.load(path, weights_only=True))
        engine.run(make(kind))
    else:
        if rank == 0:
            save = Events.ITERATION_COMPLETED(once=SAVED_AT)
            engine.add_event_handler(save, lambda: engine.at_safe_point(lambda: torch.save(engine.state_dict(), path)))
        engine.run(make(kind), max_epochs=2, seed=5)
    of_all = [None] * world_size
    torch.distributed.all_gather_object(of_all, drawn)
    return {"steps": steps, "drawn": of_all}


def main(folder, *words):
    torch.distributed.init_process_group("gloo")
    kinds = ("distributed", "keyed") if "indexed" in words else ("distributed", "keyed", "stream", "list", "iterable")
    found = {kind: train(kind, folder, "resume" in words) for kind in kinds}
    if share()[0] == 0:
        sys.stdout.write(json.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
