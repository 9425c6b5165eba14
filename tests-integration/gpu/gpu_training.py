"""A small training on the GPU, by a trainer and by hand, and what counts how often it waits for the device.

The tests of this folder need a GPU. To try the tests themselves without one: `TESTS_DEVICE=cpu`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from camshaft.engine import Engine
from camshaft.supervised import create_supervised_trainer

Batches = list[tuple[Tensor, Tensor]]

# cuBLAS reads it once, when a process first uses it, whichever test comes first.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
DEVICE = os.environ.get("TESTS_DEVICE", "cuda")
needs_gpu = pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a GPU")

FULL: dict[str, Any] = {}
BFLOAT16: dict[str, Any] = {"amp_mode": "amp"}
FLOAT16: dict[str, Any] = {"amp_mode": "amp", "scaler": True}
PRECISIONS = {"full": FULL, "bfloat16": BFLOAT16, "float16 with a scaler": FLOAT16}


def make_model() -> nn.Module:
    """Return a network with everything that behaves in its own way on a GPU: convolution, statistics, dropout.

    Without a bias before the normalisation: its gradient is nothing but rounding, which Adam would make large.
    """
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(8 * 64, 16), nn.ReLU(), nn.Linear(16, 4),
    ).to(DEVICE)  # fmt: skip


def make_optimizer(model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    """Return Adam, which has a state of its own."""
    return torch.optim.Adam(model.parameters(), lr=0.01, **options)


def make_batches(count: int = 6, device: str = DEVICE) -> Batches:
    """Return random images with random labels; the same ones each time."""
    generator = torch.Generator().manual_seed(1)
    shape = (8, 1, 8, 8)
    return [
        (
            torch.randn(shape, generator=generator).to(device),
            torch.randint(4, (8,), generator=generator).to(device),
        )
        for _ in range(count)
    ]


def make_trainer(model: nn.Module, optimizer: torch.optim.Optimizer, **options: Any) -> Engine[Any, Any]:
    """Return a trainer of the model."""
    return create_supervised_trainer(model, optimizer, cross_entropy, device=DEVICE, **options)


def train(batches: Batches, **options: Any) -> nn.Module:
    """Return what a trainer makes of the model."""
    model = make_model()
    make_trainer(model, make_optimizer(model), **options).run(batches)
    return model


def train_by_hand(
    batches: Batches,
    dtype: torch.dtype | None = None,
    *,
    scaled: bool = False,
    window: int = 1,
    norm: float | None = None,
) -> nn.Module:
    """Return what the loop makes of the model that everybody writes."""
    model = make_model()
    optimizer, scaler = make_optimizer(model), torch.amp.GradScaler(DEVICE, enabled=scaled)
    for number, (x, y) in enumerate(batches):
        if number % window == 0:
            optimizer.zero_grad()
        with nullcontext() if dtype is None else torch.autocast(DEVICE, dtype):
            loss = cross_entropy(model(x), y)
        scaler.scale(loss if window == 1 else loss / window).backward()  # type: ignore[no-untyped-call]
        if number % window == window - 1:
            if norm is not None:
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), norm)
            scaler.step(optimizer)
            scaler.update()
    return model


@contextmanager
def same_bits() -> Iterator[None]:
    """Let kernels give the same bits each time."""
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False


def values(stateful: Any) -> Any:
    """Return the state of an object with copies of its tensors on the CPU."""
    return _copied(stateful.state_dict())


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value


def assert_same(expected: Any, actual: Any) -> None:
    """Assert that nested values are the same, bit for bit."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def count_waits(call: Callable[[], object]) -> int:
    """Return how often a call waits for the GPU, as far as torch can tell."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(warning.message) for warning in caught)


def count_waits_of(engine: Engine[Any, Any], batches: Batches) -> tuple[int, int]:
    """Return how often a run over the first batch waits for the GPU, and how often one over all of them."""
    return count_waits(lambda: engine.run(batches[:1])), count_waits(lambda: engine.run(batches))


@contextmanager
def waiting_refused() -> Iterator[None]:
    """Let every call that waits for the GPU raise an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
