"""A training loop of your own, without an engine, that continues bit for bit wherever it was killed.

    python examples/own_loop.py       some seconds; prints the SHA-256 of the parameters at the end

Kill it at any moment, with `kill -9` too, and run the same command again: the last line is the same. The checkpoint
is in the folder `own-loop`; remove it to start from the beginning.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from camshaft.deterministic import ResumableLoader


def main(folder: Path) -> None:
    """Train, from the checkpoint in the folder if there is one."""
    torch.set_num_threads(1)  # sums are the same on any number of cores
    torch.manual_seed(0)
    x = torch.randn(1024, 16)
    data = DataLoader(TensorDataset(x, x.prod(dim=1, keepdim=True).sign()), batch_size=32, shuffle=True)
    loader = ResumableLoader(data, seed=0, seed_steps=True)  # seed_steps: dropout is exact, too
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)

    objects: dict[str, Any] = {"model": model, "optimizer": optimizer, "loader": loader}
    folder.mkdir(exist_ok=True)
    saved, unfinished = folder / "checkpoint.pt", folder / "unfinished.pt"
    if saved.exists():
        states = torch.load(saved, weights_only=True)
        for name, each in objects.items():
            each.load_state_dict(states[name])
        print(f"resumed in epoch {loader.epoch} after {loader.index} batches", flush=True)

    loss = torch.zeros(())
    for epoch in range(loader.epoch, 4):
        for inputs, target in loader:
            loss = nn.functional.mse_loss(model(inputs), target)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            if loader.index % 8 == 0:
                torch.save({name: each.state_dict() for name, each in objects.items()}, unfinished)
                unfinished.replace(saved)
        print(f"epoch {epoch}: loss {loss.item():.6f}", flush=True)
    print(hashlib.sha256(b"".join(each.detach().numpy().tobytes() for each in model.parameters())).hexdigest())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "own-loop"))
