"""Objects that count by themselves, such as their epochs: a resumed run goes on from the saved count."""

from __future__ import annotations

import types

import pytest
from every_kind import DATA

from camshaft.deterministic import DeterministicEngine
from camshaft.deterministic._checks._difference import find_difference
from camshaft.deterministic._memory._memory import ObjectMemory
from camshaft.deterministic.testing import check_data
from camshaft.engine import Events

COUNTING = {
    name: DATA[name]
    for name in (
        "sampler that counts epochs", "counting loader", "stream that counts epochs", "iterable that counts epochs",
    )
}  # fmt: skip


class Counter:
    kind = "class attribute"

    def __init__(self):
        self.epoch = 0
        self.size = 10


@pytest.mark.parametrize("name", COUNTING)
@pytest.mark.parametrize("ends_early", [(), (2, 5)])
def test_what_remembers_by_itself_goes_on_from_the_saved_count_on_the_same_object_too(name, ends_early):
    data = COUNTING[name]()
    assert check_data(lambda: data, max_epochs=3, epoch_length=4, ends_early=ends_early, every=4) > 8


@pytest.mark.parametrize("name", COUNTING)
def test_a_count_is_saved_by_a_resumed_run_though_it_stands_where_it_stood_before(name):
    data = COUNTING[name]()
    whole, parts = [], []
    DeterministicEngine(lambda engine, batch: whole.append(batch)).run(COUNTING[name](), 4, 3, seed=7)
    state = None
    for stop in (2, 5, 8, None):  # each part in a new engine; every other one on data that has counted further
        engine = DeterministicEngine(lambda engine, batch: parts.append(batch))
        if state is not None:
            engine.load_state_dict(state)
        if stop is not None:
            engine.add_event_handler(Events.ITERATION_COMPLETED(once=stop), engine.terminate)
        engine.run(data, 4, 3, seed=7)
        state = engine.state_dict()
        list(data)  # somebody else iterates it
    assert find_difference(whole, parts, "") is None


@pytest.mark.parametrize("name", COUNTING)
def test_a_count_is_right_when_resumed_inside_a_pass_that_has_ended(name):
    # An epoch longer than a pass: at DATALOADER_STOP_ITERATION, and before it, the pass has given all it has.
    assert check_data(COUNTING[name], max_epochs=2, epoch_length=6, every=2) > 10
    assert check_data(COUNTING[name], max_epochs=2, every=2) > 10


def test_what_never_changes_is_configuration_and_not_saved():
    owner = Counter()
    counts = ObjectMemory([owner])
    owner.epoch += 1
    assert {"0": {"epoch": [1]}} == counts.now()
    owner.size = 20  # between two runs
    later = ObjectMemory([owner])
    later.restore({"0": {"epoch": [5]}})
    assert (5, 20) == (owner.epoch, owner.size)


def test_the_count_as_the_pass_began_is_known_though_it_first_changes_inside_the_pass():
    owner = Counter()
    counts = ObjectMemory([owner])
    counts.begin_pass()
    assert {} == counts.at_start()
    owner.epoch = 1
    assert {"0": {"epoch": [0]}} == counts.at_start()
    assert {"0": {"epoch": [1]}} == counts.now()


def test_a_count_that_began_after_the_state_was_saved_goes_back_and_one_that_was_not_there_is_removed():
    owner = Counter()
    counts = ObjectMemory([owner])
    saved = counts.now()
    owner.epoch, owner.steps = 3, 1
    counts.now()
    ObjectMemory([owner]).restore(saved)
    assert {"epoch": 0, "size": 10} == vars(owner)


def test_another_type_is_a_change_and_other_objects_are_left_alone():
    owner = Counter()
    owner.iterator, owner.objects = None, [object()]
    counts = ObjectMemory([owner, 7])
    owner.epoch, owner.iterator, owner.objects = False, iter([]), [object()]
    assert {"0": {"epoch": [False]}} == counts.now()
    assert ObjectMemory([7, (1, 2)]).now() is None


def test_an_object_that_leads_back_to_itself_is_read_once():
    owner, part = Counter(), Counter()
    owner.part, part.parts, part.whole = part, [owner], owner
    counts = ObjectMemory([owner])
    owner.epoch = part.epoch = 2
    assert {"0": {"epoch": [2], "part.epoch": [2]}} == counts.now()


def test_globals_of_another_package_are_left_to_it():
    module = types.ModuleType("a_package_of_somebody")
    exec("N = 0\ndef init():\n    global N\n    N += 1\ndef read():\n    init()", vars(module))  # noqa: S102
    owner = Counter()
    owner.read = module.read
    counts = ObjectMemory([owner])
    owner.read()
    assert counts.now() == {}
