from __future__ import annotations

from typing import Any

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, Events
from camshaft.engine._registry import Registry, require_event


def test_a_handler_with_a_filter_of_its_own_is_asked_in_its_turn() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    calls: list[str] = []
    engine.add_event_handler(Events.ITERATION_STARTED, lambda: calls.append("first"))

    def ask(engine: Engine[Any, Any], value: int) -> bool:
        calls.append("asked")
        return False

    engine.add_event_handler(Events.ITERATION_STARTED(event_filter=ask), lambda: calls.append("never"))
    engine.add_event_handler(Events.ITERATION_STARTED, lambda: calls.append("last"))
    engine.run([1])

    assert calls == ["first", "asked", "last"]


def test_a_table_is_built_when_it_is_looked_at_and_not_at_each_change() -> None:
    registry = Registry(lambda: None)
    table = registry.table(Events.STARTED)
    registry.attach(Events.STARTED, lambda: None)
    assert table.always is None

    assert registry.table(Events.STARTED) is table
    assert table.always is not None


def test_each_change_of_the_handlers_is_told() -> None:
    told: list[str] = []
    registry = Registry(lambda: told.append("changed"))
    (listener,) = registry.attach(Events.STARTED, lambda: None)
    registry.remove(listener)
    registry.remove(listener)

    assert told == ["changed", "changed"]


def test_removing_a_handler_from_among_others_keeps_their_order() -> None:
    registry, calls = Registry(lambda: None), []
    listeners = [registry.attach(Events.STARTED, lambda number=number: calls.append(number))[0] for number in range(4)]
    registry.remove(listeners[1])
    call = registry.table(Events.STARTED).always
    assert call is not None
    call(None)

    assert calls == [0, 2, 3]


def test_an_event_of_another_library_is_told_by_its_name() -> None:
    foreign = type("Events", (), {"__module__": "ignite.engine.events"})()
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)

    with pytest.raises(ArgumentError, match="to pytorch-ignite.*import Events and EventEnum from camshaft.engine"):
        engine.add_event_handler(foreign, lambda: None)
    with pytest.raises(ArgumentTypeError, match="belongs to pytorch-ignite"):
        require_event(foreign)
