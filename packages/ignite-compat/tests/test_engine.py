"""What widespread scripts do with engines. Expected values are those of pytorch-ignite 0.5.5 unless a test says so."""

import pytest
import torch
from torch.utils.data import DataLoader, WeightedRandomSampler

from ignite.engine import DeterministicEngine, Engine, EventEnum, Events, State
from ignite.utils import manual_seed

DATA = [1, 2, 3]


def same(engine, batch):
    return batch


def epochs_of(engine):
    seen = []
    engine.add_event_handler(
        Events.EPOCH_STARTED, lambda engine: seen.append((engine.state.epoch, engine.state.iteration))
    )
    return seen


@pytest.mark.parametrize("values", [{"epoch": 3}, {"iteration": 9}, {"epoch": 3, "iteration": 9}])
def test_a_start_epoch_set_by_a_handler_moves_the_run_there(values):
    # In Ignite the number alone changes, and the run ends at a wrong iteration.
    engine = Engine(same)
    seen = epochs_of(engine)

    @engine.on(Events.STARTED)
    def set_start(engine):
        for name, value in values.items():
            setattr(engine.state, name, value)

    state = engine.run(DATA, max_epochs=5)
    assert ([(4, 9), (5, 12)], 5, 15) == (seen, state.epoch, state.iteration)


def test_a_start_epoch_set_before_the_run_moves_it_there():
    engine = Engine(same)
    seen = epochs_of(engine)
    engine.state.epoch = 3
    engine.run(DATA, max_epochs=5)
    assert [(4, 9), (5, 12)] == seen


def test_counters_that_contradict_each_other_are_refused():
    engine = Engine(same)

    @engine.on(Events.STARTED)
    def set_start(engine):
        engine.state.epoch, engine.state.iteration = 1, 9

    with pytest.raises(ValueError, match="epoch"):
        engine.run(DATA, max_epochs=5)


@pytest.mark.parametrize(("event", "value"), [(Events.STARTED, 0), (Events.COMPLETED, 2)])
def test_the_ends_of_a_run_count_epochs_for_filters(event, value):
    engine = Engine(same)
    values = []

    @engine.on(event(event_filter=lambda engine, value: values.append(value) or True))
    def handle():
        values.append(engine.state.get_event_attrib_value(event))

    engine.run(DATA, max_epochs=2)
    assert [value, value] == values


def endless():
    while True:
        yield torch.randint(0, 1000, (4,))


def shuffled():
    return DataLoader(torch.arange(64), batch_size=4, shuffle=True)


def weighted():
    return DataLoader(torch.arange(64), batch_size=4, sampler=WeightedRandomSampler(torch.ones(64), 64))


@pytest.mark.parametrize(("make", "epoch_length"), [(endless, 21), (shuffled, 16), (weighted, 16), (shuffled, 10)])
@pytest.mark.parametrize("position", [{"epoch": 1}, {"epoch": 2}, {"iteration": 5}, {"iteration": 47}], ids=str)
def test_a_deterministic_run_goes_on_with_the_batches_of_the_whole_one(make, epoch_length, position):
    def run(state=None):
        seen = []
        engine = DeterministicEngine(lambda engine, batch: seen.append(batch.tolist()))
        if state is not None:
            engine.load_state_dict(state)
        manual_seed(87)
        engine.run(make(), max_epochs=5, epoch_length=epoch_length)
        return seen

    done = position.get("iteration", position.get("epoch", 0) * epoch_length)
    resumed = run({**position, "max_epochs": 5, "epoch_length": epoch_length, "rng_states": None})
    assert run()[done:] == resumed
    assert 5 * epoch_length - done == len(resumed)


def test_a_handler_of_an_ended_epoch_gets_the_number_of_its_iterations():
    engine = Engine(same)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate_epoch)
    got = []

    @engine.on(Events.TERMINATE_SINGLE_EPOCH)
    def with_engine(engine, iter_counter):
        got.append(iter_counter)

    @engine.on(Events.TERMINATE_SINGLE_EPOCH)
    def alone(iter_counter):
        got.append(iter_counter)

    @engine.on(Events.TERMINATE_SINGLE_EPOCH)
    def engine_only(engine):
        got.append(type(engine))

    state = engine.run(DATA, max_epochs=2)
    assert ([2, 2, Engine], 5) == (got, state.iteration)


def test_a_handler_of_an_exception_gets_the_engine_and_the_exception():
    def fail(engine, batch):
        raise KeyError(batch)

    engine = Engine(fail)
    got = []

    @engine.on(Events.EXCEPTION_RAISED)
    def handle(engine, error):
        got.append((type(engine), type(error)))
        raise error

    with pytest.raises(KeyError):
        engine.run(DATA)
    assert [(Engine, KeyError)] == got


def test_a_handled_ctrl_c_completes_the_run():
    # In Ignite no event follows.
    def fail(engine, batch):
        if engine.state.iteration == 2:
            raise KeyboardInterrupt

    engine = Engine(fail)
    events = []
    engine.add_event_handler(Events.COMPLETED, lambda: events.append("completed"))

    @engine.on(Events.EXCEPTION_RAISED)
    def handle(engine, error):
        if not isinstance(error, KeyboardInterrupt):
            raise error
        engine.terminate()

    assert isinstance(engine.run(DATA), State)
    assert ["completed"] == events


@pytest.mark.parametrize("bad", [3, "text", None])
def test_a_process_function_or_handler_that_cannot_be_called_is_a_type_error(bad):
    with pytest.raises(TypeError, match="`handler` must be callable"):
        Engine(same).add_event_handler(Events.STARTED, bad)
    with pytest.raises((TypeError, ValueError), match="`process_function` must be callable"):
        Engine(bad)


def test_a_filter_that_cannot_be_called_is_a_type_error():
    with pytest.raises(TypeError, match="`event_filter` must be callable"):
        Events.ITERATION_STARTED(event_filter=1)


def test_a_validation_runs_inside_a_training():
    order = []
    trainer, evaluator = Engine(same), Engine(same)
    evaluator.add_event_handler(Events.COMPLETED, lambda engine: order.append(("evaluated", engine.state.iteration)))

    @trainer.on(Events.EPOCH_COMPLETED(every=2))
    def validate(engine):
        evaluator.run(DATA)
        order.append(("epoch", engine.state.epoch))

    trainer.run(DATA, max_epochs=4)
    assert [("evaluated", 3), ("epoch", 2), ("evaluated", 3), ("epoch", 4)] == order


def test_an_engine_runs_until_larger_limits():
    engine = Engine(same)
    seen = epochs_of(engine)
    engine.run(DATA, max_epochs=2)
    engine.run(DATA, max_epochs=4)
    assert [(1, 0), (2, 3), (3, 6), (4, 9)] == seen
    with pytest.raises(ValueError, match="max_epochs"):
        engine.run(DATA, max_epochs=3)
    engine.state.max_epochs = None
    assert 3 == engine.run(DATA, max_epochs=1).iteration


def test_a_custom_event_is_fired_from_the_step():
    class BackpropEvents(EventEnum):
        BACKWARD_STARTED = "backward_started"
        BACKWARD_COMPLETED = "backward_completed"

    def step(engine, batch):
        engine.fire_event(BackpropEvents.BACKWARD_STARTED)
        engine.fire_event(BackpropEvents.BACKWARD_COMPLETED)

    trainer = Engine(step)
    trainer.register_events(*BackpropEvents)
    fired = []

    @trainer.on(BackpropEvents.BACKWARD_STARTED | BackpropEvents.BACKWARD_COMPLETED)
    def follow(engine):
        fired.append(engine.state.iteration)

    trainer.run(DATA)
    assert [1, 1, 2, 2, 3, 3] == fired
