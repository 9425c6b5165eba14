"""The part of an engine that is asked for things by name, and shares requests with other processes."""

from __future__ import annotations

from collections.abc import Callable

from camshaft.engine._errors import ArgumentError, ArgumentTypeError, RunningError
from camshaft.engine._event_source import EventSource
from camshaft.engine._events import Events
from camshaft.engine._requests import Requests
from camshaft.engine._run_status import RunStatus
from camshaft.engine._value import as_integer
from camshaft.engine._vote import OWN_WISHES, Agreement, Vote

VOTED_AFTER = (Events.STARTED, Events.EPOCH_STARTED, Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED)


class SharedRequests(EventSource):
    """What can be asked for by name, and how several processes do together what one of them is asked for."""

    _requests: Requests
    _status: RunStatus

    def add_request(self, name: str, callback: Callable[[], object]) -> None:
        """Give `callback` a name, by which it can be asked for at any time.

        Args:
            name: what `request` takes. Where several processes share requests, each has to add the same ones.
            callback: called without arguments, at a safe point.

        Raises:
            ArgumentError: the name is taken, or empty.
            ArgumentTypeError: `name` is no string, or `callback` not callable.
        """
        if not isinstance(name, str) or not callable(callback):
            raise ArgumentTypeError(f"`name` must be a string and `callback` callable, got {name!r} and {callback!r}")
        if not name or name in OWN_WISHES or name in self._requests.named:
            raise ArgumentError(f"`name` must be a name of its own, got {name!r}; it is taken or empty")
        self._requests.add(name, callback)

    def remove_request(self, name: str) -> None:
        """Take back what was added under a name; a request for it that waits is dropped.

        Args:
            name: as given to `add_request`.

        Raises:
            ArgumentError: nothing has this name.
        """
        self._require_request(name)
        self._requests.forget(name)

    def request(self, name: str) -> None:
        """Ask for what was added under a name; a signal handler may do so, at any moment.

        It is called at the next safe point of this engine's run, before a stop takes effect; if none is going on, in
        the next run. Where several processes share requests, one of them asks, and all call it at the same safe point.
        One that comes too late for the last vote of a run is carried out in the next run.

        Args:
            name: as given to `add_request`.

        Raises:
            ArgumentError: nothing has this name.

        Examples:
            >>> from camshaft.engine import Engine
            >>> engine = Engine(lambda engine, batch: engine.request("save") if batch == 2 else None)
            >>> engine.add_request("save", lambda: print("saved after iteration", engine.state.iteration))
            >>> state = engine.run([1, 2, 3])
            saved after iteration 2
        """
        self._require_request(name)
        self._requests.ask(name)

    def _require_request(self, name: str) -> None:
        if name not in self._requests.named:
            raise ArgumentError(f"`name` must be one of {sorted(self._requests.named)}, got {name!r}; add it first")

    def share_requests(
        self, vote: Vote | None, every: int = 1, explain: Callable[[BaseException], BaseException] | None = None
    ) -> None:
        """Let several processes carry out together what one of them asks for.

        From then on `terminate`, `terminate_epoch`, `interrupt` and `request` are wishes. `vote` is called, in every
        process, after all handlers of STARTED, EPOCH_STARTED, EPOCH_COMPLETED and of every n-th ITERATION_COMPLETED;
        what it returns takes effect there. Everything else of a run stays with its own process. A run that
        fails reaches no safe point then: the other processes would not be there.

        Args:
            vote: tells the others what this process wishes, and returns what any process wishes; None to end this.
            every: vote after every n-th iteration, at least 1.
            explain: ``f(error) -> error``, called before EXCEPTION_RAISED with what has ended a run, or has refused
                it before it began. It returns the same, or an error that says better what has become of another
                process. This is raised then, and the first is its cause.

        Raises:
            RunningError: a run is going on.
            ArgumentError: `every` is out of range.

        Examples:
            >>> from camshaft.engine import Engine
            >>> engine = Engine(lambda engine, batch: None)
            >>> def vote(event, position, wishes):  # another process wishes an end after iteration 2
            ...     return ["terminate"] if position.iteration == 2 else []
            >>> engine.share_requests(vote)
            >>> engine.run([1, 2, 3]).iteration
            2
        """
        if self._status.going() is not None:
            raise RunningError("share_requests() must not be called inside a run of the same engine")
        every = as_integer("every", every, least=1)
        for listener in self._registry.find(SharedRequests._hold_vote):
            self._registry.remove(listener)
        self._requests.agreement = None if vote is None else Agreement(vote, explain)
        for event in VOTED_AFTER if vote is not None else ():
            filtered = event(every=every) if event is Events.ITERATION_COMPLETED else event
            self._registry.attach(filtered, SharedRequests._hold_vote, (event,), is_last=True)

    def _hold_vote(self, event: Events) -> None:
        """Let the processes vote; attached without the engine, which would keep itself alive."""
        agreement = self._requests.agreement
        if agreement is not None:
            agreement.hold_vote(self._requests, event, self._status.position(self.state))
