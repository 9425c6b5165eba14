"""What a save writes: the states of the objects, what the file says about itself, and, if wanted, the list in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from camshaft.handlers.checkpoint._objects import collect, with_entry
from camshaft.handlers.checkpoint._saved_list import saved_state
from camshaft.handlers.checkpoint._saving import write
from camshaft.handlers.checkpoint.storage._save_handler import SaveMetadata

if TYPE_CHECKING:
    from camshaft.handlers.checkpoint._deferred_signals import deferred_signals
    from camshaft.handlers.checkpoint._keeper import Writing
    from camshaft.handlers.checkpoint._naming import PendingSave
    from camshaft.handlers.checkpoint._objects import Payload
    from camshaft.handlers.checkpoint._retention import Plan
    from camshaft.handlers.checkpoint.storage._background import Saving

SELF_KEY = "checkpointer"


def writing(save_handler: Any, pending: PendingSave, rest: Payload | None, *, include_self: bool) -> Writing:
    """Collect the states, which are fixed now, and return what writes them.

    Args:
        save_handler: Where they go.
        pending: The save.
        rest: What is left of the states, where some of them was kept apart; None to collect them.
        include_self: Whether the list of kept checkpoints is written too, as it will be.

    Raises:
        ArgumentTypeError: a tensor in a state is sharded over several processes.
    """
    payload = rest or collect(pending.to_save)
    record = replace(pending.record, exact=pending.was_exact and pending.is_exact())

    def write_payload(what: Plan, signals: deferred_signals) -> Saving | None:
        whole = with_entry(payload, SELF_KEY, saved_state(what.keep)) if include_self else payload
        metadata = SaveMetadata(replace(record, keys=whole.keys, is_bare=whole.is_bare))
        return write(save_handler, whole.state, pending.item.filename, metadata, signals)

    return write_payload
