from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from programmes import Programme, Runner, programmes

from camshaft.engine import CallableEventWithFilter, Engine, EngineWarning, Events
from camshaft.engine.testing import Entry, Oracle, Stop


def many(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@many(700)
@given(programmes(), st.booleans())
@example(Programme(lengths=(1,), max_epochs=2, stops=(Stop("ITERATION_STARTED", 1, "terminate_epoch"),)), False)
@example(
    Programme(
        lengths=(1,),
        max_epochs=2,
        stops=(Stop("STARTED", 2, "interrupt"), Stop("GET_BATCH_COMPLETED", 1, "terminate")),
    ),
    False,
)
@example(
    Programme(
        kind="iterable",
        lengths=(1,),
        sized=False,
        max_epochs=2,
        stops=(Stop("STARTED", 2, "interrupt"), Stop("EPOCH_STARTED", 2, "terminate")),
    ),
    False,
)
@example(Programme(kind="iterable", lengths=(1,), max_epochs=2, stops=(Stop("EPOCH_STARTED", 2, "terminate"),)), False)
def test_engine_fires_what_the_oracle_says_however_often_it_is_left(programme: Programme, repeat_data: bool) -> None:
    oracle, runner = Oracle(programme), Runner(programme, observed=True)
    while not oracle.is_finished and not oracle.starts_anew:
        assert oracle.run() == runner.run(repeat_data=repeat_data)

        position = runner.engine.position
        assert (oracle.epoch, oracle.done) == (position.epoch, position.iteration)
        assert (oracle.epoch, oracle.done) == (runner.engine.state.epoch, runner.engine.state.iteration)
        assert runner.engine.state.batch is None


@many(400)
@given(programmes().filter(lambda programme: programme.kind in ("sequence", "none")))
def test_loading_the_state_into_another_engine_continues_as_in_the_process(programme: Programme) -> None:
    oracle, runner = Oracle(programme), Runner(programme, observed=True)
    while not oracle.is_finished:
        assert oracle.run() == runner.run()
        runner.reload()
        oracle.reload()


@many(400)
@given(programmes(), st.booleans())
def test_observers_on_every_event_change_nothing(programme: Programme, repeat_data: bool) -> None:
    observed, alone = Runner(programme, observed=True), Runner(programme, observed=False)
    oracle = Oracle(programme)
    while not oracle.is_finished and not oracle.starts_anew:
        oracle.run()
        steps = [entry for entry in observed.run(repeat_data=repeat_data) if entry.event == "STEP"]
        assert steps == alone.run(repeat_data=repeat_data)

        assert observed.engine.state.output == alone.engine.state.output
        assert observed.engine.position == alone.engine.position
        assert observed.engine.state_dict() == alone.engine.state_dict()


# ---------------------------------------------------------------------- handlers with filters, coming and going

COUNTED = ("EPOCH_STARTED", "GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED", "ITERATION_COMPLETED",
           "EPOCH_COMPLETED")  # fmt: skip
Rule = Callable[[int], bool]


class Plan(NamedTuple):
    """A handler: where it sits, when it is due, what it does at its n-th call."""

    event: str
    filter: dict[str, Any]
    removes: tuple[int, int] | None  # at which of its calls, whom
    adds: tuple[int, int] | None


def is_due(filters: dict[str, Any], value: int) -> bool:
    """The filters, word for word."""
    if "event_filter" in filters:
        return bool(filters["event_filter"](None, value))
    if "once" in filters:
        return value in (filters["once"] if isinstance(filters["once"], list) else [filters["once"]])
    every, before, after = filters.get("every", 1), filters.get("before"), filters.get("after")
    if (before is not None and value >= before) or (after is not None and value <= after):
        return False
    if after is not None:
        return (value - after - 1) % every == 0
    if before is not None and "every" in filters:
        return value >= 1 and (value - 1) % every == 0
    return value % every == 0


def _third(engine: object, value: int) -> bool:
    return value % 3 == 1


filters = st.one_of(
    st.just({}),
    st.just({"event_filter": _third}),
    st.builds(lambda n: {"once": n}, st.one_of(st.integers(1, 9), st.lists(st.integers(1, 9), min_size=1, max_size=3))),
    st.fixed_dictionaries({"every": st.integers(1, 5)}, optional={"before": st.integers(0, 9)}),
    st.fixed_dictionaries({"after": st.integers(0, 7)}, optional={"every": st.integers(1, 4)}),
    st.fixed_dictionaries({"before": st.integers(0, 9)}, optional={"after": st.integers(0, 5)}),
)
changes = st.one_of(st.none(), st.tuples(st.integers(1, 4), st.integers(0, 4)))
plans = st.lists(st.builds(Plan, st.sampled_from(COUNTED), filters, changes, changes), min_size=1, max_size=5)


def expected_calls(plans: list[Plan], entries: list[Entry]) -> list[tuple[int, str, int]]:
    """Walk through the fired events with a list of handlers, as the contract says it."""
    attached = [(number, plan) for number, plan in enumerate(plans)]
    called: Counter[int] = Counter()
    calls = []
    for entry in entries:
        value = entry.epoch if entry.event.startswith("EPOCH") else entry.iteration
        for number, plan in list(attached):  # one that is added during a firing waits for the next
            if plan.event != entry.event or not is_due(plan.filter, value):
                continue
            if all(each is not plan for _, each in attached):  # removed by an earlier one of this firing
                continue
            calls.append((number, entry.event, value))
            called[number] += 1
            if plan.removes is not None and plan.removes[0] == called[number]:
                attached = [each for each in attached if each[0] != plan.removes[1]]
            if plan.adds is not None and plan.adds[0] == called[number] and plan.adds[1] < len(plans):
                attached.append((plan.adds[1], plans[plan.adds[1]]._replace(removes=None, adds=None)))
    return calls


class Handlers:
    """The same handlers on a real engine."""

    def __init__(self, engine: Engine[Any, Any], plans: list[Plan]) -> None:
        self.engine, self.plans = engine, plans
        self.called: Counter[int] = Counter()
        self.calls: list[tuple[int, str, int]] = []
        self.attached: list[tuple[int, Any]] = []
        for number in range(len(plans)):
            self.attach(number, plans[number])

    def attach(self, number: int, plan: Plan) -> None:
        event: CallableEventWithFilter = Events[plan.event]
        handler = partial(self.call, number=number, plan=plan)
        self.attached.append(
            (number, self.engine.add_event_handler(event(**plan.filter) if plan.filter else event, handler))
        )

    def call(self, engine: Engine[Any, Any], *, number: int, plan: Plan) -> None:
        self.calls.append((number, plan.event, engine.state.get_event_attrib_value(Events[plan.event])))
        self.called[number] += 1
        if plan.removes is not None and plan.removes[0] == self.called[number]:
            for each, handle in self.attached:
                if each == plan.removes[1]:
                    handle.remove()
        if plan.adds is not None and plan.adds[0] == self.called[number] and plan.adds[1] < len(self.plans):
            self.attach(plan.adds[1], self.plans[plan.adds[1]]._replace(removes=None, adds=None))


@many(600)
# None of them raises: a handler behind one that raises does not see the event.
@given(programmes(max_stops=1, actions=("terminate", "terminate_epoch", "interrupt")), plans, st.booleans())
def test_handlers_run_when_their_filters_say_in_the_order_of_attaching(
    programme: Programme, plans: list[Plan], observed: bool
) -> None:
    oracle, runner = Oracle(programme), Runner(programme, observed=observed)
    handlers = Handlers(runner.engine, plans)
    entries: list[Entry] = []
    while not oracle.is_finished and not oracle.starts_anew:
        entries += oracle.run()
        runner.run()

    assert expected_calls(plans, entries) == handlers.calls


# ---------------------------------------------------------------------- saved at any safe point


@many(250)
@given(programmes(max_stops=0).filter(lambda p: p.kind in ("sequence", "none")), st.integers(0, 60), st.booleans())
def test_a_state_saved_at_any_safe_point_continues_with_the_rest_of_the_run(
    programme: Programme, place: int, ends_epoch: bool
) -> None:
    events = [number for number, entry in enumerate(Runner(programme, observed=True).run()) if entry.event != "STEP"]
    place = events[place % (len(events) - 1)]  # anywhere but at the last event, behind which nothing is left
    whole = Runner(programme, observed=True)
    saved: list[tuple[int, dict[str, Any]]] = []

    def save(engine: Engine[Any, Any], *event_args: Any) -> None:
        if len(whole.log) == place + 1 and not saved:
            if ends_epoch and engine.last_event_name not in (Events.STARTED, Events.EPOCH_STARTED):
                engine.terminate_epoch()
            engine.at_safe_point(lambda: saved.append((len(whole.log), engine.state_dict())))

    for event in Events:
        whole.engine.add_event_handler(event, save)
    log = whole.run()
    ((done, state),) = saved

    again = Runner(programme, observed=True)
    again.engine.load_state_dict(state)
    again.engine.state.dataloader = again.data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EngineWarning)
        again.engine.run(again.data)

    assert log[done:] == again.log[1:]
    assert whole.engine.state_dict() == again.engine.state_dict()


# ---------------------------------------------------------------------- engines inside engines


@many(150)
@given(programmes(max_stops=2), programmes(max_stops=2), st.sampled_from(COUNTED))
def test_an_evaluator_in_a_handler_leaves_the_run_around_it_alone(
    programme: Programme, inner: Programme, event: str
) -> None:
    oracle, runner = Oracle(programme), Runner(programme, observed=True)
    evaluations: list[tuple[list[Entry], list[Entry]]] = []

    def evaluate() -> None:
        evaluations.append((Oracle(inner).run(), Runner(inner, observed=True).run()))

    runner.engine.add_event_handler(Events[event], evaluate)
    while not oracle.is_finished and not oracle.starts_anew:
        assert oracle.run() == runner.run()
    for expected, actual in evaluations:
        assert expected == actual
