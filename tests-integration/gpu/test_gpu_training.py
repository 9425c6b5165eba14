"""The rows of a supervised training on a GPU: each gives what the same loop written by hand gives, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gpu_training import (
    DEVICE,
    FLOAT16,
    PRECISIONS,
    assert_same,
    make_batches,
    make_model,
    make_optimizer,
    make_trainer,
    needs_gpu,
    same_bits,
    train,
    train_by_hand,
    values,
)
from torch.utils.data import DataLoader, TensorDataset

from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, DiskSaver

pytestmark = needs_gpu

BY_HAND: dict[str, dict[str, Any]] = {
    "full": {},
    "bfloat16": {"dtype": torch.bfloat16},
    "float16 with a scaler": {"dtype": torch.float16, "scaled": True},
}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_each_precision_trains_as_by_hand(precision: str) -> None:
    with same_bits():
        expected = train_by_hand(make_batches(), **BY_HAND[precision])
        actual = train(make_batches(), **PRECISIONS[precision])
    assert_same(values(expected), values(actual))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_accumulation_trains_as_by_hand(precision: str) -> None:
    with same_bits():
        expected = train_by_hand(make_batches(), window=3, **BY_HAND[precision])
        actual = train(make_batches(), gradient_accumulation_steps=3, **PRECISIONS[precision])
    assert_same(values(expected), values(actual))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_clipping_trains_as_by_hand(precision: str) -> None:
    with same_bits():
        expected = train_by_hand(make_batches(), norm=0.1, **BY_HAND[precision])
        actual = train(make_batches(), clip_grad_norm=0.1, **PRECISIONS[precision])
    assert_same(values(expected), values(actual))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_batches_are_moved_to_the_gpu(precision: str) -> None:
    with same_bits():
        expected = train(make_batches(), **PRECISIONS[precision])
        actual = train(make_batches(device="cpu"), **PRECISIONS[precision])
    assert_same(values(expected), values(actual))


def without_dropout() -> torch.nn.Module:
    """Return a model whose compiled form draws no random numbers: those are others."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.GELU(), torch.nn.Linear(16, 4)).to(DEVICE)


@pytest.mark.filterwarnings("ignore")  # what the compiler warns of is its own
def test_a_compiled_model_trains_as_an_eager_one() -> None:
    batches = [(x[:, 0, 0], y) for x, y in make_batches()]
    eager, compiled = without_dropout(), without_dropout()
    make_trainer(eager, torch.optim.SGD(eager.parameters(), lr=0.1)).run(batches)
    make_trainer(compiled, torch.optim.SGD(compiled.parameters(), lr=0.1), compile=True).run(batches)
    torch.testing.assert_close(compiled.state_dict(), eager.state_dict(), rtol=1e-3, atol=1e-4)


def make_job(precision: dict[str, Any], steps: int) -> tuple[Engine[Any, Any], dict[str, Any]]:
    """Return a trainer that resumes exactly, and all that is saved with it."""
    model = make_model()
    optimizer = make_optimizer(model)
    trainer = make_trainer(
        model, optimizer, deterministic=True, gradient_accumulation_steps=steps, clip_grad_norm=1.0, **precision
    )
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: schedule.step())
    return trainer, {"trainer": trainer, "model": model, "optimizer": optimizer, "schedule": schedule}


def make_loader() -> DataLoader[Any]:
    x, y = (torch.cat(each) for each in zip(*make_batches(device="cpu"), strict=True))
    return DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)


# At the end of an epoch that is still to come the schedule steps before the new process has stepped the optimizer.
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("steps", [1, 3], ids=["each iteration steps", "accumulated"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_run_resumed_from_any_checkpoint_ends_bit_for_bit_alike(precision: str, steps: int, tmp_path: Any) -> None:
    trainer, parts = make_job(PRECISIONS[precision], steps)
    save = Checkpoint(parts, DiskSaver(tmp_path, durable=False), n_saved=None)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, save)
    trainer.run(make_loader(), max_epochs=2, seed=5)
    expected = [values(part) for name, part in parts.items() if name != "trainer"]

    files = sorted(tmp_path.glob("*.pt"), key=lambda file: int(file.stem.rpartition("_")[2]))
    assert len(files) == 12
    for number, file in enumerate(files[:-1]):
        torch.manual_seed(number)  # wherever the generators stand
        resumed, its_parts = make_job(PRECISIONS[precision], steps)
        torch.rand(3, device=DEVICE)
        Checkpoint.load_objects(its_parts, file)
        resumed.run(make_loader())
        assert_same(expected, [values(part) for name, part in its_parts.items() if name != "trainer"])


def test_the_scale_goes_on_where_it_was_saved() -> None:
    trainer, _ = make_job(FLOAT16, 1)
    trainer.run(make_loader(), seed=5)
    again, _ = make_job(FLOAT16, 1)
    again.load_state_dict(trainer.state_dict())
    assert trainer.state.scaler.state_dict() == again.state.scaler.state_dict()
