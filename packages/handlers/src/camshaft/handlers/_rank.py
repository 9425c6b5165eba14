"""Which of several processes this one is. Asking never imports or starts anything."""

from __future__ import annotations

import sys

from camshaft.engine import imported


def current_rank() -> int:
    """Return the number of this process among those that train together, 0 if it is alone."""
    if is_distributed():
        return int(sys.modules["torch.distributed"].get_rank())
    runtime = imported("torch_xla.runtime")
    return int(runtime.global_ordinal()) if runtime is not None else 0


def is_writer() -> bool:
    """Return whether this process is the one that writes what a person reads: files of loggers, the progress bar."""
    return current_rank() == 0


def takes_part(save_on_rank: int) -> bool:
    """Return whether this process has to write, or to help another one to."""
    return current_rank() == save_on_rank or is_xla_in_use()


def is_xla_in_use() -> bool:
    """Return whether this process works with XLA devices, where all processes have to save together."""
    return "torch_xla" in sys.modules


def is_distributed() -> bool:
    """Return whether several processes train together."""
    distributed = imported("torch.distributed")
    return distributed is not None and distributed.is_available() and bool(distributed.is_initialized())
