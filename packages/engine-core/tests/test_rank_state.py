"""What belongs to each process, saved and given back. The other processes are played by what is exchanged."""

from __future__ import annotations

import copy
import pickle

import pytest

from camshaft.engine import Engine, Events, StateDictError, use_ranks


class Total:
    """Adds up what it is given; totals of several processes can be merged."""

    def __init__(self, value=0):
        self.value = value

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


class Merged(Total):
    def merge_state_dicts(self, states):
        return {"value": sum(state["value"] for state in states)}


class Ranks:
    """One of several processes; `say` makes what another one says of what this one says."""

    def __init__(self, rank, size, say=None):
        self.rank, self.size = rank, size
        self.say = say or (lambda rank, told: told)

    def exchange(self, what, value):
        others = [pickle.loads(pickle.dumps(value)) for _ in range(self.size)]
        return [value if rank == self.rank else self.say(rank, others[rank]) for rank in range(self.size)]


@pytest.fixture(autouse=True)
def alone_again():
    yield
    use_ranks(None)


def with_total(rank, told):
    """Say that the total of a process is its rank."""
    return {key: (b"%d" % rank, {"value": rank}) if key == "stateful.total" else each for key, each in told.items()}


def engine_with(total, steps=3):
    engine = Engine(lambda engine, batch: None)
    engine.stateful["total"] = total
    if steps:
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=steps), engine.terminate)
        engine.run(range(10))
    return engine


def saved(total, size=2, say=with_total, rank=0):
    use_ranks(Ranks(rank, size, say))
    engine = engine_with(total)
    engine.consolidate_state_dict(to=rank)
    return dict(engine.state_dict())


def loaded(state, rank, size, total):
    use_ranks(Ranks(rank, size))
    engine = engine_with(total, steps=0)
    engine.load_state_dict(copy.deepcopy(state))
    return total.value


def test_each_process_gets_back_what_it_has_saved():
    state = saved(Total(0))

    assert [{"stateful.total": {"value": 0}}, {"stateful.total": {"value": 1}}] == state["ranks"]
    assert [0, 1] == [loaded(state, rank, 2, Total(9)) for rank in range(2)]


def test_what_all_processes_save_alike_is_kept_once_and_fits_any_number():
    state = saved(Total(7), say=None)

    assert "ranks" not in state
    assert [7, 7, 7] == [loaded(state, rank, 3, Total()) for rank in range(3)]


def test_one_process_saves_what_it_always_has():
    engine = engine_with(Total(7))
    engine.consolidate_state_dict()

    assert "ranks" not in engine.state_dict()


def test_another_number_of_processes_merges_what_can_be_merged():
    assert 6 == loaded(saved(Merged(0), size=4), 0, 1, Merged())


def test_what_cannot_be_merged_is_refused_by_name_and_nothing_is_changed():
    total = Total(9)
    with pytest.raises(StateDictError, match=r"`stateful\['total'\]` was saved by 2 processes.*no `merge_state_dicts`"):
        loaded(saved(Total(0)), 0, 1, total)
    assert total.value == 9


def test_only_the_process_that_saves_has_what_was_gathered():
    use_ranks(Ranks(1, 2, with_total))
    engine = engine_with(Total(1))
    engine.consolidate_state_dict(to=0)

    assert "ranks" not in engine.state_dict()


def test_what_was_gathered_at_another_position_is_not_saved():
    use_ranks(Ranks(0, 2, with_total))
    engine = engine_with(Total(0))
    engine.consolidate_state_dict(to=0)
    engine.run([1])

    assert "ranks" not in engine.state_dict()


class Stream:
    """Data with a state: where it has been read to."""

    def __init__(self, place=0):
        self.place = place

    def __iter__(self):
        while self.place < 10:
            self.place += 1
            yield self.place

    def __len__(self):
        return 10

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


def elsewhere(rank, told):
    """Say that the stream of a process stands five further on."""
    return {
        key: (b"other", {"place": each[1]["place"] + 5}) if key == "data_state" else each for key, each in told.items()
    }


@pytest.mark.parametrize(("rank", "size", "first"), [(0, 2, 4), (1, 2, 9), (0, 1, 4)])
def test_each_process_goes_on_where_its_own_data_was(rank, size, first):
    use_ranks(Ranks(0, 2, elsewhere))
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate)
    engine.run(Stream())
    engine.consolidate_state_dict(to=0)
    state = engine.state_dict()
    use_ranks(Ranks(rank, size))
    seen = []
    resumed = Engine(lambda engine, batch: (seen.append(batch), engine.terminate()))
    resumed.load_state_dict(state)
    resumed.run(Stream())

    assert seen == [first]


@pytest.mark.parametrize("ranks", ["two", [1, 2], {"0": {}}])
def test_parts_that_are_malformed_are_refused(ranks):
    state = dict(engine_with(Total()).state_dict(), ranks=ranks)
    with pytest.raises(StateDictError, match="`ranks` must be a list of mappings"):
        loaded(state, 0, 1, Total())
