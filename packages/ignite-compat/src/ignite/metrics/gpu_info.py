"""Memory and utilization of the GPUs."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from camshaft.engine import CallableEventWithFilter, Engine, Events
from ignite.metrics.metric import Metric

__all__ = ["GpuInfo"]


class GpuInfo(Metric):
    """Share of each GPU's memory that is in use, and how busy it is, in per cent.

    The results are "<name>:<GPU> mem(%)" and "<name>:<GPU> util(%)".

    Raises:
        RuntimeError: there is no CUDA device.
        ModuleNotFoundError: pynvml is not installed.

    Examples:
        >>> if torch.cuda.is_available():
        ...     GpuInfo().attach(Engine(lambda engine, batch: batch), name="gpu")
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("pynvml") is None:  # torch asks it
            raise ModuleNotFoundError("GpuInfo needs pynvml: pip install nvidia-ml-py")
        if not torch.cuda.is_available():
            raise RuntimeError("GpuInfo needs a CUDA device, and there is none")
        super().__init__()

    def reset(self) -> None:
        """Do nothing: it counts nothing."""

    def update(self, output: Any) -> None:
        """Do nothing: it counts nothing."""

    def compute(self) -> list[dict[str, int]]:
        """Return what each GPU is doing now.

        Returns:
            For each GPU its used memory ("mem") and its utilization ("util"), in per cent.
        """
        found = []
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            found.append({"mem": round(100 * (total - free) / total), "util": torch.cuda.utilization(index)})
        return found

    def completed(self, engine: Engine[Any, Any], name: str) -> None:
        """Put the numbers into `engine.state.metrics`.

        Args:
            engine: the engine.
            name: beginning of their keys.
        """
        for index, gpu in enumerate(self.compute()):
            for kind, value in gpu.items():
                engine.state.metrics[f"{name}:{index} {kind}(%)"] = value

    def attach(  # type: ignore[override]  # Ignite's own
        self,
        engine: Engine[Any, Any],
        name: str = "gpu",
        event_name: CallableEventWithFilter = Events.ITERATION_COMPLETED,
    ) -> None:
        """Write the numbers at an event.

        Args:
            engine: the engine.
            name: beginning of their keys.
            event_name: the event.
        """
        engine.add_event_handler(event_name, self.completed, name)
