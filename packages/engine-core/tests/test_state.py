from __future__ import annotations

import pytest

from camshaft.engine import CounterError, Events, State


def test_a_fresh_state_has_the_fields_of_the_contract() -> None:
    state = State()

    assert (state.iteration, state.epoch) == (0, 0)
    assert [
        getattr(state, name)
        for name in ("seed", "dataloader", "epoch_length", "max_epochs", "max_iters", "batch", "output")
    ] == [None] * 7
    assert state.metrics == {}
    assert state.times == {"EPOCH_COMPLETED": None, "COMPLETED": None}
    assert state.resumed is False


def test_any_attribute_can_be_given_and_added() -> None:
    state = State(alpha=1, epoch=3)
    state.beta = [2]

    assert (state.alpha, state.beta, state.epoch) == (1, [2], 3)
    with pytest.raises(AttributeError, match="gamma"):
        _ = state.gamma


def test_two_states_share_nothing() -> None:
    first, second = State(), State()
    first.metrics["a"] = 1
    first.times["COMPLETED"] = 2.0

    assert second.metrics == {}
    assert second.times["COMPLETED"] is None


@pytest.mark.parametrize(
    ("event", "value"),
    [(Events.EPOCH_STARTED, 3), (Events.EPOCH_COMPLETED, 3), (Events.ITERATION_STARTED, 7),
     (Events.ITERATION_COMPLETED(every=2), 7), (Events.GET_BATCH_STARTED, 7), (Events.GET_BATCH_COMPLETED, 7)],
    ids=str,
)  # fmt: skip
def test_the_counter_of_an_event_is_its_epoch_or_iteration(event: Events, value: int) -> None:
    assert State(epoch=3, iteration=7).get_event_attrib_value(event) == value


@pytest.mark.parametrize("event", [Events.TERMINATE, Events.EXCEPTION_RAISED, "unknown"], ids=str)
def test_an_event_without_a_counter_is_a_runtime_error(event: Events) -> None:
    with pytest.raises(CounterError, match="counter") as caught:
        State().get_event_attrib_value(event)
    assert isinstance(caught.value, RuntimeError)


def test_printing_shows_values_and_only_the_types_of_large_things() -> None:
    text = repr(State(iteration=7, batch=list(range(1000)), note="mine"))

    assert "iteration: 7" in text
    assert "note: mine" in text
    assert "<class 'list'>" in text
    assert "999" not in text
