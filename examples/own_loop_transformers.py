"""The Trainer of transformers with data that resumes exactly: killed anywhere, it continues bit for bit.

    pip install transformers accelerate && python examples/own_loop_transformers.py

The model is tiny and made here; nothing is downloaded. Kill it at any moment and run the same command again: the last
line is the same. The checkpoints are in the folder `own-loop-transformers`; remove it to start from the beginning.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import get_last_checkpoint

from camshaft.deterministic import ResumableLoader


class Counting(Dataset[dict[str, torch.Tensor]]):
    """Sequences that count up, each from a random number."""

    def __len__(self) -> int:
        return 256

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = torch.arange(16).add(torch.randint(48, ())).remainder(64)
        return {"input_ids": tokens, "labels": tokens}


class LoaderTrainer(Trainer):
    """Trains on a loader that is made outside."""

    loader: ResumableLoader

    def get_train_dataloader(self) -> Any:
        """Return the loader as it is."""
        return self.loader


class SaveLoader(TrainerCallback, ExportableState):
    """Keeps the state of the loader in every checkpoint."""

    def __init__(self) -> None:
        self.loader: Any = None
        self.saved: dict[str, Any] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the loader where the checkpoint says."""
        self.loader = kwargs["train_dataloader"]
        if self.saved is not None:
            self.loader.load_state_dict(self.saved)
        elif state.global_step > 0:
            raise ValueError("the loader's state is missing; restore_callback_states_from_checkpoint=True loads it")

    def state(self) -> dict[str, Any]:
        """Return what goes into the checkpoint."""
        return {"args": {}, "attributes": {"saved": self.loader and self.loader.state_dict()}}


def main(folder: Path) -> None:
    """Train, from the newest checkpoint in the folder if there is one."""
    torch.set_num_threads(1)  # sums are the same on any number of cores
    torch.manual_seed(0)
    loader = ResumableLoader(DataLoader(Counting(), batch_size=8, shuffle=True), seed=0, seed_steps=True)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=16, n_embd=32, n_layer=2, n_head=2))
    arguments = TrainingArguments(
        str(folder),
        num_train_epochs=3,
        save_steps=8,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        ignore_data_skip=True,  # the loader knows its place
        restore_callback_states_from_checkpoint=True,
    )
    trainer = LoaderTrainer(model, arguments, callbacks=[SaveLoader()])
    trainer.loader = loader
    folder.mkdir(exist_ok=True)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)))
    print(hashlib.sha256(b"".join(each.detach().numpy().tobytes() for each in model.parameters())).hexdigest())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "own-loop-transformers"))
