from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from camshaft.engine import Engine, Events, RemovableEventHandle


class Listener:
    def __init__(self) -> None:
        self.calls = 0

    def listen(self) -> None:
        self.calls += 1

    def __call__(self) -> None:
        self.calls += 1


def make() -> Engine[Any, Any]:
    return Engine(lambda engine, batch: None)


def test_remove_can_be_called_twice() -> None:
    engine, listener = make(), Listener()
    handle = engine.add_event_handler(Events.STARTED, listener)
    handle.remove()
    handle.remove()
    engine.run([1])

    assert listener.calls == 0
    assert isinstance(handle, RemovableEventHandle)


def test_remove_takes_off_its_own_attachment_only() -> None:
    engine, listener = make(), Listener()
    engine.add_event_handler(Events.STARTED, listener)
    engine.add_event_handler(Events.STARTED, listener).remove()
    engine.run([1])

    assert listener.calls == 1


@pytest.mark.parametrize("method", [False, True])
def test_a_block_can_be_entered_again(method: bool) -> None:
    engine, listener = make(), Listener()
    handle = engine.add_event_handler(Events.ITERATION_STARTED, listener.listen if method else listener)
    for expected in (2, 4):
        with handle as entered:
            assert entered is handle
            engine.run([1, 2])
        engine.run([1, 2])

        assert listener.calls == expected


def test_a_block_ends_with_the_handler_off_also_after_an_error() -> None:
    engine, listener = make(), Listener()
    with pytest.raises(OSError, match="inside"), engine.add_event_handler(Events.STARTED, listener):
        raise OSError("inside")
    engine.run([1])

    assert listener.calls == 0


def test_lists_and_filters_are_taken_off_and_put_back_as_a_whole() -> None:
    engine, listener = make(), Listener()
    handle = engine.add_event_handler(Events.STARTED | Events.ITERATION_STARTED(every=2), listener)
    engine.run([1, 2, 3, 4])
    assert listener.calls == 3
    handle.remove()
    engine.run([1, 2, 3, 4])
    assert listener.calls == 3
    with handle:
        engine.run([1, 2, 3, 4])
    assert listener.calls == 6


def test_handler_and_engine_are_held_weakly() -> None:
    engine, listener = make(), Listener()
    handle = engine.add_event_handler(Events.STARTED, listener.listen)
    assert handle.engine() is engine
    assert handle.handler() == listener.listen
    kept = weakref.ref(listener)
    handle.remove()
    del listener, engine
    gc.collect()

    assert kept() is None
    assert (handle.engine(), handle.handler()) == (None, None)
    handle.remove()
    with handle:
        pass


def test_the_engine_holds_its_handlers() -> None:
    engine, calls = make(), []
    engine.add_event_handler(Events.STARTED, lambda: calls.append(1))
    gc.collect()
    engine.run([1])

    assert calls == [1]


def test_a_builtin_that_allows_no_weak_reference_can_be_put_back(capsys: pytest.CaptureFixture[str]) -> None:
    engine = make()
    handle = engine.add_event_handler(Events.STARTED, print)
    handle.remove()
    with handle:
        engine.run([1])

    assert "Engine" in capsys.readouterr().out
