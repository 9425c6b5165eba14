"""Truncated backpropagation through time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ignite.engine import Engine, EventEnum, _prepare_batch
from ignite.utils import apply_to_tensor

__all__ = ["Tbptt_Events", "create_supervised_tbptt_trainer"]


class Tbptt_Events(EventEnum):  # noqa: N801  # the documented name
    """Events around each chunk of a sequence."""

    TIME_ITERATION_STARTED = "time_iteration_started"
    TIME_ITERATION_COMPLETED = "time_iteration_completed"


def create_supervised_tbptt_trainer(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_fn: Callable[[Any, Any], torch.Tensor],
    tbtt_step: int,
    dim: int = 0,
    device: str | None = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., tuple[Any, Any]] = _prepare_batch,
) -> Engine[Any, float]:
    """Make an engine that trains a recurrent model on chunks of long sequences.

    Each batch is cut along time. Each chunk is one optimizer step; the hidden state goes on to the
    next chunk without its graph.

    Args:
        model: called as `model(x)` for the first chunk and as `model(x, hidden)` for the others; returns
            `(y_pred, hidden)`.
        optimizer: updates the model's parameters.
        loss_fn: `loss_fn(y_pred, y)` returns a scalar tensor.
        tbtt_step: length of a chunk; the last one of a sequence may be shorter.
        dim: dimension of time.
        device: where the batch goes; None leaves it.
        non_blocking: copy batches from pinned memory without waiting.
        prepare_batch: `f(batch, device=..., non_blocking=...)` returns `(x, y)`.

    Returns:
        the engine; its output is the mean loss of the chunks, and `state.time_iteration` counts them.
    """

    def step(engine: Engine[Any, float], batch: Any) -> float:
        x, y = prepare_batch(batch, device=device, non_blocking=non_blocking)
        hidden: Any = None
        losses = []
        for x_chunk, y_chunk in zip(x.split(tbtt_step, dim=dim), y.split(tbtt_step, dim=dim), strict=True):
            engine.state.time_iteration += 1
            engine.fire_event(Tbptt_Events.TIME_ITERATION_STARTED)
            model.train()
            optimizer.zero_grad()
            if hidden is None:
                y_pred, hidden = model(x_chunk)
            else:
                y_pred, hidden = model(x_chunk, apply_to_tensor(hidden, torch.Tensor.detach))
            loss = loss_fn(y_pred, y_chunk)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
            losses.append(loss.item())
            engine.state.output = losses[-1]  # what handlers of the chunk read
            engine.fire_event(Tbptt_Events.TIME_ITERATION_COMPLETED)
        return sum(losses) / len(losses)

    engine: Engine[Any, float] = Engine(step)
    engine.register_events(*Tbptt_Events, event_to_attr=dict.fromkeys(Tbptt_Events, "time_iteration"))
    return engine
