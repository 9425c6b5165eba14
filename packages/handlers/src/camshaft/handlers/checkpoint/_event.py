"""What saves of checkpoints fire."""

from __future__ import annotations

from camshaft.engine import EventEnum


class CheckpointEvents(EventEnum):
    """What a `Checkpoint` fires, on the engine that it was called with."""

    auto_register = True
    SAVED_CHECKPOINT = "saved_checkpoint"
