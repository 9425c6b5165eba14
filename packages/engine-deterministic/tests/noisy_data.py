"""Datasets whose samples are drawn from the generators of Python, NumPy and torch."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info


def noise(index):
    return torch.cat([torch.tensor([float(index), random.random(), np.random.rand()]), torch.rand(2)])


class Noisy(Dataset):
    size = 23

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return noise(index)


class Stream(IterableDataset):
    """Shuffles through a small buffer, so it remembers what it has drawn; workers share the rows."""

    size = 23

    def __iter__(self):
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        buffer = []
        for index in range(first, self.size, step):
            buffer.append(noise(index))
            if len(buffer) > 3:
                yield buffer.pop(random.randrange(len(buffer)))
        yield from buffer


class Keeping:
    """Goes on where it is, however often it is iterated; begins again at its end."""

    keeps_place = True
    size = 23

    def __init__(self):
        self.place = 0

    def __iter__(self):
        while self.place < self.size:
            self.place += 1
            yield noise(self.place)
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]
