"""Lightning's Trainer with data that resumes exactly: killed anywhere, it continues bit for bit.

    pip install lightning && python examples/own_loop_lightning.py

Lightning saves and restores the loader by itself. Kill it at any moment and run the same command again: the last line
is the same. The checkpoints are in the folder `own-loop-lightning`; remove it to start from the beginning.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from camshaft.deterministic import ResumableLoader


class Sign(lightning.LightningModule):
    """Learns the sign of a product."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Return the loss of a batch."""
        inputs, target = batch
        return nn.functional.mse_loss(self.layers(inputs), target)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


def main(folder: Path) -> None:
    """Train, from the newest checkpoint in the folder if there is one."""
    torch.set_num_threads(1)  # sums are the same on any number of cores
    torch.manual_seed(0)
    x = torch.randn(1024, 16)
    data = DataLoader(TensorDataset(x, x.prod(dim=1, keepdim=True).sign()), batch_size=32, shuffle=True)
    loader = ResumableLoader(data, seed=0, seed_steps=True)
    model = Sign()
    trainer = lightning.Trainer(
        max_epochs=4,
        accelerator="cpu",
        callbacks=[ModelCheckpoint(folder, "{step:06d}", every_n_train_steps=8, save_top_k=-1)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    finished = sorted(folder.glob("*.ckpt"))
    trainer.fit(model, loader, ckpt_path=finished[-1] if finished else None)
    print(hashlib.sha256(b"".join(each.detach().numpy().tobytes() for each in model.parameters())).hexdigest())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "own-loop-lightning"))
