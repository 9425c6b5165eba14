"""Let the batch size grow while a model is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.data import BatchSampler, DataLoader

from camshaft.engine import ArgumentError, ArgumentTypeError, Events, is_integer
from ignite.handlers._annotations import AnyEngine, AnyEvent
from ignite.handlers._scheduler import BaseParamScheduler, note_value


class BatchSizeScheduler(BaseParamScheduler):
    """Set the batch size of a loader's batch sampler at each event.

    Args:
        dataloader: a loader with a batch sampler.
        scheduler_fn: ``f(event_index)`` returns the batch size, at least 1.
        save_history: whether values are collected in `engine.state.param_history`.

    Raises:
        TypeError: `dataloader` is no loader, or `scheduler_fn` cannot be called.
        ValueError: the loader has no batch sampler.

    Examples:
        >>> BatchSizeScheduler.simulate_values(3, scheduler_fn=lambda epoch: 8 * 2**epoch)
        [[0, 8], [1, 16], [2, 32]]
    """

    def __init__(
        self, dataloader: DataLoader[Any], scheduler_fn: Callable[[int], int], save_history: bool = False
    ) -> None:
        super().__init__("batch_size", save_history)
        if not isinstance(dataloader, DataLoader):
            raise ArgumentTypeError(f"`dataloader` must be a DataLoader, got {type(dataloader)}")
        if not isinstance(dataloader.batch_sampler, BatchSampler):
            raise ArgumentError(f"`dataloader` must have a batch sampler, got {dataloader.batch_sampler!r}")
        if not callable(scheduler_fn):
            raise ArgumentTypeError(f"`scheduler_fn` must be a function, got {type(scheduler_fn)}")
        self.dataloader = dataloader
        self.scheduler_fn = scheduler_fn

    def attach(self, engine: AnyEngine, event: AnyEvent = Events.EPOCH_STARTED) -> None:
        """Set the batch size at an event of an engine.

        Args:
            engine: the trainer.
            event: when.
        """
        engine.add_event_handler(event, self)

    def __call__(self, engine: AnyEngine | None) -> None:
        """Set the batch size for the current event, and count it.

        Raises:
            ValueError: `scheduler_fn` returns no positive integer.
        """
        size = self.get_param()
        sampler: Any = self.dataloader.batch_sampler
        sampler.batch_size = size
        if self.save_history and engine is not None:
            note_value(engine, self.param_name, size)
        self.event_index += 1

    def get_param(self) -> int:
        """Return the batch size for the current event.

        Raises:
            ValueError: `scheduler_fn` returns no positive integer.
        """
        size = self.scheduler_fn(self.event_index)
        if not is_integer(size) or size < 1:
            raise ArgumentError(f"`scheduler_fn` must return a positive integer, got {size!r}")
        return size

    @classmethod
    def simulate_values(cls, num_events: int, **scheduler_kwargs: Any) -> list[Any]:
        """Return `[event_index, batch size]` for the first events.

        Args:
            num_events: how many events.
            scheduler_kwargs: `scheduler_fn`.

        Raises:
            ValueError: `scheduler_fn` is missing.
        """
        if "scheduler_fn" not in scheduler_kwargs:
            raise ArgumentError(f"`scheduler_kwargs` must have 'scheduler_fn', got {sorted(scheduler_kwargs)}")
        function = scheduler_kwargs["scheduler_fn"]
        return [[index, function(index)] for index in range(num_events)]
