"""What a handler keeps: writing a checkpoint, then the list of those that are kept, then removing what is replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from camshaft.engine import ranks
from camshaft.handlers.checkpoint._deferred_signals import deferred_signals
from camshaft.handlers.checkpoint._flight import Flight, InFlight
from camshaft.handlers.checkpoint._retention import Item, Plan, surplus
from camshaft.handlers.checkpoint._saved_list import SavedList, Turn
from camshaft.handlers.checkpoint._saving import remove
from camshaft.handlers.checkpoint._together import as_write_error_of_rank, tell_all
from camshaft.handlers.checkpoint._waiting import Waiting

if TYPE_CHECKING:
    from camshaft.handlers.checkpoint._naming import PendingSave
    from camshaft.handlers.checkpoint.storage._background import Saving

Planning = Callable[[Sequence[Item], Item], Plan | None]
Writing = Callable[[Plan, deferred_signals], "Saving | None"]


class Keeper:
    """The checkpoints that a handler keeps: files and list change together, or not at all.

    Attributes:
        saved: The list.
        in_flight: The save that is still being written.
        waiting: The saves that wait for a safe point.
        knows_files: Whether the list was restored, or begun by a save.

    Args:
        save_handler: What removes files.
    """

    def __init__(self, save_handler: Any) -> None:
        self.saved = SavedList()
        self.in_flight = InFlight()
        self.waiting = Waiting()
        self.knows_files = False
        self._save_handler = save_handler
        self._turn = Turn()

    def restart(self, saved: SavedList) -> None:
        """Take over a list."""
        self.saved, self.knows_files = saved, True

    def expected(self, plan: Planning) -> Sequence[Item]:
        """Return what is kept if the save in flight goes well."""
        items, flight = self.saved.items, self.in_flight.present
        what = None if flight is None else plan(items, flight.pending.item)
        return items if what is None else what.keep

    def keep(self, pending: PendingSave, plan: Planning, write: Writing | None) -> SavedList | None:
        """Write a checkpoint and remove what it replaces; return the list, None if it is still being written.

        Args:
            pending: The save.
            plan: Says what becomes of a list.
            write: Writes it; None in a process that another one writes for.
        """
        with deferred_signals() as signals, self._turn:
            what = plan(self.saved.items, pending.item)  # another thread may have saved meanwhile
            # Where processes do it together, the one that writes tells the others what becomes of the list.
            if what is None or (write is None and ranks().size > 1):
                return self.saved
            if write is not None:
                saving = write(what, signals)
                if saving is not None:
                    self.in_flight.begin(pending, saving)
                    return None
            return self._put(pending.item, plan, is_writer=write is not None)

    def land(self, flight: Flight, plan: Planning) -> SavedList | None:
        """Take note of a save in the background that is over; return the list, None if there is nothing to note.

        Raises:
            CheckpointWriteError: the save has failed.
        """
        with deferred_signals(), self._turn:
            # Another thread may have been first, or another process saves.
            if not self.in_flight.land(flight) or flight.saving is None:
                return None
            flight.saving.result()
            if not flight.is_writer:
                return None
            return self._put(flight.pending.item, plan, is_writer=True)

    def settle(self, flight: Flight, plan: Planning, rank: int) -> SavedList | None:
        """Wait for a save in the background, and take note of it, in all processes that save together.

        Args:
            flight: The save.
            plan: Says what becomes of a list.
            rank: Which process saves.

        Returns:
            The list, None if there is nothing to note.

        Raises:
            CheckpointWriteError: the save has failed, or is not over in time.
        """
        pending = flight.pending
        if flight.saving is not None:
            flight.saving.wait()
        if ranks().size > 1 and not pending.engine.is_exact:
            return self.land(flight, plan)  # the run has failed here; the others are elsewhere
        with as_write_error_of_rank(pending.item.filename):
            saved = tell_all(f"{pending.title}: its end", lambda: self.land(flight, plan), rank)
        if saved is not None:
            self.agree(saved)
        return saved

    def agree(self, saved: SavedList) -> None:
        """Take over the list of the process that saves; alone, there is no other."""
        if ranks().size > 1:
            self.saved = saved

    def _put(self, item: Item, plan: Planning, *, is_writer: bool) -> SavedList:
        """Put a checkpoint that is safe into the list, and remove what it replaces."""
        # A save handler of the user's own may have been interrupted by another save of this handler.
        what = plan(self.saved.items, item) or surplus(self.saved.items, item)
        self.saved = SavedList(what.keep, item.filename)
        if is_writer:
            # What is still there stays in the list, and is to be removed by the next save.
            self.saved = SavedList((*what.drop, *what.keep), item.filename)
            for gone in remove(self._save_handler, what.drop):
                self.saved = self.saved.without(gone)
        return self.saved
