from __future__ import annotations

import gc
import json
import weakref

import pytest

from camshaft.engine import ArgumentError, Engine, Events, RunningError
from camshaft.handlers import Profiler


class Clock:
    """Nanoseconds that pass only where a test lets them."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now

    def passing(self, seconds):
        """Return a handler that takes so long."""

        def work():
            self.now += int(seconds * 1e9)

        return work


class Data:
    """Two batches, each of which takes a while."""

    def __init__(self, clock, opening_s=0.0, fetching_s=0.0):
        self.open, self.fetch = clock.passing(opening_s), clock.passing(fetching_s)

    def __len__(self):
        return 2

    def __iter__(self):
        self.open()
        return self.batches()

    def batches(self):
        for batch in (1, 2):
            self.fetch()
            yield batch


def make_engine(clock, step_s=0.0):
    return Engine(lambda engine, batch: clock.passing(step_s)())


def rows(profiler, kind):
    return {
        (row.get("event"), row["name"]): (row["count"], row["total_s"]) for row in profiler.summary()[kind]
    }  # fmt: skip


def test_each_handler_is_counted_and_timed_on_each_event():
    clock = Clock()
    engine, profiler = make_engine(clock), Profiler(clock=clock)
    slow, fast = clock.passing(3), clock.passing(1)
    slow.__qualname__, fast.__qualname__ = "slow", "fast"
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), slow)
    engine.add_event_handler(Events.ITERATION_COMPLETED, fast)
    engine.add_event_handler(Events.EPOCH_COMPLETED, fast)
    profiler.attach(engine)

    engine.run([1, 2, 3, 4], max_epochs=2)

    assert rows(profiler, "handlers") == {
        ("ITERATION_COMPLETED", "slow"): (4, 12.0),
        ("ITERATION_COMPLETED", "fast"): (8, 8.0),
        ("EPOCH_COMPLETED", "fast"): (2, 2.0),
    }


def test_an_event_adds_up_its_handlers_and_counts_its_firings():
    clock = Clock()
    engine, profiler = make_engine(clock), Profiler(clock=clock)
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), clock.passing(3))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), clock.passing(1))
    profiler.attach(engine)

    engine.run([1, 2, 3, 4])

    events = rows(profiler, "events")
    assert events[None, "ITERATION_COMPLETED"] == (4, 7.0)
    assert events[None, "EPOCH_STARTED"] == (1, 0.0)


def test_data_and_step_are_measured_between_the_handlers():
    clock = Clock()
    engine, profiler = make_engine(clock, step_s=5), Profiler(clock=clock)
    for event in (Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED):
        engine.add_event_handler(event, clock.passing(100))
    profiler.attach(engine)
    engine.add_event_handler(Events.GET_BATCH_STARTED, clock.passing(100))

    engine.run(Data(clock, opening_s=7, fetching_s=2))

    assert rows(profiler, "phases") == {
        (None, "step"): (2, 10.0), (None, "data"): (2, 4.0), (None, "opening data"): (1, 7.0),
    }  # fmt: skip


def test_the_end_of_the_data_counts_as_data():
    clock = Clock()
    engine, profiler = make_engine(clock), Profiler(clock=clock)
    profiler.attach(engine)

    engine.run(Data(clock, opening_s=7, fetching_s=2), max_epochs=2)

    assert sum(total for _, total in rows(profiler, "phases").values()) == 2 * 7 + 4 * 2


def test_a_run_without_data_has_steps_only():
    clock = Clock()
    engine, profiler = make_engine(clock, step_s=1), Profiler(clock=clock)
    profiler.attach(engine)

    engine.run(epoch_length=3)

    assert rows(profiler, "phases") == {(None, "step"): (3, 3.0)}


def test_shares_are_of_the_time_between_the_first_and_the_last_call():
    clock = Clock()
    engine, profiler = make_engine(clock, step_s=3), Profiler(clock=clock)
    engine.add_event_handler(Events.ITERATION_COMPLETED, clock.passing(1))
    profiler.attach(engine)

    engine.run([1, 2])
    clock.passing(1000)()
    engine.run([1, 2])
    summary = profiler.summary()

    assert summary["wall_s"] == 16.0
    assert {row["name"]: row["share"] for row in summary["phases"]} == {"step": 0.75, "data": 0.0, "opening data": 0.0}
    assert [(row["mean_s"], row["share"]) for row in summary["handlers"]] == [(1.0, 0.25)]


def test_an_interruption_is_not_measured():
    clock = Clock()
    engine, profiler = make_engine(clock, step_s=3), Profiler(clock=clock)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda: engine.interrupt())
    profiler.attach(engine)

    engine.run([1, 2])
    clock.passing(1000)()
    engine.run([1, 2])

    assert profiler.summary()["wall_s"] == 6.0


def test_an_evaluation_counts_for_the_handler_that_runs_it():
    clock = Clock()
    trainer, evaluator, profiler = make_engine(clock), make_engine(clock, step_s=2), Profiler(clock=clock)

    @trainer.on(Events.EPOCH_COMPLETED)
    def evaluate():
        evaluator.run([1, 2, 3])

    profiler.attach(trainer)
    trainer.run([1], max_epochs=2)

    (found,) = rows(profiler, "handlers").items()
    assert found[0][1].endswith("evaluate")
    assert found[1] == (2, 12.0)


def test_a_custom_event_fired_in_a_step_is_a_part_of_it():
    clock = Clock()

    def step(engine, batch):
        clock.passing(1)()
        engine.fire_event("halfway")

    engine, profiler = Engine(step), Profiler(clock=clock)
    engine.register_events("halfway")
    engine.add_event_handler("halfway", clock.passing(2))
    profiler.attach(engine)

    engine.run([1, 2])

    assert rows(profiler, "phases")[None, "step"] == (2, 6.0)
    assert rows(profiler, "events")[None, "halfway"] == (2, 4.0)
    assert profiler.summary()["wall_s"] == 6.0


@pytest.mark.parametrize(("first", "last", "counted"), [(1, 3, 3), (4, 6, 3), (8, None, 3), (10, 20, 1), (11, 12, 0)])
@pytest.mark.parametrize("attached_early", [True, False])
def test_a_window_measures_its_iterations_and_no_others(first, last, counted, attached_early):
    clock = Clock()
    engine, profiler = make_engine(clock, step_s=1), Profiler(first, last, clock=clock)
    events = (
        Events.GET_BATCH_STARTED | Events.GET_BATCH_COMPLETED | Events.ITERATION_STARTED | Events.ITERATION_COMPLETED
    )
    if attached_early:
        profiler.attach(engine)
    engine.add_event_handler(events, print, end="")
    if not attached_early:
        profiler.attach(engine)

    engine.run(range(5), max_epochs=2)

    assert {count for count, _ in rows(profiler, "handlers").values()} == ({counted} if counted else set())
    assert rows(profiler, "phases").get((None, "step"), (0, 0.0)) == (counted, float(counted))


def test_a_window_opens_in_a_run_that_continues_inside_it():
    clock = Clock()
    engine, profiler = make_engine(clock), Profiler(3, 8, clock=clock)
    engine.add_event_handler(Events.ITERATION_COMPLETED, print, end="")
    profiler.attach(engine)
    engine.load_state_dict({"iteration": 5, "max_epochs": 2, "epoch_length": 5})

    engine.run(range(5))

    assert rows(profiler, "handlers") == {("ITERATION_COMPLETED", "print"): (3, 0.0)}


def test_an_epoch_belongs_to_the_window_that_holds_its_first_or_last_iteration():
    clock = Clock()
    engine, profiler = make_engine(clock), Profiler(6, 10, clock=clock)
    engine.add_event_handler(Events.EPOCH_STARTED | Events.EPOCH_COMPLETED, print, end="")
    profiler.attach(engine)

    engine.run(range(5), max_epochs=3)

    assert {count for count, _ in rows(profiler, "handlers").values()} == {1}


def test_outside_its_window_an_engine_is_as_if_nothing_were_attached():
    engine, profiler = Engine(lambda engine, batch: batch), Profiler(2, 3)
    profiler.attach(engine)
    calls = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, calls.append)
    wrapped = []
    engine.wrap_handlers(lambda event, handler, call: wrapped.append(event) or call)
    attached = {1: len(wrapped)}
    engine.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: attached.update({engine.state.iteration: engine.has_event_handler(profiler._mark)}),
    )

    engine.run(range(5))

    assert {number: attached[number] for number in (1, 2, 3, 4, 5)} == {1: True, 2: True, 3: True, 4: False, 5: False}
    assert len(calls) == 5


def test_after_detaching_nothing_is_left_on_the_engine():
    engine, profiler = Engine(lambda engine, batch: batch), Profiler(3, 5)
    profiler.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=4), profiler.detach)

    engine.run(range(6))

    assert rows(profiler, "phases")[None, "step"][0] == 2
    for method in (profiler._mark, profiler._start, profiler._start_if_inside, profiler._stop):
        assert not engine.has_event_handler(method)
    profiler.detach()


def test_a_detached_profiler_keeps_what_it_has_and_goes_on_with_the_next_engine():
    clock = Clock()
    profiler = Profiler(clock=clock)
    for _ in range(2):
        engine = make_engine(clock, step_s=1)
        profiler.attach(engine)
        engine.run([1, 2])
        profiler.detach()
        engine.run([1, 2])

    assert rows(profiler, "phases")[None, "step"] == (4, 4.0)


def test_the_time_between_detaching_in_a_handler_and_attaching_again_is_not_measured():
    clock = Clock()
    engine, profiler = make_engine(clock, step_s=1), Profiler(clock=clock)
    profiler.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), profiler.detach)
    engine.run([1, 2, 3])
    clock.passing(1000)()

    profiler.attach(engine)
    engine.run([1])

    assert profiler.summary()["wall_s"] == 3.0


def test_a_profiler_sits_on_one_engine_at_a_time():
    profiler = Profiler()
    profiler.attach(Engine(lambda engine, batch: batch))

    with pytest.raises(RunningError, match="one engine at a time"):
        profiler.attach(Engine(lambda engine, batch: batch))


def test_handlers_of_one_name_have_rows_of_their_own():
    clock = Clock()
    engine, profiler = make_engine(clock), Profiler(clock=clock)
    first, second = clock.passing(1), clock.passing(2)
    first.__name__ = first.__qualname__ = second.__name__ = second.__qualname__ = "work"
    for handler in (first, second, first):
        engine.add_event_handler(Events.COMPLETED, handler)
    profiler.attach(engine)

    engine.run([1])

    assert rows(profiler, "handlers") == {("COMPLETED", "work"): (2, 2.0), ("COMPLETED", "work #2"): (1, 2.0)}


def test_a_handler_that_raises_is_measured_too():
    clock = Clock()
    engine, profiler = make_engine(clock), Profiler(clock=clock)

    @engine.on(Events.ITERATION_COMPLETED)
    def fail():
        clock.passing(4)()
        raise ValueError("of the test")

    raised = []
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: raised.append(error))
    profiler.attach(engine)

    with pytest.raises(ValueError, match="of the test"):
        engine.run([1])

    assert [
        total for (event, _), (_, total) in rows(profiler, "handlers").items() if event == "ITERATION_COMPLETED"
    ] == [4.0]
    assert len(raised) == 1


def test_the_table_shows_the_phases_and_each_event_with_its_handlers():
    clock = Clock()
    engine, profiler = make_engine(clock, step_s=0.003), Profiler(clock=clock)
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), print, end="")
    engine.add_event_handler(Events.EPOCH_COMPLETED, clock.passing(0.004))
    profiler.attach(engine)

    engine.run([1, 2])
    table = profiler.table()

    lines = [line.split() for line in table.splitlines()]
    assert lines[0] == ["count", "total", "mean", "share"]
    assert ["step", "2", "6.00", "ms", "3.00", "ms", "60.0%"] in lines
    assert ["EPOCH_COMPLETED", "1", "4.00", "ms", "4.00", "ms", "40.0%"] in lines
    assert ["print", "1", "0.00", "us", "0.00", "us", "0.0%"] in lines
    assert lines[-1] == ["total", "10.00", "ms"]
    assert len({len(line) for line in table.splitlines()[:-1]}) == 1


def test_a_profile_of_nothing_is_a_table_of_nothing():
    assert Profiler().table().split() == ["count", "total", "mean", "share", "total", "0.00", "us"]


def test_the_summary_is_written_as_json(tmp_path):
    engine, profiler = Engine(lambda engine, batch: batch), Profiler()
    engine.add_event_handler(Events.COMPLETED, print, end="")
    profiler.attach(engine)
    engine.run([1, 2])

    profiler.write_json(tmp_path / "profile.json")

    assert json.loads((tmp_path / "profile.json").read_text()) == profiler.summary()


def read_trace(path):
    """Read a file by the rules of the Trace Event Format; return its slices.

    An object with `traceEvents`; each has a phase, a name, and a process and a thread; complete events have a
    start and a duration in microseconds, metadata events the arguments; the slices of a thread lie in or behind
    each other.
    """
    content = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert content["displayTimeUnit"] in ("ms", "ns")
    slices = []
    for event in content["traceEvents"]:
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert isinstance(event["args"]["name"], str)
        else:
            assert event["ph"] == "X"
            assert isinstance(event["cat"], str)
            assert event["ts"] >= 0
            assert event["dur"] >= 0
            slices.append(event)
    assert slices == sorted(slices, key=lambda event: event["ts"])
    open_until = []
    for event in slices:
        begin_ns, duration_ns = round(event["ts"] * 1000), round(event["dur"] * 1000)
        while open_until and open_until[-1] <= begin_ns:
            open_until.pop()
        end = begin_ns + duration_ns
        assert not open_until or end <= open_until[-1]
        open_until.append(end)
    return slices


def test_the_trace_holds_every_call_in_the_trace_event_format(tmp_path):
    clock = Clock()

    def step(engine, batch):
        clock.passing(1e-6)()
        engine.fire_event("halfway")
        clock.passing(1e-6)()

    engine, profiler = Engine(step), Profiler(clock=clock)
    engine.register_events("halfway")
    engine.add_event_handler("halfway", clock.passing(3e-6))
    engine.add_event_handler(Events.ITERATION_COMPLETED, clock.passing(2e-6))
    profiler.attach(engine)
    clock.passing(10)()
    engine.run(Data(clock, fetching_s=4e-6))

    profiler.write_trace(tmp_path / "trace.json")
    shown = [
        (each["cat"], each["ts"], each["dur"], each["args"]["iteration"])
        for each in read_trace(tmp_path / "trace.json")
        if each["dur"]
    ]

    assert shown == [
        ("phase", 0.0, 4.0, 1), ("phase", 4.0, 5.0, 1), ("halfway", 5.0, 3.0, 1), ("ITERATION_COMPLETED", 9.0, 2.0, 1),
        ("phase", 11.0, 4.0, 2), ("phase", 15.0, 5.0, 2), ("halfway", 16.0, 3.0, 2),
        ("ITERATION_COMPLETED", 20.0, 2.0, 2),
    ]  # fmt: skip


def test_a_trace_of_a_real_run_keeps_the_rules(tmp_path):
    trainer, evaluator, profiler = (*(Engine(lambda engine, batch: batch) for _ in range(2)), Profiler())
    trainer.register_events("custom")
    trainer.add_event_handler("custom", lambda: None)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(range(10)))
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=3), lambda: trainer.fire_event("custom"))
    profiler.attach(trainer)

    trainer.run(range(10), max_epochs=3)
    profiler.write_trace(tmp_path / "trace.json")

    names = [each["name"] for each in read_trace(tmp_path / "trace.json")]
    assert names.count("step") == 30
    assert len([name for name in names if name.startswith("lambda (test_profiler.py:")]) == 3 + 10 + 10


def test_slices_beyond_the_limit_are_counted_but_not_kept(tmp_path):
    engine, profiler = Engine(lambda engine, batch: batch), Profiler(max_slices=5)
    profiler.attach(engine)

    engine.run(range(100))
    profiler.write_trace(tmp_path / "trace.json")

    assert len(read_trace(tmp_path / "trace.json")) == 5
    assert json.loads((tmp_path / "trace.json").read_text())["otherData"] == {"dropped_slices": 201 - 5}
    assert rows(profiler, "phases")[None, "step"][0] == 100


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"first": 0}, "`first` must be an integer of at least 1, got 0"),
        ({"first": 1.5}, "`first` must be an integer of at least 1, got 1.5"),
        ({"first": 5, "last": 4}, "`last` must be an integer of at least 5, got 4"),
        ({"max_slices": -1}, "`max_slices` must be an integer of at least 0, got -1"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, text):
    with pytest.raises(ArgumentError, match=text):
        Profiler(**arguments)


def test_a_profiler_keeps_no_engine_alive():
    engine, profiler = Engine(lambda engine, batch: batch), Profiler()
    profiler.attach(engine)
    engine.run([1])
    reference = weakref.ref(engine)

    gc.disable()
    try:
        del engine
        assert reference() is None
    finally:
        gc.enable()
    profiler.detach()
