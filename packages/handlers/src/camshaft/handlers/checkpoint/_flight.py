"""A save that is written in the background, until its handler has taken note of it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple

from camshaft.engine import Finishing, ranks
from camshaft.handlers._rank import is_distributed
from camshaft.handlers.checkpoint.storage._saver import Saver

if TYPE_CHECKING:
    from camshaft.handlers.checkpoint._naming import PendingSave
    from camshaft.handlers.checkpoint.storage._background import Saving


class Flight(NamedTuple):
    """A save on its way.

    Attributes:
        pending: The save as it was asked for.
        saving: What goes on in the background; None in a process that another one saves for, unless it does a part.
        is_writer: Whether this process is the one that saves.
    """

    pending: PendingSave
    saving: Saving | None
    is_writer: bool = True


class InFlight:
    """The save of a handler that is on its way, if there is one. A copy has none, and neither has a forked process."""

    def __init__(self) -> None:
        self._flights: list[Flight] = []

    def __reduce__(self) -> tuple[type[InFlight], tuple[()]]:
        return InFlight, ()

    @property
    def present(self) -> Flight | None:
        """The save that is on its way."""
        for flight in self._flights:
            if flight.saving is None or not flight.saving.is_elsewhere:
                return flight
        return None

    def when_known(self) -> Finishing:
        """Return what is done when the save is; of several processes none may look before the others do."""
        flight = self.present
        return Future() if flight is None or flight.saving is None or ranks().size > 1 else flight.saving.done

    def begin(self, pending: PendingSave, saving: Saving | None, *, is_writer: bool = True) -> None:
        """Note that a save is on its way."""
        self._flights.append(Flight(pending, saving, is_writer))

    def land(self, flight: Flight) -> bool:
        """Note that a save is over; return whether nobody else has."""
        if not any(each is flight for each in self._flights):
            return False
        self._flights = [each for each in self._flights if each is not flight]
        return True


def is_left_out(save_handler: object, pending: PendingSave, flight: Flight | None) -> bool:
    """Return whether a save is not done because another one is still being written.

    Never as a run ends, and never with several processes, which have to do the same.
    """
    if flight is None or flight.saving is None or flight.saving.done.done() or pending.is_last:
        return False
    is_alone = ranks().size == 1 and not is_distributed()
    return is_alone and isinstance(save_handler, Saver) and save_handler.when_busy == "skip"
