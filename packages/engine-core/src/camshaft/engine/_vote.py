"""How several processes carry out together what one of them is asked to do.

Without an agreement a request takes effect in its own process right away. With one it is a wish first. The processes
vote at places that all of them pass: each tells its wishes, and what any of them wishes is then asked of all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Protocol

from camshaft.engine._events import Events
from camshaft.engine._position import Position
from camshaft.engine._requests import Requests, Terminate, TerminateEpoch

OWN_WISHES = (
    "terminate", "terminate, skip_completed", "terminate_epoch", "terminate_epoch, skip_epoch_completed", "interrupt",
)  # fmt: skip


class Vote(Protocol):
    """How wishes are told to the other processes."""

    def __call__(self, event: Events, position: Position, wishes: Mapping[str, bool]) -> Collection[str]:
        """Tell the wishes of this process, and return what any process wishes.

        All processes call it at the same places, in the same order. It may answer one vote late: then it returns
        what was wished at the vote before.

        Args:
            event: the event whose handlers have been called.
            position: where the run stands.
            wishes: everything that can be wished, in the same order in every process, and whether this one does.
        """


Explain = Callable[[BaseException], BaseException]


class Together:
    """What all processes call at the same safe point: what it asks for is asked of all of them."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback

    def __call__(self) -> None:
        self._callback()

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same, or what it calls: who takes that back takes this back."""
        return self._callback == (other._callback if isinstance(other, Together) else other)

    def __hash__(self) -> int:
        return hash(self._callback)


class Agreement:
    """The wishes of one process, between a request and the vote.

    Attributes:
        vote: tells them to the others.
        explain: returns what a run that has failed is to raise, in the place of what was raised.
        wishes: names of what is asked of this process and was not told yet.
        agreed: names of what all processes are to do, since the last vote.
    """

    __slots__ = ("_named", "_nothing", "agreed", "explain", "vote", "wishes")

    def __init__(self, vote: Vote, explain: Explain | None = None) -> None:
        self.vote = vote
        self.explain: Explain = explain or _as_it_is
        self.wishes: set[str] = set()
        self.agreed: set[str] = set()
        self._named: Mapping[str, object] = {}
        self._nothing: Mapping[str, bool] = MappingProxyType({})  # of which nothing is wished

    def hold_vote(self, requests: Requests, event: Events, position: Position) -> None:
        """Tell the wishes to the others; what was agreed on is asked for when the run heeds its requests.

        Args:
            requests: of the run.
            event: all handlers of it have been called.
            position: where the run stands.
        """
        self._take(requests)
        wishes = self._none_of(requests.named)
        if self.wishes:
            told, self.wishes = self.wishes, set()
            wishes = {name: name in told for name in wishes}
        agreed = self.vote(event, position, wishes)
        if agreed:
            self.agreed.update(agreed)
            requests.notice()

    def heed(self, requests: Requests) -> None:
        """Take what is asked for as wishes, and ask for what was agreed on.

        Args:
            requests: of the run.
        """
        self._take(requests)
        if self.agreed:
            agreed, self.agreed = self.agreed, set()
            self._ask(requests, agreed)

    def call(self, requests: Requests, callback: Callable[[], object]) -> None:
        """Call what has waited for a safe point; what it asks for is a wish, unless all processes call it.

        Args:
            requests: of the run.
            callback: what to call.
        """
        if isinstance(callback, Together):
            callback()
            return
        agreed = requests.terminate, requests.terminate_epoch, requests.interrupt
        requests.terminate, requests.terminate_epoch, requests.interrupt = None, None, False
        try:
            callback()
        finally:
            self._take(requests)
            requests.terminate, requests.terminate_epoch, requests.interrupt = agreed

    def forget(self, name: str) -> None:
        """Forget a wish for what has this name.

        Args:
            name: as given to `Engine.add_request`.
        """
        self.wishes.discard(name)
        self.agreed.discard(name)

    def drop(self) -> None:
        """Forget all wishes but those that have a name: the run that the others were for has ended."""
        self.wishes.difference_update(OWN_WISHES)
        self.agreed.difference_update(OWN_WISHES)

    def _none_of(self, named: Mapping[str, object]) -> Mapping[str, bool]:
        """Return everything that can be wished, and that it is not: made once, as most votes are about nothing."""
        if named is not self._named:
            names = (*OWN_WISHES, *sorted(named))
            self._named, self._nothing = named, MappingProxyType(dict.fromkeys(names, False))
        return self._nothing

    def _take(self, requests: Requests) -> None:
        # Each is noted before it is cleared, and cleared only if it was noted: a signal may ask at any moment.
        if requests.terminate is not None:
            self.wishes.add(OWN_WISHES[requests.terminate.skip_completed])
            requests.terminate = None
        if requests.terminate_epoch is not None:
            self.wishes.add(OWN_WISHES[2 + requests.terminate_epoch.skip_epoch_completed])
            requests.terminate_epoch = None
        if requests.interrupt:
            self.wishes.add(OWN_WISHES[4])
            requests.interrupt = False
        while requests.asked:
            self.wishes.add(requests.asked.pop())

    @staticmethod
    def _ask(requests: Requests, agreed: Collection[str]) -> None:
        end, end_quietly, end_epoch, end_epoch_quietly, interrupt = (name in agreed for name in OWN_WISHES)
        if end or end_quietly:
            requests.terminate = Terminate(skip_completed=not end)
        if end_epoch or end_epoch_quietly:
            requests.terminate_epoch = TerminateEpoch(skip_epoch_completed=not end_epoch)
        requests.interrupt = interrupt
        for name in sorted(requests.named.keys() & set(agreed)):
            requests.callbacks.append(Together(requests.named[name]))


def _as_it_is(error: BaseException) -> BaseException:
    return error
