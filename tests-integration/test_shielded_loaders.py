from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from camshaft.deterministic import DeterministicEngine, ResumableLoader
from camshaft.engine import Engine
from camshaft.handlers import StopOnSignal

pytestmark = pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="needs signals for real time")


class Signalled(Dataset[int]):
    """Sends the signals to the worker that fetches a sample."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        return index


def loader() -> Any:
    return DataLoader(Signalled(), batch_size=2, num_workers=1)


@pytest.mark.parametrize("make", [loader, lambda: ResumableLoader(loader(), seed=1)], ids=["torch", "resumable"])
@pytest.mark.parametrize("kind", [Engine, DeterministicEngine])
def test_workers_of_a_shielded_loader_go_on_after_a_signal(kind: Any, make: Callable[[], Any]) -> None:
    seen: list[torch.Tensor] = []
    engine, data = kind(lambda engine, batch: seen.append(batch)), make()

    with StopOnSignal(engine, loaders=[data]) as stop:
        engine.run(data)

    assert (torch.cat(seen).tolist(), stop.signal_number) == ([0, 1, 2, 3], None)


def test_a_loader_that_accelerate_has_prepared_is_shielded() -> None:
    accelerate = pytest.importorskip("accelerate")
    engine: Engine[Any, None] = DeterministicEngine(lambda engine, batch: None)
    data = accelerate.Accelerator(cpu=True).prepare(loader())

    with StopOnSignal(engine, loaders=[data]):
        assert engine.run(data).iteration == 2
