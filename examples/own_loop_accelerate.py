"""Accelerate with data that resumes exactly: killed anywhere, it continues bit for bit.

    pip install accelerate && python examples/own_loop_accelerate.py
    torchrun --nproc-per-node 2 examples/own_loop_accelerate.py

Kill it at any moment and run the same command again: the last line is the same. The checkpoints are in the folder
`own-loop-accelerate`; remove it to start from the beginning.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from camshaft.deterministic import KeyedSampler, ResumableLoader


def save(accelerator: Accelerator, folder: Path, name: str) -> None:
    """Save into a folder that has its name only when it is complete."""
    unfinished = folder / "unfinished"
    if accelerator.is_main_process:
        shutil.rmtree(unfinished, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(unfinished))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        unfinished.rename(folder / name)


def main(folder: Path) -> None:
    """Train, from the newest checkpoint in the folder if there is one."""
    torch.set_num_threads(1)  # sums are the same on any number of cores
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    x = torch.randn(1024, 16)
    # Accelerate leaves this loader as it is. So the sampler says which part of the data each process takes.
    sampler = KeyedSampler(1024, num_replicas=accelerator.num_processes, rank=accelerator.process_index)
    data = DataLoader(TensorDataset(x, x.prod(dim=1, keepdim=True).sign()), batch_size=32, sampler=sampler)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)

    loader = ResumableLoader(data, seed=0, seed_steps=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    accelerator.register_for_checkpointing(loader)  # from now on save_state and load_state take care of it
    folder.mkdir(exist_ok=True)
    finished = sorted(folder.glob("step-*"))
    if finished:
        accelerator.load_state(str(finished[-1]))
        accelerator.print(f"resumed in epoch {loader.epoch} after {loader.index} batches", flush=True)

    loss = torch.zeros(())
    for epoch in range(loader.epoch, 4):
        for batch in loader:
            inputs, target = (each.to(accelerator.device) for each in batch)
            loss = nn.functional.mse_loss(model(inputs), target)
            optimizer.zero_grad()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if loader.index % 8 == 0:
                save(accelerator, folder, f"step-{epoch * len(loader) + loader.index:06d}")
        accelerator.print(f"epoch {epoch}: loss {loss.item():.6f}", flush=True)
    parameters = b"".join(each.detach().cpu().numpy().tobytes() for each in model.parameters())
    accelerator.print(hashlib.sha256(parameters).hexdigest())
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "own-loop-accelerate"))
