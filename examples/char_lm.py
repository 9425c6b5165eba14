"""Train a language model of characters on the texts of Python's help.

It accumulates and clips gradients, follows a one-cycle learning rate, and evaluates averaged parameters.

    python examples/char_lm.py      some seconds; prints bits per character, and those of a model that only counts
"""

from __future__ import annotations

import math
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

from camshaft.engine import Events
from camshaft.supervised import attach_mean_loss, create_supervised_evaluator, create_supervised_trainer

LENGTH, BATCH, ACCUMULATED, EPOCHS = 32, 64, 2, 2


class CharacterModel(nn.Module):
    """Predicts each character from those before it."""

    def __init__(self, vocabulary: int, width: int = 96) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.readout = nn.Linear(width, vocabulary)

    def forward(self, characters: Tensor) -> Tensor:
        """Return the logits of the character after each one: shape `(N, length)` to `(N, length, vocabulary)`."""
        hidden, _ = self.recurrent(self.embedding(characters))
        return self.readout(hidden)  # type: ignore[no-any-return]  # torch does not say what its modules return


def loss_fn(logits: Tensor, following: Tensor) -> Tensor:
    """Return the mean cross entropy per character, in nats."""
    return cross_entropy(logits.flatten(0, 1), following.flatten())


def make_loader(text: Tensor, shuffle: bool) -> DataLoader[tuple[Tensor, ...]]:
    """Return a loader of pieces of the text, each with the same piece shifted by one character."""
    windows = text.unfold(0, LENGTH + 1, LENGTH)
    return DataLoader(TensorDataset(windows[:, :-1], windows[:, 1:]), BATCH, shuffle=shuffle, drop_last=shuffle)


def entropy_of_counts(training: Tensor, validation: Tensor, vocabulary: int) -> float:
    """Return the bits per character of a model that only knows how frequent each character is."""
    frequency = torch.bincount(training, minlength=vocabulary) + 1.0
    return cross_entropy(frequency.log().expand(len(validation), -1), validation).item() / math.log(2)


def main() -> None:
    """Train, evaluate, print."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    text = "\n".join(topics.values())[:250_000]  # half of it, so that this takes only seconds
    characters = sorted(set(text))
    code = {character: number for number, character in enumerate(characters)}
    encoded = torch.tensor([code[character] for character in text])
    training, validation = encoded[: len(encoded) * 9 // 10], encoded[len(encoded) * 9 // 10 :]
    loader = make_loader(training, shuffle=True)

    model = CharacterModel(len(characters))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    steps = EPOCHS * math.ceil(len(loader) / ACCUMULATED)
    schedule = OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    averaging = get_ema_multi_avg_fn(0.95)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    average = AveragedModel(model, multi_avg_fn=averaging)

    def follow_step(*_: object) -> None:
        average.update_parameters(model)
        schedule.step()

    # After each optimizer step: the last window of an epoch may be shorter than the others.
    optimizer.register_step_post_hook(follow_step)

    trainer = create_supervised_trainer(
        model, optimizer, loss_fn, gradient_accumulation_steps=ACCUMULATED, clip_grad_norm=1.0
    )
    evaluator = create_supervised_evaluator(average)
    attach_mean_loss(evaluator, loss_fn)

    @trainer.on(Events.EPOCH_COMPLETED)
    def evaluate() -> None:
        loss = evaluator.run(make_loader(validation, shuffle=False)).metrics["loss"]
        print(f"epoch {trainer.state.epoch}: {loss / math.log(2):.3f} bits per character")

    trainer.run(loader, max_epochs=EPOCHS)
    print(f"counting: {entropy_of_counts(training, validation, len(characters)):.3f} bits per character")


if __name__ == "__main__":
    main()
