import warnings
from typing import Any

import pytest

from camshaft.engine import Engine, EngineWarning, Events, State, StateDictError, last_values


def saved_at_the_end_of_an_epoch(step: Any) -> Any:
    """Return the state of a run that was left between the last iteration of its first epoch and EPOCH_COMPLETED."""
    engine, states = Engine(step), []
    at = Events.ITERATION_COMPLETED(once=3)
    engine.add_event_handler(at, lambda: engine.at_safe_point(lambda: states.append(engine.state_dict())))
    engine.run([1, 2, 3], max_epochs=2)
    return states[0]


def resumed(state: Any, step: Any) -> list[Any]:
    engine, found = Engine(step), []
    engine.load_state_dict(state)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: found.append((engine.state.output, engine.state.metrics)))
    engine.run([1, 2, 3])
    return found


@pytest.mark.parametrize("factor", [2, 0.5, "ab", True])
def test_handlers_of_an_epoch_find_the_last_output_after_resuming(factor: Any) -> None:
    found = resumed(saved_at_the_end_of_an_epoch(lambda _, batch: batch * factor), lambda _, batch: None)

    assert [3 * factor, None] == [output for output, _ in found]


def test_handlers_of_an_epoch_find_the_metrics_after_resuming() -> None:
    def step(engine: Any, batch: int) -> None:
        engine.state.metrics["sum"] = engine.state.metrics.get("sum", 0) + batch

    found = resumed(saved_at_the_end_of_an_epoch(step), lambda _, batch: None)

    assert {"sum": 6} == found[0][1]


@pytest.mark.parametrize("output", [object(), "x" * 2**21, [[[[[[[[[[[[1]]]]]]]]]]]], {"a": {1, 2}}])
def test_what_a_state_cannot_hold_is_told_when_handlers_would_miss_it(output: Any) -> None:
    state = saved_at_the_end_of_an_epoch(lambda _, batch: output)

    with pytest.warns(EngineWarning, match="`state.output` of the last iteration was not saved"):
        assert None is resumed(state, lambda _, batch: None)[0][0]


def test_nothing_is_told_inside_an_epoch() -> None:
    engine, states = Engine(lambda _, batch: object()), []
    engine.add_event_handler(Events.GET_BATCH_STARTED(once=2), lambda: states.append(engine.state_dict()))
    engine.run(iter([1, 2, 3]), epoch_length=3)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Engine(lambda _, batch: None).load_state_dict(states[0])


def test_a_copy_is_saved() -> None:
    output = {"losses": [1.0]}
    saved = last_values(State(output=output))
    output["losses"].append(2.0)

    assert {"output": {"losses": [1.0]}} == saved


def test_a_plain_state_has_no_entry_more() -> None:
    engine = Engine(lambda _, batch: batch)
    engine.run([1, 2, 3], max_epochs=2)

    assert ["epoch_length", "max_epochs", "iteration"] == list(engine.state_dict())


@pytest.mark.parametrize("last", [3, {"outputs": 1}, {"metrics": 3}, {"lost": "output"}])
def test_a_malformed_entry_is_refused(last: Any) -> None:
    engine = Engine(lambda _, batch: None)

    with pytest.raises(StateDictError, match="`last_values` must"):
        engine.load_state_dict({"iteration": 0, "max_epochs": 1, "epoch_length": 3, "last_values": last})


def test_a_user_may_save_an_attribute_called_last() -> None:
    def make() -> Engine[int, int]:
        engine = Engine[int, int](lambda _, batch: batch)
        engine.state_dict_user_keys.append("last")
        engine.state.last = 5
        return engine

    engine, states = make(), []
    at = Events.ITERATION_COMPLETED(once=3)
    engine.add_event_handler(at, lambda: engine.at_safe_point(lambda: states.append(engine.state_dict())))
    engine.run([1, 2, 3], max_epochs=2)
    resumed = make()
    resumed.state.last = 0
    resumed.load_state_dict(states[0])

    assert (5, 3) == (resumed.state.last, resumed.state.output)
