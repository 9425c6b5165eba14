"""What an engine is asked to do, as attributes that may be read and set."""

from __future__ import annotations

from camshaft.engine._requests import Requests
from camshaft.engine._run_status import RunStatus


class StopFlags:
    """The attributes `should_terminate`, `should_terminate_single_epoch` and `should_interrupt` of an engine.

    Setting one to True is the same as calling the method; setting it to False takes the request back, also one that
    other processes have not heard of yet.
    """

    _requests: Requests
    _status: RunStatus

    def terminate(self) -> None:
        """End the run."""
        raise NotImplementedError

    def terminate_epoch(self) -> None:
        """End the epoch."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """Suspend the run."""
        raise NotImplementedError

    @property
    def should_terminate(self) -> bool:
        """Whether the run is asked to end; true after a terminated run until the next one begins."""
        if self._requests.terminate is not None or self._is_wished("terminate"):
            return True
        return self._status.going() is None and self._status.last().was_terminated

    @should_terminate.setter
    def should_terminate(self, value: bool) -> None:
        if value:
            self.terminate()
        else:
            self._requests.terminate = None
            self._take_back("terminate")

    @property
    def should_terminate_single_epoch(self) -> bool:
        """Whether the epoch is asked to end."""
        return self._requests.terminate_epoch is not None or self._is_wished("terminate_epoch")

    @should_terminate_single_epoch.setter
    def should_terminate_single_epoch(self, value: bool) -> None:
        if value:
            self.terminate_epoch()
        else:
            self._requests.terminate_epoch = None
            self._take_back("terminate_epoch")

    @property
    def should_interrupt(self) -> bool:
        """Whether the run is asked to suspend itself, or was suspended."""
        if self._requests.interrupt or self._is_wished("interrupt"):
            return True
        return self._status.going() is None and self._status.last().suspended is not None

    @should_interrupt.setter
    def should_interrupt(self, value: bool) -> None:
        if value:
            self.interrupt()
        else:
            self._requests.interrupt = False
            self._take_back("interrupt")

    def _is_wished(self, kind: str) -> bool:
        return any(name.partition(",")[0] == kind for name in self._requests.wished())

    def _take_back(self, kind: str) -> None:
        for name in [each for each in self._requests.wished() if each.partition(",")[0] == kind]:
            self._requests.wished().discard(name)
