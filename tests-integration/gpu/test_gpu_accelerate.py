"""A training through an accelerator on a GPU: bit for bit that of its own loop, and its scaler is saved."""

from __future__ import annotations

from typing import Any

import pytest
from gpu_training import (
    DEVICE,
    PRECISIONS,
    assert_same,
    make_batches,
    make_model,
    make_optimizer,
    needs_gpu,
    same_bits,
    values,
)
from torch.nn.functional import cross_entropy

from camshaft.supervised import create_supervised_trainer

accelerate = pytest.importorskip("accelerate")
pytestmark = needs_gpu

STEPS, CLIP = 2, 0.1
MIXED_PRECISION = dict(zip(PRECISIONS, ("no", "bf16", "fp16"), strict=True))
needs_scaler = pytest.mark.skipif(DEVICE == "cpu", reason="an accelerator makes a scaler on a GPU only")
SCALED = pytest.param("float16 with a scaler", marks=needs_scaler)


def prepare(precision: str) -> tuple[Any, Any, Any]:
    """Return an accelerator, and the model and the optimizer that it has prepared."""
    from accelerate.state import AcceleratorState, GradientState

    # A process has one precision for all its accelerators, until this is forgotten.
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  # as in its own tests
    GradientState._reset_state()  # noqa: SLF001  # as above
    accelerator = accelerate.Accelerator(
        cpu=DEVICE == "cpu", mixed_precision=MIXED_PRECISION[precision], gradient_accumulation_steps=STEPS
    )
    model = make_model()
    return (accelerator, *accelerator.prepare(model, make_optimizer(model)))


def train_through(precision: str) -> tuple[Any, Any]:
    """Return the model and the trainer of a training through an accelerator."""
    accelerator, model, optimizer = prepare(precision)
    trainer = create_supervised_trainer(model, optimizer, cross_entropy, accelerator=accelerator, clip_grad_norm=CLIP)
    trainer.run(make_batches(4, "cpu"))
    return model, trainer


def train_by_hand(precision: str) -> Any:
    """Return the model of the same training in the loop of the accelerator's own documentation."""
    accelerator, model, optimizer = prepare(precision)
    model.train()
    for x, y in make_batches(4):
        with accelerator.accumulate(model):
            accelerator.backward(cross_entropy(model(x), y))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad()
    return model


@pytest.mark.parametrize("precision", ["full", "bfloat16", SCALED])
def test_the_trainer_does_what_the_loop_of_the_accelerator_does(precision: str) -> None:
    with same_bits():
        expected = train_by_hand(precision)
        model, _ = train_through(precision)
    assert_same(values(expected), values(model))


@needs_scaler
def test_the_scaler_that_the_accelerator_has_made_is_saved_with_the_trainer() -> None:
    _, trainer = train_through("float16 with a scaler")

    assert trainer.state_dict()["stateful"]["scaler"] == trainer.state.scaler.state_dict()
