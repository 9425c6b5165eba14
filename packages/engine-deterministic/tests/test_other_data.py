"""Other data is put in place in the middle of a run, and the run is resumed."""

from __future__ import annotations

import copy
import io
import weakref

import pytest
import torch
from torch.utils.data import DataLoader

from camshaft.deterministic import DeterministicEngine, ResumeMismatch
from camshaft.engine import EngineWarning, Events


class Source:
    """Data that is drawn again up to its place."""

    def __init__(self, values):
        self.values = values

    def __iter__(self):
        return iter(self.values)


class Place(Source):
    """Data that saves its place; no batch of it is compared."""

    keeps_place = False

    def __init__(self, values):
        super().__init__(values)
        self.place = self.start = 0

    def __iter__(self):
        self.place, self.start = self.start, 0
        for value in self.values[self.place :]:
            self.place += 1
            yield value

    def state_dict(self):
        return {"last": self.place}

    def load_state_dict(self, state):
        self.start = state["last"]


class Turned:
    """A sampler that gives the places of large values from behind."""

    def __init__(self, values):
        self.places = sorted(range(len(values)), reverse=values[0] > 100)

    def __len__(self):
        return len(self.places)

    def __iter__(self):
        return iter(self.places)


KINDS = {
    "sampler of its own": lambda values: DataLoader(values, 1, sampler=Turned(values)),
    "list": list,
    "loader": lambda values: DataLoader(values, 1, shuffle=True),
    "drawn again": Source,
    "stateful": Place,
}
EASY, HARD = [1.0, 2.0, 3.0], [101.0, 102.0, 103.0]


def through_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def recorder():
    seen = []
    return DeterministicEngine(lambda engine, batch: seen.append(float(batch))), seen


def program(make, at, put):
    engine, seen = recorder()
    hard = make(HARD)
    engine.add_event_handler(at, lambda: put(engine, hard))
    return engine, seen


def whole_run(make, at, put):
    """Return what a run sees, and its states by how many batches come before."""
    engine, seen = program(make, at, put)
    states = {}
    for event in (Events.EPOCH_STARTED, Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED):

        def save(event=event):
            states[event.name, len(seen)] = through_file(engine.state_dict())

        engine.add_event_handler(event, lambda save=save: engine.at_safe_point(save))
    engine.run(make(EASY), max_epochs=3, epoch_length=3, seed=1)
    return seen, states


def put_by_method(engine, data):
    engine.set_data(data)


def put_into_state(engine, data):
    engine.state.dataloader = data


AT = {
    "at the start of an epoch": Events.EPOCH_STARTED(once=2),
    "at the end of one": Events.EPOCH_COMPLETED(once=1),
    "inside one": Events.ITERATION_COMPLETED(once=2),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("put", [put_by_method, put_into_state])
@pytest.mark.parametrize("at", AT.values(), ids=AT)
def test_a_run_given_its_first_data_goes_on_exactly_or_is_refused(make, put, at):
    whole, states = whole_run(make, at, put)
    is_refused = {}
    for place, state in states.items():
        resumed, seen = program(make, at, put)
        resumed.load_state_dict(state)
        try:
            resumed.run(make(EASY))
        except ResumeMismatch:
            is_refused[place] = True
        else:
            is_refused[place] = False
            assert seen == whole[place[1] :], place
    assert [is_refused["EPOCH_STARTED", done] for done in (0, 6)] == [False, True]


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("at", AT.values(), ids=AT)
def test_a_run_goes_on_over_what_set_data_is_given_before(make, at):
    whole, states = whole_run(make, at, put_by_method)
    for (_, done), state in states.items():
        is_hard = "replaced" in state["deterministic"]
        resumed, seen = program(make, at, put_by_method)
        resumed.load_state_dict(state)
        resumed.set_data(make(HARD if is_hard else EASY))
        resumed.run()
        assert seen == whole[done:]


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_what_is_saved_by_a_resumed_run_knows_that_its_data_was_set(make):
    _, states = whole_run(make, Events.EPOCH_STARTED(once=2), put_by_method)
    resumed, _ = recorder()
    resumed.load_state_dict(states["EPOCH_STARTED", 3])
    resumed.set_data(make(HARD))
    resumed.add_event_handler(Events.EPOCH_STARTED, lambda: resumed.set_data(resumed.state.dataloader))
    later = []
    resumed.add_event_handler(
        Events.EPOCH_STARTED, lambda: resumed.at_safe_point(lambda: later.append(resumed.state_dict()))
    )
    resumed.run()
    again, _ = recorder()
    again.load_state_dict(later[0])
    with pytest.raises(ResumeMismatch, match=r"set_data\(data\)"):
        again.run(make(EASY))


def test_a_run_that_has_gone_back_to_its_first_data_is_given_it_again():
    engine, seen = recorder()
    easy, states = list(EASY), []
    engine.add_event_handler(Events.EPOCH_STARTED, lambda: engine.set_data(HARD if engine.state.epoch == 2 else easy))
    engine.add_event_handler(
        Events.EPOCH_STARTED(once=3), lambda: engine.at_safe_point(lambda: states.append(engine.state_dict()))
    )
    engine.run(easy, max_epochs=3, seed=1)
    resumed, rest = recorder()
    resumed.load_state_dict(states[0])
    resumed.run(list(EASY))
    assert rest == seen[6:] == EASY


def test_the_difference_may_be_allowed():
    whole, states = whole_run(list, Events.EPOCH_STARTED(once=2), put_by_method)
    resumed, seen = recorder()
    resumed.on_mismatch = "warn"
    resumed.load_state_dict(states["EPOCH_STARTED", 3])
    with pytest.warns(EngineWarning, match="data_given_to"):
        resumed.run(HARD)
    assert seen == whole[3:]


def test_an_engine_keeps_no_data_that_was_replaced():
    class Values(list):
        pass

    engine, _ = recorder()
    easy = Values(EASY)
    kept = weakref.ref(easy)
    engine.add_event_handler(Events.EPOCH_STARTED(once=2), lambda: engine.set_data(HARD))
    engine.run(easy, max_epochs=2, seed=1)
    del easy
    assert kept() is None


def test_data_set_at_the_start_of_a_resumed_run_does_not_begin_anew_unnoticed():
    whole, states = whole_run(list, Events.EPOCH_STARTED(once=2), put_by_method)
    resumed, _ = recorder()
    resumed.load_state_dict(states["ITERATION_COMPLETED", 4])
    resumed.add_event_handler(Events.STARTED, lambda: resumed.set_data(list(HARD)))
    with pytest.raises(ResumeMismatch, match="place in the data"):
        resumed.run(HARD)
    assert len(whole) == 9


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_a_run_that_is_interrupted_as_data_is_set_goes_on_over_it_in_a_copy_and_from_its_state(make):
    whole, _ = whole_run(make, Events.EPOCH_STARTED(once=2), put_by_method)
    engine, seen = program(make, Events.EPOCH_STARTED(once=2), put_by_method)
    engine.add_event_handler(Events.EPOCH_STARTED(once=2), engine.interrupt)
    engine.run(make(EASY), max_epochs=3, epoch_length=3, seed=1)
    resumed, rest = recorder()
    resumed.load_state_dict(through_file(engine.state_dict()))
    with pytest.raises(ResumeMismatch, match="data_given_to"):
        resumed.run(make(EASY))
    resumed.set_data(make(HARD))
    resumed.run()
    copied, copied_rest = copy.deepcopy(engine), []
    copied.process_function = lambda engine, batch: copied_rest.append(float(batch))
    copied.run()
    engine.run()
    assert rest == copied_rest == whole[3:]
    assert seen == whole


def test_data_that_is_set_between_two_runs_of_an_engine_counts_as_set():
    engine, _ = recorder()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=4), engine.terminate)
    engine.run(list(EASY), max_epochs=3, seed=1)
    engine.set_data(list(HARD))
    states = []
    engine.add_event_handler(Events.STARTED, lambda: engine.at_safe_point(lambda: states.append(engine.state_dict())))
    engine.run()
    resumed, _ = recorder()
    resumed.load_state_dict(states[0])
    with pytest.raises(ResumeMismatch, match="data_given_to"):
        resumed.run(list(EASY))
