"""Train, be killed, start again as it is: the run continues after its last checkpoint, bit for bit.

    python examples/resume.py       some seconds; prints the SHA-256 of the parameters at the end

Kill it at any moment, with `kill -9` too, and run the same command again: the last line is the same. The checkpoints
are in the folder `resume-checkpoints`; remove it to start from the beginning.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

from camshaft.engine import Events
from camshaft.handlers import Checkpoint, LRScheduler
from camshaft.supervised import attach_mean_loss, create_supervised_trainer

EPOCHS = 5


def hash_parameters(model: nn.Module) -> str:
    """Return the SHA-256 of all parameters."""
    return hashlib.sha256(b"".join(each.detach().numpy().tobytes() for each in model.parameters())).hexdigest()


def main(folder: Path) -> None:
    """Train, from the last checkpoint in the folder if there is one."""
    torch.set_num_threads(1)  # sums are the same on any number of cores
    torch.manual_seed(0)
    x = torch.randn(4096, 16)
    loader = DataLoader(TensorDataset(x, x.prod(dim=1, keepdim=True).sign()), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    trainer = create_supervised_trainer(model, optimizer, nn.functional.mse_loss, deterministic=True)
    scheduler = LRScheduler(CosineAnnealingLR(optimizer, T_max=EPOCHS * len(loader)))
    scheduler.attach(trainer)
    attach_mean_loss(trainer)

    @trainer.on(Events.EPOCH_COMPLETED)
    def report() -> None:
        print(f"epoch {trainer.state.epoch}: loss {trainer.state.metrics['loss']:.6f}", flush=True)

    everything = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "trainer": trainer}
    latest = Checkpoint(everything, folder, n_saved=2)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=50), latest)

    restored = latest.restore_latest(missing_ok=True)
    if restored is not None:
        print(f"resumed after iteration {restored.step}", flush=True)
    trainer.run(loader, max_epochs=EPOCHS, seed=0)
    print(hash_parameters(model))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "resume-checkpoints"))
