from __future__ import annotations

import json

import pytest

from camshaft.engine import Engine, Events, StateDictError
from camshaft.handlers import Timer


class Clock:
    """A clock that goes only when told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def pass_seconds(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def test_it_runs_from_its_construction_on(clock):
    timer = Timer(clock=clock)
    clock.pass_seconds(3)

    assert timer.running
    assert timer.total == timer.value() == 3.0


def test_only_the_time_between_resume_and_pause_counts(clock):
    timer = Timer(clock=clock)
    clock.pass_seconds(1)
    timer.pause()
    clock.pass_seconds(10)
    timer.pause()
    timer.resume()
    clock.pass_seconds(2)
    timer.resume()
    clock.pass_seconds(3)
    timer.pause()

    assert timer.total == 6.0
    assert not timer.running


def test_an_averaging_timer_divides_by_the_steps(clock):
    timer = Timer(average=True, clock=clock)
    clock.pass_seconds(6)
    assert timer.value() == 6.0

    for _ in range(4):
        timer.step()

    assert timer.value() == 1.5
    assert timer.total == 6.0


def test_without_average_the_steps_do_not_matter(clock):
    timer = Timer(clock=clock)
    timer.step()
    timer.step()
    clock.pass_seconds(6)

    assert timer.value() == 6.0
    assert timer.step_count == 2


def test_a_reset_starts_over_and_returns_the_timer(clock):
    timer = Timer(clock=clock)
    clock.pass_seconds(6)
    timer.step()
    timer.pause()

    assert timer.reset() is timer

    clock.pass_seconds(1)
    assert (timer.total, timer.step_count, timer.running) == (1.0, 0, True)


def test_attached_by_default_it_times_the_run(clock):
    engine = Engine(lambda engine, batch: clock.pass_seconds(2))
    timer = Timer(clock=clock)
    assert timer.attach(engine) is timer
    clock.pass_seconds(100)

    engine.run([0, 1, 2])
    clock.pass_seconds(100)

    assert timer.value() == 6.0


def test_attached_to_iterations_it_times_the_step_alone(clock):
    engine = Engine(lambda engine, batch: clock.pass_seconds(2))
    engine.add_event_handler(Events.GET_BATCH_STARTED, lambda: clock.pass_seconds(50))
    timer = Timer(average=True, clock=clock).attach(
        engine,
        start=Events.STARTED,
        pause=Events.ITERATION_COMPLETED,
        resume=Events.ITERATION_STARTED,
        step=Events.ITERATION_COMPLETED,
    )
    engine.add_event_handler(Events.STARTED, timer.pause)

    engine.run([0, 1, 2], max_epochs=2)

    assert timer.step_count == 6
    assert timer.value() == 2.0


def test_started_with_each_epoch_it_times_the_last_one(clock):
    engine = Engine(lambda engine, batch: clock.pass_seconds(engine.state.epoch))
    timer = Timer(clock=clock).attach(engine, start=Events.EPOCH_STARTED, pause=Events.EPOCH_COMPLETED)

    engine.run([0, 1, 2], max_epochs=2)

    assert timer.value() == 6.0


def test_a_new_run_starts_over(clock):
    engine = Engine(lambda engine, batch: clock.pass_seconds(1))
    timer = Timer(clock=clock).attach(engine)

    engine.run([0, 1, 2])
    engine.run([0, 1])

    assert timer.total == 2.0


def test_a_continued_run_counts_on_from_the_restored_time(clock):
    engine = Engine(lambda engine, batch: clock.pass_seconds(1))
    timer = Timer(clock=clock).attach(engine, step=Events.EPOCH_COMPLETED)
    engine.run([0, 1, 2], max_epochs=2)
    saved = json.loads(json.dumps([engine.state_dict(), timer.state_dict()]))
    clock.pass_seconds(1000)

    engine = Engine(lambda engine, batch: clock.pass_seconds(1))
    timer = Timer(clock=clock).attach(engine, step=Events.EPOCH_COMPLETED)
    engine.load_state_dict(saved[0])
    timer.load_state_dict(saved[1])
    engine.run([0, 1, 2], max_epochs=3)

    assert timer.total == 9.0
    assert timer.step_count == 3
    assert not timer.running


def test_a_timer_saved_while_running_runs_after_loading(clock):
    timer = Timer(clock=clock)
    clock.pass_seconds(2)
    state = timer.state_dict()
    other = Timer(clock=clock)
    clock.pass_seconds(50)

    other.load_state_dict(state)
    clock.pass_seconds(3)

    assert other.total == 5.0


@pytest.mark.parametrize(
    "change",
    [
        {"total": -1.0},
        {"total": float("nan")},
        {"total": float("inf")},
        {"total": True},
        {"total": "1"},
        {"step_count": -1},
        {"step_count": 1.0},
        {"step_count": False},
        {"running": 1},
        {"more": 1},
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(clock, change):
    timer = Timer(clock=clock)
    clock.pass_seconds(5)
    timer.pause()
    before = timer.state_dict()

    with pytest.raises(StateDictError):
        timer.load_state_dict({"total": 1.0, "step_count": 1, "running": True} | change)
    with pytest.raises(StateDictError):
        timer.load_state_dict(None)

    assert timer.state_dict() == before
