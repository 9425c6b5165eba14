from __future__ import annotations

from typing import Any

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, CounterError, Engine, EventEnum, Events


class Backward(EventEnum):
    STARTED = "backward_started"
    COMPLETED = "backward_completed"


def make() -> Engine[Any, Any]:
    return Engine(lambda engine, batch: None)


def test_on_returns_the_function_and_can_be_stacked() -> None:
    engine = make()
    names: list[Any] = []

    def handler() -> None:
        names.append(engine.last_event_name)

    assert engine.on(Events.STARTED)(engine.on(Events.COMPLETED)(handler)) is handler
    engine.run([1])

    assert names == [Events.STARTED, Events.COMPLETED]


def test_on_passes_arguments_along() -> None:
    engine = make()
    got: list[Any] = []

    @engine.on(Events.STARTED, 1, key=2)
    def handler(engine: Engine[Any, Any], *args: Any, **kwargs: Any) -> None:
        got.append((args, kwargs))

    engine.run([1])

    assert got == [((1,), {"key": 2})]


def test_handlers_run_in_the_order_of_attaching_filtered_or_not() -> None:
    engine = make()
    order: list[int] = []
    for number, event in enumerate(
        (
            Events.ITERATION_COMPLETED(every=2),
            Events.ITERATION_COMPLETED,
            Events.ITERATION_COMPLETED(once=2),
            Events.ITERATION_COMPLETED(event_filter=lambda engine, value: value == 2),
            Events.ITERATION_COMPLETED(every=2),
        )
    ):
        engine.add_event_handler(event, order.append, number)
    engine.remove_event_handler(order.append, Events.ITERATION_COMPLETED)
    for number in range(5):
        event = Events.ITERATION_COMPLETED(every=2) if number in (0, 4) else Events.ITERATION_COMPLETED
        engine.add_event_handler(event, lambda number: order.append(number), number)
    engine.run([1, 2])

    assert order == [1, 2, 3, 0, 1, 2, 3, 4]


def test_a_handler_attached_twice_runs_twice() -> None:
    engine = make()
    calls: list[int] = []

    def handler() -> None:
        calls.append(1)

    engine.add_event_handler(Events.STARTED, handler)
    engine.add_event_handler(Events.STARTED, handler)
    engine.add_event_handler(
        Events.ITERATION_STARTED(once=1) | Events.ITERATION_STARTED(once=1), lambda: calls.append(2)
    )
    engine.run([1])

    assert calls == [1, 1, 2, 2]


def test_a_list_attaches_to_all_its_events_or_to_none() -> None:
    engine = make()
    calls: list[Any] = []
    engine.add_event_handler(
        Events.STARTED | Events.ITERATION_STARTED(every=2) | Events.COMPLETED,
        lambda: calls.append(engine.last_event_name),
    )
    engine.run([1, 2])
    assert calls == [Events.STARTED, Events.ITERATION_STARTED, Events.COMPLETED]

    with pytest.raises(ArgumentError, match="Backward"):
        engine.add_event_handler(Events.STARTED | Backward.STARTED, make)
    assert not engine.has_event_handler(make)


@pytest.mark.parametrize("event", ["unknown", Backward.STARTED, None, 3], ids=str)
def test_an_unknown_event_is_refused_by_name(event: Any) -> None:
    engine = make()
    for call in (
        lambda: engine.add_event_handler(event, print),
        lambda: engine.remove_event_handler(print, event),
        lambda: engine.fire_event(event),
    ):
        with pytest.raises(ArgumentError, match=str(event)):
            call()
    assert not engine.has_registered_events(event)


def test_an_unhashable_event_is_refused() -> None:
    with pytest.raises(ArgumentError, match="event"):
        make().fire_event([])  # type: ignore[arg-type]  # what is tried is what is refused


@pytest.mark.parametrize(
    "event",
    [Events.DATALOADER_STOP_ITERATION, Events.EXCEPTION_RAISED, Events.TERMINATE_SINGLE_EPOCH, Events.TERMINATE],
)
def test_filters_need_a_counter(event: Events) -> None:
    engine = make()
    with pytest.raises(ArgumentError, match=rf"counter.*{event.name}"):
        engine.add_event_handler(event(every=2), print)
    with pytest.raises(ArgumentError, match=rf"counter.*{event.name}"):
        engine.add_event_handler(event(event_filter=lambda engine, value: True), print)


def test_looking_a_handler_up_ignores_filters() -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_STARTED(every=3), print)

    assert engine.has_event_handler(print)
    assert engine.has_event_handler(print, Events.ITERATION_STARTED)
    assert engine.has_event_handler(print, Events.ITERATION_STARTED(once=7))
    assert engine.has_event_handler(print, Events.STARTED | Events.ITERATION_STARTED)
    assert not engine.has_event_handler(print, Events.STARTED)
    engine.remove_event_handler(print, Events.ITERATION_STARTED)
    assert not engine.has_event_handler(print)


def test_removing_takes_a_handler_off_everywhere_on_the_event() -> None:
    engine = make()
    calls: list[int] = []

    def handler() -> None:
        calls.append(1)

    engine.add_event_handler(Events.STARTED, handler)
    engine.add_event_handler(Events.STARTED, handler)
    engine.remove_event_handler(handler, Events.STARTED)
    engine.run([1])
    assert calls == []

    with pytest.raises(ArgumentError, match=r"`handler` must be attached to Events.STARTED"):
        engine.remove_event_handler(handler, Events.STARTED)


def test_removing_from_a_list_is_all_or_nothing() -> None:
    engine = make()
    engine.add_event_handler(Events.STARTED, print)
    with pytest.raises(ArgumentError, match="COMPLETED"):
        engine.remove_event_handler(print, Events.STARTED | Events.COMPLETED)

    assert engine.has_event_handler(print, Events.STARTED)


def test_bound_methods_are_found_again() -> None:
    class Listener:
        def listen(self) -> None:
            pass

    engine, listener = make(), Listener()
    engine.add_event_handler(Events.STARTED, listener.listen)
    engine.remove_event_handler(listener.listen, Events.STARTED)

    assert not engine.has_event_handler(listener.listen)


def test_custom_events_are_counted_by_whoever_fires_them() -> None:
    def step(engine: Engine[Any, Any], batch: Any) -> None:
        for _ in range(2):
            engine.state.backwards += 1
            engine.fire_event(Backward.STARTED)

    engine: Engine[Any, Any] = Engine(step)
    engine.register_events(*Backward, event_to_attr={Backward.STARTED: "backwards"})
    assert engine.state.backwards == 0
    values: list[int] = []
    engine.add_event_handler(Backward.STARTED(every=3), lambda: values.append(engine.state.backwards))
    engine.run([1, 2, 3])
    engine.run([1, 2, 3])

    assert values == [3, 6, 3, 6]


def test_a_counter_that_is_set_back_makes_filters_due_again() -> None:
    def step(engine: Engine[Any, Any], batch: Any) -> None:
        engine.state.inner = 0
        for _ in range(3):
            engine.state.inner += 1
            engine.fire_event("inner")

    engine: Engine[Any, Any] = Engine(step)
    engine.register_events("inner", event_to_attr={"inner": "inner"})
    calls: list[int] = []
    engine.add_event_handler("inner", lambda: None)
    handle = engine.add_event_handler(Events.STARTED, lambda: None)
    handle.remove()

    class Named(EventEnum):
        INNER = "inner"

    engine.register_events(Named.INNER, event_to_attr={Named.INNER: "inner"})
    engine.add_event_handler(Named.INNER(once=2), lambda: calls.append(engine.state.inner))
    engine.add_event_handler("inner", lambda: engine.fire_event(Named.INNER))
    engine.run([1, 2])

    assert calls == [2, 2]


def test_the_counters_of_one_engine_are_not_those_of_another() -> None:
    first, second = make(), make()
    first.register_events(*Backward, event_to_attr={Backward.STARTED: "backwards"})
    second.register_events(*Backward)

    assert first.state.get_event_attrib_value(Backward.STARTED) == 0
    with pytest.raises(CounterError, match="Backward.STARTED"):
        second.state.get_event_attrib_value(Backward.STARTED)
    with pytest.raises(ArgumentError, match="counter"):
        second.add_event_handler(Backward.STARTED(every=2), print)


def test_registering_twice_keeps_handlers_and_counts() -> None:
    engine = make()
    engine.register_events("halfway", event_to_attr={"halfway": "halves"})
    engine.add_event_handler("halfway", print)
    engine.state.halves = 3
    engine.register_events("halfway", event_to_attr={"halfway": "halves"})

    assert engine.has_event_handler(print, "halfway")
    assert engine.state.halves == 3


@pytest.mark.parametrize("event", [3, None, len, ["name"]], ids=str)
def test_what_is_no_event_cannot_be_registered(event: Any) -> None:
    engine = make()
    with pytest.raises(ArgumentTypeError, match="event"):
        engine.register_events("good", event)

    assert not engine.has_registered_events("good")


def test_the_map_of_counters_must_be_a_mapping() -> None:
    with pytest.raises(ArgumentError, match="event_to_attr"):
        make().register_events("halfway", event_to_attr=["halves"])  # type: ignore[arg-type]  # what is refused


def test_firing_takes_a_filtered_event_as_its_base() -> None:
    engine = make()
    engine.register_events(*Backward)
    calls: list[Any] = []
    engine.add_event_handler(Backward.STARTED, lambda: calls.append(engine.last_event_name))
    engine.fire_event(Backward.STARTED)

    assert calls == [Backward.STARTED]
    assert engine.last_event_name is Backward.STARTED


def test_built_in_events_are_registered_from_the_start() -> None:
    assert all(make().has_registered_events(event) for event in Events)
    assert not make().has_registered_events(Backward.STARTED)


def test_the_counters_of_built_in_events_are_fixed() -> None:
    with pytest.raises(ArgumentError, match="built-in"):
        make().register_events(Events.STARTED, event_to_attr={Events.STARTED: "starts"})


# ---------------------------------------------------------------------- wrapping


class Wrapping:
    """Notes which handler was called on which event."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.seen: list[Any] = []

    def __call__(self, event: Any, handler: Any, call: Any) -> Any:
        def noted(*args: Any) -> None:
            self.seen.append((self.name, event.name, handler))
            call(*args)

        return noted


def test_a_wrap_stands_around_handlers_there_already_and_attached_later_when_they_are_due() -> None:
    engine, wrap, called = make(), Wrapping(), []

    def early(engine: Any) -> None:
        called.append("early")

    def late() -> None:
        called.append("late")

    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), early)
    engine.wrap_handlers(wrap)
    engine.add_event_handler(Events.ITERATION_COMPLETED(event_filter=lambda _, number: number == 3), late)
    engine.run([1, 2, 3])

    assert wrap.seen == [("", "ITERATION_COMPLETED", early), ("", "ITERATION_COMPLETED", late)]
    assert called == ["early", "late"]


def test_what_an_event_brings_along_goes_through_a_wrap() -> None:
    engine, counts = make(), []
    engine.add_event_handler(Events.TERMINATE_SINGLE_EPOCH, lambda engine, count: counts.append(count))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate_epoch)
    engine.wrap_handlers(Wrapping())
    engine.run([1, 2, 3])

    assert counts == [2]


def test_a_later_wrap_is_the_outer_one_and_taking_one_off_leaves_the_other() -> None:
    engine, inner, outer = make(), Wrapping("inner"), Wrapping("outer")
    outer.seen = inner.seen
    engine.add_event_handler(Events.STARTED, id)
    engine.wrap_handlers(inner)
    engine.wrap_handlers(outer)
    engine.run([1])
    engine.unwrap_handlers(inner)
    engine.unwrap_handlers(inner)
    engine.run([1])

    assert [name for name, _, _ in inner.seen] == ["outer", "inner", "outer"]


@pytest.mark.parametrize("others", [[], [Events.ITERATION_COMPLETED], list(Events)])
def test_a_handler_may_wrap_and_unwrap_in_the_middle_of_a_run(others: list[Events]) -> None:
    engine, wrap = make(), Wrapping()
    for event in others:
        engine.add_event_handler(event, lambda: None)

    @engine.on(Events.ITERATION_STARTED)
    def look(engine: Any) -> None:
        if engine.state.iteration == 2:
            engine.wrap_handlers(wrap)
        if engine.state.iteration == 4:
            engine.unwrap_handlers(wrap)

    engine.run(range(6))

    assert [handler for _, name, handler in wrap.seen if name == "ITERATION_STARTED" and handler is look] == [look] * 2


def test_a_wrapped_handler_is_found_and_removed_by_its_own_name() -> None:
    engine, wrap = make(), Wrapping()
    engine.wrap_handlers(wrap)
    engine.add_event_handler(Events.STARTED, print)

    assert engine.has_event_handler(print)
    engine.remove_event_handler(print, Events.STARTED)
    engine.run([1])
    assert wrap.seen == []
