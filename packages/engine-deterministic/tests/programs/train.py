"""Train a small model; killed at an iteration, resumed from its last checkpoint. Prints a hash of everything it saw."""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from camshaft.deterministic import DeterministicEngine
from camshaft.engine import Events


class Noisy(Dataset):
    def __len__(self):
        return 26

    def __getitem__(self, index):
        return torch.tensor([index, random.random(), np.random.rand(), torch.rand(1).item()])


def mix(samples):
    batch = default_collate(samples)
    share = np.random.beta(1, 1)
    return share * batch + (1 - share) * batch[torch.randperm(len(batch))] + random.random()


class Training:
    def __init__(self):
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 1, 0.5)
        self.seen = ""
        self.engine = DeterministicEngine(self.step)
        self.engine.add_event_handler(Events.EPOCH_COMPLETED, self.schedule.step)

    def step(self, engine, batch):
        self.optimizer.zero_grad()
        loss = self.model(batch).square().mean() + random.random() + np.random.rand()
        loss.backward()
        self.optimizer.step()
        self.seen = hashlib.sha256(
            f"{self.seen}{engine.state.iteration}{batch.tolist()}{loss.item()}".encode()
        ).hexdigest()

    def parts(self):
        return {"engine": self.engine, "model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}

    def save(self, path):
        torch.save(
            {"seen": self.seen, **{name: part.state_dict() for name, part in self.parts().items()}}, f"{path}.new"
        )
        Path(f"{path}.new").replace(path)

    def load(self, path):
        saved = torch.load(path, weights_only=True)
        self.seen = saved["seen"]
        for name, part in self.parts().items():
            part.load_state_dict(saved[name])

    def fingerprint(self):
        values = [*self.model.state_dict().values(), torch.tensor(self.schedule.get_last_lr())]
        parameters = b"".join(value.numpy().tobytes() for value in values)
        return hashlib.sha256(self.seen.encode() + parameters).hexdigest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--epoch-length", type=int)
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--start-method")
    options = parser.parse_args()
    training = Training()
    engine = training.engine
    loader = DataLoader(
        Noisy(),
        batch_size=4,
        shuffle=True,
        num_workers=options.workers,
        collate_fn=mix,
        persistent_workers=options.workers > 0,
        multiprocessing_context=options.start_method if options.workers else None,
    )
    save_at = Events.ITERATION_COMPLETED(every=options.every) | Events.EPOCH_COMPLETED
    engine.add_event_handler(save_at, lambda: engine.at_safe_point(lambda: training.save(options.checkpoint)))
    if options.kill_at is not None:
        kill = Events.ITERATION_STARTED(once=options.kill_at)
        engine.add_event_handler(kill, lambda: os.kill(os.getpid(), signal.SIGKILL))
    if Path(options.checkpoint).exists():
        training.load(options.checkpoint)
        engine.run(loader)
    else:
        engine.run(loader, max_epochs=3, epoch_length=options.epoch_length, seed=11)
    sys.stdout.write(training.fingerprint())


if __name__ == "__main__":
    main()
