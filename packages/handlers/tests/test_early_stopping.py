from __future__ import annotations

import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, Events, StateDictError
from camshaft.handlers import EarlyStopping

NAN, INF = math.nan, math.inf


def make_trainer() -> Engine:
    return Engine(lambda engine, batch: batch)


def calls_until_stop(scores, **options) -> int | None:
    """Return the number of the call that terminated the trainer, None when none did."""
    trainer = make_trainer()
    remaining = iter(scores)
    stopping = EarlyStopping(score_function=lambda engine: next(remaining), trainer=trainer, **options)
    for number in range(1, len(scores) + 1):
        stopping(trainer)
        if trainer.should_terminate:
            return number
    return None


@pytest.mark.parametrize(
    ("scores", "options", "expected"),
    [
        ([1, 2, 3, 4], {"patience": 1}, None),
        ([1, 1], {"patience": 1}, 2),
        ([1, 0.5, 2, 1, 1], {"patience": 2}, 5),
        ([3, 2, 1], {"patience": 2}, 3),
        # Within min_delta: not an improvement, but the one to beat from then on.
        ([1.0, 1.4, 1.8, 2.2], {"patience": 3, "min_delta": 0.5}, 4),
        # The one to beat stays, so small gains add up.
        ([1.0, 1.4, 1.8, 2.2], {"patience": 3, "min_delta": 0.5, "cumulative_delta": True}, None),
        ([1.0, 1.5, 2.0], {"patience": 1, "min_delta": 0.5}, 2),
        # 1.1 - 1.0 rounds to more than 0.1, and 1.1 is not above 1.0 + 0.1.
        ([1.0, 1.1], {"patience": 1, "min_delta": 0.1}, 2),
        ([3, 2, 1], {"patience": 1, "mode": "min"}, None),
        ([1, 2], {"patience": 1, "mode": "min"}, 2),
        ([10, 10.5], {"patience": 1, "min_delta": 0.1, "threshold_mode": "rel"}, 2),
        ([10, 11.5], {"patience": 1, "min_delta": 0.1, "threshold_mode": "rel"}, None),
        ([-10, -9.5], {"patience": 1, "min_delta": 0.1, "threshold_mode": "rel"}, 2),
        ([-10, -8.5], {"patience": 1, "min_delta": 0.1, "threshold_mode": "rel"}, None),
        ([10, 8.5], {"patience": 1, "min_delta": 0.1, "threshold_mode": "rel", "mode": "min"}, None),
        ([-INF, 0], {"patience": 1, "min_delta": 0.1, "threshold_mode": "rel"}, None),
        ([INF, INF], {"patience": 1}, 2),
        ([INF, 5], {"patience": 1, "mode": "min"}, None),
    ],
)  # fmt: skip
def test_the_trainer_is_terminated_after_patience_calls_without_improvement(scores, options, expected):
    assert calls_until_stop(scores, **options) == expected


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("cumulative_delta", [False, True])
def test_nan_is_no_improvement(mode, cumulative_delta):
    options = {"mode": mode, "cumulative_delta": cumulative_delta}

    assert calls_until_stop([1.0, NAN, NAN], patience=2, **options) == 3
    assert calls_until_stop([NAN, NAN, NAN], patience=2, **options) == 3
    assert calls_until_stop([NAN, 1.0, 1.0], patience=2, **options) is None


def test_nan_never_becomes_the_score_to_beat():
    trainer = make_trainer()
    scores = iter([1.0, NAN, 2.0])
    stopping = EarlyStopping(5, lambda engine: next(scores), trainer)
    for _ in range(3):
        stopping(trainer)

    assert (stopping.best_score, stopping.counter) == (2.0, 0)


@given(st.lists(st.floats(), max_size=20), st.integers(1, 4), st.floats(0, 2), st.booleans())
def test_a_higher_score_is_better_exactly_when_its_negative_is_in_the_other_mode(scores, patience, delta, cumulative):
    options = {"patience": patience, "min_delta": delta, "cumulative_delta": cumulative}

    highest = calls_until_stop(scores, mode="max", **options)
    lowest = calls_until_stop([-score for score in scores], mode="min", **options)

    assert highest == lowest


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.integers(0, 20))
def test_a_restored_handler_decides_as_if_never_stopped(scores, stop):
    stop = min(stop, len(scores))
    trainer = make_trainer()
    remaining = iter(scores)
    first = EarlyStopping(3, lambda engine: next(remaining), trainer, min_delta=0.5)
    second = EarlyStopping(3, lambda engine: next(remaining), trainer, min_delta=0.5)
    for _ in range(stop):
        first(trainer)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for _ in range(stop, len(scores)):
        second(trainer)

    remaining = iter(scores)
    straight = EarlyStopping(3, lambda engine: next(remaining), trainer, min_delta=0.5)
    for _ in scores:
        straight(trainer)

    assert second.state_dict() == straight.state_dict()


@pytest.mark.parametrize("score", [True, 1, Decimal("0.5")])
def test_everything_that_makes_a_float_is_a_score(score):
    trainer = make_trainer()
    stopping = EarlyStopping(1, lambda engine: score, trainer)

    stopping(trainer)

    assert stopping.best_score == float(score)


def test_tensors_and_numpy_scalars_are_scores():
    torch = pytest.importorskip("torch")
    numpy = pytest.importorskip("numpy")
    trainer = make_trainer()
    scores = iter([torch.tensor(1.0), numpy.float32(2.0)])
    stopping = EarlyStopping(1, lambda engine: next(scores), trainer)

    stopping(trainer)
    stopping(trainer)

    assert (stopping.best_score, type(stopping.best_score)) == (2.0, float)


@pytest.mark.parametrize("score", [None, "high", [1.0]])
def test_what_is_no_number_is_refused(score):
    trainer = make_trainer()
    stopping = EarlyStopping(1, lambda engine: score, trainer)

    with pytest.raises(ArgumentTypeError, match="`score_function` must return a number, got "):
        stopping(trainer)

    assert stopping.best_score is None


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"score_function": 3}, ArgumentTypeError, "`score_function` must be callable"),
        ({"trainer": None}, ArgumentTypeError, "`trainer` must be an Engine of camshaft.engine, got None"),
        ({"patience": 0}, ArgumentError, "`patience` must be an integer of at least 1, got 0"),
        ({"patience": 1.5}, ArgumentError, "`patience` must be an integer of at least 1, got 1.5"),
        ({"patience": True}, ArgumentError, "`patience` must be an integer of at least 1, got True"),
        ({"min_delta": -0.1}, ArgumentError, "`min_delta` must be at least 0, got -0.1"),
        ({"min_delta": NAN}, ArgumentError, "`min_delta` must be at least 0, got nan"),
        ({"mode": "maximum"}, ArgumentError, "`mode` must be 'max' or 'min', got 'maximum'"),
        ({"threshold_mode": "percent"}, ArgumentError, "`threshold_mode` must be 'abs' or 'rel', got 'percent'"),
    ],
)
def test_a_wrong_argument_is_refused(change, error, text):
    arguments = {"patience": 1, "score_function": lambda engine: 0.0, "trainer": make_trainer()}

    with pytest.raises(error, match=text):
        EarlyStopping(**(arguments | change))


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"counter": 1},
        {"counter": 1, "best_score": 1.0, "more": 1},
        {"counter": -1, "best_score": 1.0},
        {"counter": 1.0, "best_score": 1.0},
        {"counter": True, "best_score": 1.0},
        {"counter": 1, "best_score": "high"},
        {"counter": 1, "best_score": False},
        {"counter": 1, "best_score": 1.0, "threshold_mode": "rel"},
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(state):
    stopping = EarlyStopping(1, lambda engine: 7.0, make_trainer())
    stopping(stopping.trainer)

    with pytest.raises(StateDictError):
        stopping.load_state_dict(state)

    assert stopping.state_dict() == {"counter": 0, "best_score": 7.0}


def test_the_state_of_the_handler_of_pytorch_ignite_is_taken_over():
    torch = pytest.importorskip("torch")
    stopping = EarlyStopping(1, lambda engine: 7.0, make_trainer())

    stopping.load_state_dict({"counter": 1, "best_score": torch.tensor(0.5), "threshold_mode": "abs"})

    assert stopping.state_dict() == {"counter": 1, "best_score": 0.5}


def test_an_engine_of_pytorch_ignite_is_refused_by_name():
    foreign = type("Engine", (), {"__module__": "ignite.engine.engine"})()

    with pytest.raises(ArgumentTypeError, match="must be an Engine of camshaft.engine, got .* of pytorch-ignite"):
        EarlyStopping(1, lambda engine: 0.0, foreign)


# ---- attached --------------------------------------------------------------------------------------


def train(scores, *, state=None, engine_state=None, epochs=10):
    """Train with one score per epoch, from saved states if there are any."""
    trainer, evaluator = make_trainer(), make_trainer()
    stopping = EarlyStopping(2, lambda engine: scores[trainer.state.epoch - 1], trainer)
    stopping.attach(evaluator)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    if state is not None:
        stopping.load_state_dict(state)
        trainer.load_state_dict(engine_state)
    trainer.run([0, 1], max_epochs=epochs)
    return trainer, stopping


def test_attached_to_an_evaluator_it_ends_the_training():
    trainer, _ = train([1, 2, 3, 2, 2, 9, 9, 9, 9, 9])

    assert trainer.state.epoch == 5


def test_a_new_training_starts_over():
    trainer, stopping = train([1, 2, 3, 2, 2, 9, 9, 9, 9, 9])
    trainer.state.max_epochs = None

    trainer.run([0, 1], max_epochs=1)

    assert stopping.state_dict() == {"counter": 0, "best_score": 1.0}


def test_a_continued_training_keeps_the_restored_counter():
    trainer, stopping = train([3, 2, 9, 9], epochs=2)
    assert stopping.counter == 1

    trainer, stopping = train(
        [3, 2, 1, 9, 9, 9], state=stopping.state_dict(), engine_state=trainer.state_dict(), epochs=6
    )

    assert trainer.state.epoch == 3


def test_a_training_saved_when_it_was_about_to_end_ends_when_it_is_resumed():
    trainer, evaluator = make_trainer(), make_trainer()
    stopping = EarlyStopping(1, lambda engine: 1.0, trainer)
    stopping.attach(evaluator)
    saved = []
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED(once=2),
        lambda: trainer.at_safe_point(lambda: saved.extend([trainer.state_dict(), stopping.state_dict()])),
    )
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    trainer.run([0, 1], max_epochs=5)
    assert trainer.state.epoch == 2

    resumed, events = make_trainer(), []
    for event in Events:
        resumed.add_event_handler(event, lambda event=event: events.append(event))
    stopping = EarlyStopping(1, lambda engine: 1.0, resumed)
    stopping.attach(make_trainer())
    resumed.load_state_dict(saved[0])
    stopping.load_state_dict(saved[1])
    resumed.run([0, 1])

    assert events == [Events.STARTED, Events.TERMINATE, Events.COMPLETED]


def test_a_training_that_was_ended_may_be_continued_in_the_process():
    trainer, stopping = train([3, 2, 1, 9, 9], epochs=5)
    assert trainer.state.epoch == 3

    trainer.run([0, 1])

    assert trainer.state.epoch == 5
    assert stopping.best_score == 9


def test_the_event_that_starts_over_can_be_chosen():
    trainer = make_trainer()
    stopping = EarlyStopping(2, lambda engine: -engine.state.iteration, trainer)
    stopping.attach(trainer, Events.ITERATION_COMPLETED, reset_event=Events.EPOCH_STARTED)

    assert trainer.run([0, 1], max_epochs=3).iteration == 6


def test_without_an_event_to_start_over_it_never_does():
    trainer = make_trainer()
    stopping = EarlyStopping(9, lambda engine: 1.0, trainer)
    stopping.attach(trainer, Events.EPOCH_COMPLETED, reset_event=None)

    trainer.run([0], max_epochs=2)
    trainer.run([0], max_epochs=2)

    assert stopping.counter == 3
