from __future__ import annotations

import importlib.util
import json
from collections import OrderedDict, UserDict
from typing import Any

import pytest

from camshaft.engine import (
    ArgumentTypeError,
    Engine,
    EngineWarning,
    Events,
    StateDictError,
)
from camshaft.engine.testing import record_events

NAN = float("nan")
GOOD = {"iteration": 4, "max_epochs": 3, "epoch_length": 3}
POSITION = {
    "stage": "GET_BATCH_STARTED", "epoch": 2, "epoch_iteration": 1, "data_pass": 1, "batch": 1, "pass_open": True,
    "over": False, "awaits_data": False, "skips_epoch_completed": False,
}  # fmt: skip


def make(seen: list[Any] | None = None) -> Engine[Any, Any]:
    return Engine(lambda engine, batch: None if seen is None else seen.append(batch))


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != key}


def at(**changes: Any) -> dict[str, Any]:
    return {**GOOD, "position": {**POSITION, **changes}}


MALFORMED: list[tuple[str, dict[Any, Any]]] = [
    ("epoch_length", without("epoch_length")),
    ("max_epochs", without("max_epochs")),
    ("iteration", without("iteration")),
    ("iteration", {}),
    ("iteration", {**GOOD, "epoch": 1}),
    ("iteration", {**GOOD, "epoch": 0, "iteration": 0}),
    ("max_iters", {**GOOD, "max_iters": 12}),
    ("max_epochs", {**GOOD, "max_epochs": None}),
    ("surprise", {**GOOD, "surprise": 1}),
    ("7", {**GOOD, 7: 1}),
    *[("iteration", {**GOOD, "iteration": value}) for value in (-1, -5, 5.7, 4.0, NAN, "4", True, None, [4], 10)],
    *[("epoch", {**without("iteration"), "epoch": value}) for value in (-1, 1.5, NAN, "1", False, None, {})],
    ("iteration", {**without("iteration"), "epoch": 4}),
    *[("max_epochs", {**GOOD, "max_epochs": value}) for value in (0, -3, 2.5, NAN, "3", True, [3])],
    ("iteration", {**GOOD, "max_epochs": 1}),
    *[("epoch_length", {**GOOD, "epoch_length": value}) for value in (0, -3, 2.5, NAN, "3", True, (3,), None)],
    *[("max_iters", {"iteration": 2, "epoch_length": 3, "max_iters": value}) for value in (0, -1, 1.5, NAN, "9", True)],
    ("iteration", {"iteration": 9, "epoch_length": 3, "max_iters": 8}),
    *[("seed", {**GOOD, "seed": value}) for value in (1.5, NAN, "1", True, [1])],
    *[("position", {**GOOD, "position": value}) for value in (3, "x", [1, 2], None)],
    ("position.epoch", at(epoch=0)),
    ("position.epoch", at(epoch=4)),
    ("position.epoch", at(epoch="2")),
    ("position.epoch", at(epoch=2.0)),
    ("position.epoch_iteration", at(epoch_iteration=-1)),
    ("position.epoch_iteration", at(epoch_iteration=4)),
    ("position.epoch_iteration", at(epoch_iteration=5)),
    ("position.epoch_iteration", at(epoch_iteration=0)),
    ("position.epoch_iteration", at(epoch=1)),
    ("position.data_pass", at(data_pass=-1)),
    ("position.data_pass", at(data_pass=True)),
    ("position.batch", at(batch=5)),
    ("position.batch", at(batch=NAN)),
    ("position.batch", at(data_pass=0)),
    ("position.pass_open", at(pass_open=False)),
    ("position.pass_open", at(pass_open=1)),
    ("position.over", at(over=None)),
    ("position.awaits_data", at(awaits_data=True)),
    ("position.skips_epoch_completed", at(skips_epoch_completed=True)),
    ("position.stage", at(stage="TERMINATE")),
    ("position.stage", at(stage="nonsense")),
    ("position.stage", at(stage=None)),
    ("position.stage", at(stage=["GET_BATCH_STARTED"])),
    ("position.surprise", at(surprise=1)),
    ("position.over", {**GOOD, "position": {key: POSITION[key] for key in POSITION if key != "over"}}),
    ("position.batch", {**GOOD, "position": {key: POSITION[key] for key in POSITION if key != "batch"}}),
    ("stateful", {**GOOD, "stateful": {"scaler": {}}}),
    ("stateful", {**GOOD, "stateful": 3}),
]


def test_there_are_at_least_sixty_malformed_states() -> None:
    assert len(MALFORMED) >= 60


@pytest.mark.parametrize(("key", "state"), MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_state_is_refused_by_name_and_the_engine_is_unchanged(key: str, state: dict[Any, Any]) -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    engine.run([1, 2, 3], max_epochs=2)
    before = (engine.state_dict(), vars(engine.state).copy(), engine.position, engine.should_interrupt)
    with pytest.raises(StateDictError, match=f"['`]{key}['`]"):
        engine.load_state_dict(state)

    assert before == (engine.state_dict(), vars(engine.state), engine.position, engine.should_interrupt)
    assert engine.run().iteration == 6


@pytest.mark.parametrize("state", [None, 3, "iteration", [("iteration", 3)], {"iteration"}], ids=range(5))
def test_a_state_that_is_no_mapping_is_a_type_error(state: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="`state_dict` must be a mapping"):
        make().load_state_dict(state)


def test_a_well_formed_position_is_taken() -> None:
    engine = make()
    engine.load_state_dict(at())

    assert engine.position.epoch_iteration == 1
    assert engine.run([1, 2, 3]).iteration == 9


@pytest.mark.parametrize(
    ("state", "iterations"),
    [
        ({"epoch": 3, "max_epochs": 100, "epoch_length": 4}, 388),
        ({"iteration": 390, "max_epochs": 100, "epoch_length": 4}, 10),
        ({"epoch": 1, "epoch_length": 4, "max_epochs": 2, "rng_states": None}, 4),
        (OrderedDict(epoch_length=4, max_epochs=2, iteration=0, seed=12), 8),
        (UserDict({"iteration": 3, "max_iters": 7, "epoch_length": 4}), 4),
        ({"iteration": 0, "max_epochs": 3, "epoch_length": None}, 12),
    ],
    ids=range(6),
)
def test_states_as_written_by_hand_are_taken(state: Any, iterations: int) -> None:
    seen: list[Any] = []
    engine = make(seen)
    if "rng_states" in state:
        with pytest.warns(EngineWarning, match="rng_states") as caught:
            engine.load_state_dict(state)
        assert len(caught) == 1
    else:
        engine.load_state_dict(state)
    engine.run("abcd")

    assert len(seen) == iterations
    assert engine.state.resumed


@pytest.mark.skipif(importlib.util.find_spec("numpy") is None, reason="numpy is not there")
def test_numpy_integers_are_taken_as_integers() -> None:
    numpy = importlib.import_module("numpy")
    engine = make()
    engine.load_state_dict({key: numpy.int64(value) for key, value in GOOD.items()})

    assert type(engine.state_dict()["iteration"]) is int
    assert engine.run([1, 2, 3]).iteration == 9


def test_the_state_of_a_deterministic_engine_is_taken_with_one_warning() -> None:
    engine = make()
    with pytest.warns(EngineWarning) as caught:
        engine.load_state_dict({**GOOD, "rng_states": [1], "deterministic": {}})

    assert len(caught) == 1
    assert engine.state.iteration == 4


def test_a_plain_state_at_the_end_of_an_epoch_means_that_epoch_completed_was_fired() -> None:
    engine = make()
    log = record_events(engine)
    engine.load_state_dict({"iteration": 6, "max_epochs": 3, "epoch_length": 3})
    engine.run([1, 2, 3])

    assert log.names[:3] == ["STARTED", "EPOCH_STARTED", "GET_BATCH_STARTED"]
    assert (log[1].epoch, log[1].iteration) == (3, 6)


def test_pending_events_of_a_finished_epoch_and_run_are_fired_once() -> None:
    engine = make()
    states: list[dict[str, Any]] = []
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda: states.append(engine.state_dict()))
    engine.add_event_handler(Events.EPOCH_COMPLETED(once=2), lambda: states.append(engine.state_dict()))
    engine.run([1, 2], max_epochs=2)
    tails = []
    for state in states:
        other = make()
        log = record_events(other)
        other.load_state_dict(state)
        other.run([1, 2])
        tails.append(log.names)

    assert tails == [["STARTED", "EPOCH_COMPLETED", "COMPLETED"], ["STARTED", "COMPLETED"]]


def test_a_finished_state_runs_nothing_with_a_warning_until_its_limit_is_raised() -> None:
    engine = make()
    engine.run([1, 2], max_epochs=2)
    saved = engine.state_dict()
    other = make()
    log = record_events(other)
    other.load_state_dict(saved)
    with pytest.warns(EngineWarning, match="finished"):
        other.run([1, 2])
    assert log == []
    assert other.state_dict() == saved

    other.load_state_dict(saved)
    assert other.run([1, 2], max_epochs=3).iteration == 6


def test_a_finished_state_loaded_over_an_earlier_run_stays_finished() -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.terminate)
    engine.run([1, 2], max_epochs=5)
    engine.load_state_dict({"epoch": 2, "max_epochs": 2, "epoch_length": 2})
    with pytest.warns(EngineWarning, match="finished"):
        engine.run()

    assert (engine.position.iteration, engine.position.over) == (4, True)


def test_a_new_engine_gives_out_a_state_that_loads() -> None:
    saved = make().state_dict()
    assert dict(saved) == {"epoch_length": None, "max_epochs": None, "iteration": 0}
    engine = make()
    engine.load_state_dict(saved)

    assert engine.run([1, 2], max_epochs=2).iteration == 4


def test_iteration_and_epoch_are_never_given_out_together() -> None:
    engine = make()
    engine.run([1, 2], max_epochs=2, seed=3)

    assert dict(engine.state_dict()) == {"epoch_length": 2, "max_epochs": 2, "iteration": 4, "seed": 3}


def test_max_iters_takes_the_place_of_max_epochs() -> None:
    engine = make()
    engine.run([1, 2], max_iters=4)

    assert dict(engine.state_dict()) == {"epoch_length": 2, "max_iters": 4, "iteration": 4}


@pytest.mark.parametrize("event", [*list(Events)[:6], Events.EPOCH_COMPLETED, Events.COMPLETED])
def test_whatever_a_run_gives_out_loads_and_survives_json(event: Events) -> None:
    engine = make()
    states: list[dict[str, Any]] = []
    engine.add_event_handler(event, lambda: states.append(engine.state_dict()))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate_epoch)
    engine.run([1, 2], max_epochs=2, epoch_length=4)
    assert states
    for state in states:
        other = make()
        other.load_state_dict(json.loads(json.dumps(state)))
        assert other.state_dict() == state


def test_user_keys_are_saved_and_required() -> None:
    engine = make()
    engine.state_dict_user_keys += ["alpha", "beta"]
    engine.state.alpha, engine.state.beta = 1, [2]
    engine.run([1])
    saved = engine.state_dict()
    assert (saved["alpha"], saved["beta"]) == (1, [2])

    other = make()
    other.state_dict_user_keys += ["alpha", "beta"]
    other.state.gamma = "kept"
    other.load_state_dict(saved)
    assert (other.state.alpha, other.state.beta, other.state.gamma) == (1, [2], "kept")
    del saved["beta"]
    with pytest.raises(StateDictError, match="beta"):
        other.load_state_dict(saved)


class Scaler:
    def __init__(self, scale: int) -> None:
        self.scale = scale

    def state_dict(self) -> dict[str, int]:
        return {"scale": self.scale}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.scale = state["scale"]


def test_objects_of_the_engine_are_saved_with_it_all_or_none() -> None:
    engine, other = make(), make()
    engine.stateful["scaler"], other.stateful["scaler"] = Scaler(8), Scaler(1)
    engine.run([1])
    saved = engine.state_dict()
    assert saved["stateful"] == {"scaler": {"scale": 8}}
    other.load_state_dict(saved)
    assert other.stateful["scaler"].state_dict() == {"scale": 8}

    other.stateful["more"] = Scaler(2)
    with pytest.raises(StateDictError, match=r"stateful.*more"):
        other.load_state_dict(saved)
    other.load_state_dict(GOOD)
    assert other.stateful["more"].state_dict() == {"scale": 2}


def test_terminate_epoch_is_not_forgotten_by_a_state_saved_at_its_safe_point() -> None:
    engine = make()
    saved: list[dict[str, Any]] = []

    @engine.on(Events.ITERATION_COMPLETED(once=2))
    def end() -> None:
        engine.at_safe_point(lambda: saved.append(engine.state_dict()))
        engine.terminate_epoch(skip_epoch_completed=True)

    engine.run("abc", max_epochs=2)
    seen: list[Any] = []
    other = make(seen)
    log = record_events(other)
    other.load_state_dict(saved[0])
    other.run("abc")

    assert log.names[:3] == ["STARTED", "TERMINATE_SINGLE_EPOCH", "EPOCH_STARTED"]
    assert "".join(seen) == "abc"


def test_a_run_left_between_epochs_of_different_length_continues_exactly() -> None:
    seen: list[Any] = []
    engine = make(seen)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate_epoch)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=4), engine.terminate)
    engine.run("abcde", max_epochs=3)
    other = make(seen)
    other.load_state_dict(engine.state_dict())
    other.run("abcde")

    assert "".join(seen) == "ab" + "ab" + "cde" + "abcde"
    assert other.state.iteration == 12
