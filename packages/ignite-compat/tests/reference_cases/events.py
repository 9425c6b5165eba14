"""Events, filters, handlers and what removes them."""

from __future__ import annotations

from ignite.engine import CallableEventWithFilter, Engine, EventEnum, Events, RemovableEventHandle
from ignite.engine.events import EventsList
from reference_cases.tools import case, echo, raises


class Backprop(EventEnum):
    BEGUN = "backprop_begun"
    ENDED = "backprop_ended"


@case
def filters_of_events():
    options = [
        {"every": 2}, {"once": 3}, {"once": [1, 4]}, {"before": 3}, {"after": 3}, {"before": 5, "after": 2},
        {"every": 2, "before": 5}, {"every": 2, "after": 3}, {"every": 2, "before": 9, "after": 3},
        {"event_filter": lambda engine, value: value in (1, 6)},
    ]  # fmt: skip
    seen = []
    for each in options:
        engine, fired = Engine(echo), []
        engine.add_event_handler(
            Events.ITERATION_COMPLETED(**each), lambda engine, fired=fired: fired.append(engine.state.iteration)
        )
        engine.run(range(6), max_epochs=2)
        seen.append(fired)
    return seen


@case
def filters_that_are_refused():
    event, function = Events.ITERATION_STARTED, lambda engine, value: True
    wrong_values = [
        {}, {"every": 0}, {"every": -1}, {"every": 1.5}, {"every": "1"}, {"once": 0}, {"once": 1.5}, {"once": [1, "2"]},
        {"once": []}, {"before": -1}, {"after": -1}, {"once": 1, "every": 2}, {"once": 1, "before": 3},
        {"event_filter": function, "every": 2}, {"event_filter": function, "once": 2},
        {"event_filter": lambda value: True}, {"event_filter": lambda a, b, c: True},
    ]  # fmt: skip
    return [
        [raises(ValueError, event, **each) for each in wrong_values],
        raises(TypeError, event, event_filter="a"),
        raises(TypeError, event, evrey=2),
    ]


@case
def comparing_events():
    filtered = Events.EPOCH_COMPLETED(every=3)
    return {
        "names": [filtered.name, filtered.value, Backprop.BEGUN.name, Backprop.BEGUN.value],
        "texts": [str(Events.STARTED), repr(Events.COMPLETED), str(Backprop.BEGUN)],
        "equal": [filtered == Events.EPOCH_COMPLETED, filtered in list(Events), filtered == Events.STARTED],
        "hashes": [hash(filtered) == hash(Events.EPOCH_COMPLETED), Events.STARTED == "started"],
        "looked up": [Events("started").name, Events["EPOCH_STARTED"].value],
        "kinds": [isinstance(each, CallableEventWithFilter) for each in (filtered, Events.STARTED, Backprop.BEGUN)],
        "filter": [filtered.filter(None, 3), filtered.filter(None, 4), Events.STARTED.filter],
        "all": sorted(event.name for event in Events),
    }


@case
def lists_of_events():
    both = Events.STARTED | Events.COMPLETED
    longer = both | Events.EPOCH_STARTED(every=2)
    engine, fired = Engine(echo), []
    engine.add_event_handler(
        Events.STARTED | Events.EPOCH_COMPLETED(once=2) | Events.COMPLETED,
        lambda engine: fired.append([engine.state.epoch, str(engine.last_event_name)]),
    )
    engine.run([1, 2], max_epochs=3)
    return {
        "kind": isinstance(both, EventsList),
        "content": [str(both[0]), [each.name for each in longer], len(longer), Events.STARTED in both],
        "wrong": [raises(TypeError, lambda: Events.STARTED | 1), raises(TypeError, lambda: both | "started")],
        "fired": fired,
    }


@case
def custom_events_with_counters():
    engine, fired = Engine(lambda engine, batch: step(engine)), []

    def step(engine):
        engine.state.begun += 1
        engine.fire_event(Backprop.BEGUN)
        engine.state.ended += 1
        engine.fire_event(Backprop.ENDED)

    engine.register_events(*Backprop, event_to_attr={Backprop.BEGUN: "begun", Backprop.ENDED: "ended"})
    started = [engine.state.begun, engine.state.ended]
    engine.add_event_handler(Backprop.BEGUN(every=3), lambda: fired.append(["started", engine.state.begun]))
    engine.add_event_handler(Backprop.ENDED(once=2), lambda: fired.append(["completed", engine.state.ended]))
    engine.run(range(4), max_epochs=2)
    return [started, fired, engine.state.get_event_attrib_value(Backprop.BEGUN)]


@case
def registering_events():
    engine = Engine(echo)
    engine.register_events("halfway", "nearly")
    engine.register_events("halfway")
    engine.fire_event("halfway")
    return {
        "known": [engine.has_registered_events(each) for each in ("halfway", "never", Events.STARTED, Backprop.BEGUN)],
        "wrong": [raises(TypeError, engine.register_events, each) for each in (1, None, ["a"], Backprop)],
        "map": raises(ValueError, engine.register_events, *Backprop, event_to_attr=5),
        "unknown": [
            raises(ValueError, engine.fire_event, "never"),
            raises(ValueError, engine.add_event_handler, "never", print),
            raises(ValueError, engine.add_event_handler, Backprop.BEGUN, print),
            raises(ValueError, engine.remove_event_handler, print, "never"),
        ],
    }


@case
def handles_of_handlers():
    engine, fired = Engine(echo), []

    def handler():
        fired.append(engine.state.epoch)

    handle = engine.add_event_handler(Events.EPOCH_STARTED, handler)
    found = [engine.has_event_handler(handler), engine.has_event_handler(handler, Events.STARTED)]
    with handle:
        engine.run([1], max_epochs=2)
    left = engine.has_event_handler(handler)
    handle.remove()
    with engine.add_event_handler(Events.STARTED | Events.COMPLETED, handler):
        engine.run([1])
    filtered = engine.add_event_handler(Events.STARTED(every=2), handler)
    filtered.remove()
    return [
        isinstance(handle, RemovableEventHandle), found, left, fired, engine.has_event_handler(handler),
        [handle.handler() is handler, handle.engine() is engine, str(handle.event_name)],
        raises(ValueError, engine.remove_event_handler, handler, Events.STARTED),
    ]  # fmt: skip


@case
def arguments_of_handlers():
    engine, seen = Engine(echo), []

    class Handlers:
        def with_engine(self, engine):
            seen.append("with engine")

        def alone(self):
            seen.append("alone")

        def __call__(self, engine):
            seen.append("call")

        @staticmethod
        def static(engine):
            seen.append("static")

    @engine.on(Events.STARTED, 1, 2)
    def positional(engine, first, second):
        seen.append([first, second])

    @engine.on(Events.STARTED)
    @engine.on(Events.COMPLETED)
    def twice():
        seen.append("twice")

    engine.add_event_handler(Events.STARTED, lambda engine, first, second=2: seen.append([first, second]), 7, second=8)
    engine.add_event_handler(Events.STARTED, lambda *args, **kwargs: seen.append([len(args), sorted(kwargs)]), key=3)
    handlers = Handlers()
    for handler in (handlers.with_engine, handlers.alone, handlers, Handlers.static):
        engine.add_event_handler(Events.STARTED, handler)
    engine.run([1])
    return seen


@case
def functions_that_do_not_fit():
    engine = Engine(echo)
    add, steps = engine.add_event_handler, [lambda: None, lambda a: None, lambda a, b, c: None]
    return {
        "handlers": [
            raises(ValueError, add, Events.STARTED, lambda: None, 1),
            raises(ValueError, add, Events.STARTED, lambda a, b: None),
            raises(ValueError, add, Events.STARTED, lambda a: None, 1, 2),
            raises(ValueError, add, Events.STARTED, lambda a: None, key=1),
            raises(TypeError, add, Events.STARTED, None),
            raises(TypeError, add, Events.STARTED, 5),
        ],
        "steps": [[raises(ValueError, Engine, each) for each in steps], raises(TypeError, Engine, 5)],
    }
