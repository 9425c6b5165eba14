"""What users ask of a run: to stop, to end the epoch, to be suspended, to take other data, to reach a safe point.

Each request is a value or None, kept here until `Run` heeds it, which it does in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from camshaft.engine._events import Events
from camshaft.engine._position import Position


class Terminate(NamedTuple):
    """End the run."""

    skip_completed: bool


class TerminateEpoch(NamedTuple):
    """End the epoch."""

    skip_epoch_completed: bool


class NewData(NamedTuple):
    """Take the next batch from other data."""

    data: Any


class Finishing(Protocol):
    """Work that another thread may be doing, as a `concurrent.futures.Future` is."""

    def add_done_callback(self, fn: Callable[[Any], object], /) -> object:
        """Call `fn` when it is done, in whichever thread, or at once if it is."""


class Once:
    """Calls something once, for whoever calls first."""

    __slots__ = ("_callbacks",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callbacks = [callback]

    @property
    def is_called(self) -> bool:
        """Return whether it was called."""
        return not self._callbacks

    def __call__(self) -> None:
        try:
            callback = self._callbacks.pop()  # one step, whichever threads do it
        except IndexError:
            return
        callback()


class Wishes(Protocol):
    """Requests of this process that the others have not agreed to yet; see `_vote`."""

    wishes: set[str]
    explain: Callable[[BaseException], BaseException]

    def hold_vote(self, requests: Requests, event: Events, position: Position) -> None:
        """Tell the wishes to the others, and have what was agreed on asked for."""

    def heed(self, requests: Requests) -> None:
        """Take what is asked for as wishes, and ask for what was agreed on."""

    def call(self, requests: Requests, callback: Callable[[], object]) -> None:
        """Call what has waited for a safe point; what it asks for is a wish, unless all processes call it."""

    def forget(self, name: str) -> None:
        """Forget a wish for what has this name."""

    def drop(self) -> None:
        """Forget all wishes but those that have a name."""


class Requests:
    """What is asked of an engine's run, and what waits for its next safe point.

    Attributes:
        signal: whether the loop has to look: something below, a handler or the state has changed. It is
            the one thing that the loop looks at in each iteration.
        terminate: asked for with `Engine.terminate`; before a run it is for the next one.
        terminate_epoch: asked for with `Engine.terminate_epoch`.
        interrupt: asked for with `Engine.interrupt`.
        new_data: given with `Engine.set_data`; before a run it is for the next one.
        callbacks: what to call at the next safe point.
        awaited: what to call when work of another thread is done, or at the last safe point.
        named: what `Engine.add_request` has given a name; another mapping after each change.
        asked: names of those that are asked for; only with an agreement, else they are called at the next safe point.
        agreement: lets several processes carry out requests together; None where each does so by itself.
        holds: safe points wait while one of these returns True.
    """

    __slots__ = (
        "__weakref__",
        "agreement",
        "asked",
        "awaited",
        "callbacks",
        "holds",
        "interrupt",
        "named",
        "new_data",
        "signal",
        "terminate",
        "terminate_epoch",
    )  # fmt: skip

    def __init__(self) -> None:
        self.agreement: Wishes | None = None
        self.named: Mapping[str, Callable[[], object]] = {}
        self.asked: set[str] = set()
        self.holds: list[Callable[[], bool]] = []
        self.callbacks: list[Callable[[], object]] = []
        self.awaited: list[Once] = []
        self.signal = False
        self.drop()

    def drop(self) -> None:
        """Drop what is asked for: the run that it was asked of has ended. What has a name waits for the next one."""
        self.terminate: Terminate | None = None
        self.terminate_epoch: TerminateEpoch | None = None
        self.interrupt = False
        self.new_data: NewData | None = None
        for each in [each for each in self.callbacks if each not in self.named.values()]:
            self.callbacks.remove(each)  # one at a time: another thread may add to them meanwhile
        self.awaited.clear()
        if self.agreement is not None:
            self.agreement.drop()

    def notice(self) -> None:
        """Make the loop look."""
        self.signal = True

    def at_safe_point(self, callback: Callable[[], object]) -> None:
        """Keep `callback` for the next safe point."""
        self.callbacks.append(callback)
        self.signal = True

    def at_safe_point_after(self, work: Finishing, callback: Callable[[], object]) -> None:
        """Keep `callback` for the first safe point after the work is done, or for the last one of the run."""
        once = Once(callback)
        self.awaited = [each for each in self.awaited if not each.is_called]
        self.awaited.append(once)
        work.add_done_callback(lambda _: self.at_safe_point(once))

    def give_up_waiting(self) -> None:
        """Do not wait any longer for work of other threads: what is called after it is due."""
        awaited, self.awaited = self.awaited, []
        self.callbacks += awaited

    def add(self, name: str, callback: Callable[[], object]) -> None:
        """Give `callback` a name, by which it can be asked for."""
        self.named = {**self.named, name: callback}

    def ask(self, name: str) -> None:
        """Ask for what has a name: at the next safe point, or, with an agreement, once all processes do."""
        if self.agreement is None:
            self.callbacks.append(self.named[name])
        else:
            self.asked.add(name)
        self.signal = True

    def forget(self, name: str) -> None:
        """Drop what has a name, and requests for it."""
        callback = self.named[name]
        self.named = {each: call for each, call in self.named.items() if each != name}
        self.asked.discard(name)
        while callback in self.callbacks:
            self.callbacks.remove(callback)
        if self.agreement is not None:
            self.agreement.forget(name)

    def explain(self, error: BaseException) -> BaseException:
        """Return the error that a run ends with: the one given, or one that says what another process did."""
        return error if self.agreement is None else self.agreement.explain(error)

    def raise_explained(self, error: BaseException) -> None:
        """Raise what says better than an error why a run ends, if there is such a thing."""
        told = self.explain(error)
        try:
            if told is not error:
                raise told from error
        finally:
            del told  # its traceback leads here: a cycle would keep the engine

    def wished(self) -> set[str]:
        """Return the names of what this process asks for and the others have not agreed to yet."""
        return set() if self.agreement is None else self.agreement.wishes

    def is_held(self) -> bool:
        """Return whether something holds safe points back."""
        return any(hold() for hold in self.holds)

    def call_back(self) -> None:
        """Call what waits for a safe point, in order; what it asks for in turn is called here too."""
        while self.callbacks:
            callback = self.callbacks.pop(0)
            if self.agreement is None:
                callback()
            else:
                self.agreement.call(self, callback)

    def __getstate__(self) -> tuple[list[Callable[[], bool]], Mapping[str, Callable[[], object]]]:
        """Return what a copy is made of: nothing is asked of it, and it shares no requests; the rest is as here."""
        return self.holds, self.named

    def __setstate__(self, state: tuple[list[Callable[[], bool]], Mapping[str, Callable[[], object]]]) -> None:
        self.__init__()  # type: ignore[misc]  # a copy begins as a new one
        self.holds, self.named = state
