"""Memories of many types, in many places: a loader that is resumed between two passes goes on, or it is told."""

from __future__ import annotations

import array
import collections
import enum
import itertools
import types
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from looping import dumped, epochs_of, loaded, resumable, resume_everywhere, seeding_steps
from torch.utils.data import DataLoader, IterableDataset

from camshaft.deterministic import DeterministicEngine
from camshaft.deterministic._checks._difference import find_difference
from camshaft.engine import EngineWarning, Events

RECORD = np.dtype([("a", "i1"), ("n", "i8")], align=True)


class Level(enum.IntEnum):
    FIRST, SECOND, THIRD, FOURTH, FIFTH = range(5)


class Stream(IterableDataset):
    """Begins each pass with what `turn` returns of its memory."""

    def __init__(self, memory, turn):
        self.memory = memory
        self.turn = turn

    def __iter__(self):
        first = 10 * int(self.turn(self))
        return iter(range(first, first + 4))


class Listed(list):
    pass


class Part:
    __slots__ = ("n",)

    def __init__(self):
        self.n = 0


def appending(stream):
    stream.memory.append(1)
    return len(stream.memory)


def counting(stream):
    stream.memory["n"] += 1
    return stream.memory["n"]


def adding(one):
    def turn(stream):
        stream.memory = stream.memory + one
        return len(stream.memory) if isinstance(stream.memory, bytes | tuple) else stream.memory

    return turn


def moving(stream):
    stream.memory["n"] = stream.memory.pop("n", 0) + 1
    return stream.memory["n"]


def in_place(stream):
    stream.memory[0] = stream.memory[0] + 1
    return stream.memory[0]


def in_a_record(stream):
    stream.memory["n"][0] += 1
    return stream.memory["n"][0]


def in_a_part(stream):
    stream.memory["a"].n += 1
    return stream.memory["a"].n


def next_level(stream):
    stream.memory = Level(stream.memory + 1)
    return stream.memory


TYPES = {
    "Counter": (collections.Counter, counting),
    "defaultdict": (lambda: collections.defaultdict(int), counting),
    "defaultdict of a function": (lambda: collections.defaultdict(lambda: 0), counting),
    "OrderedDict": (collections.OrderedDict, moving),
    "UserList": (collections.UserList, appending),
    "UserDict": (collections.UserDict, moving),
    "subclass of list": (Listed, appending),
    "array.array": (lambda: array.array("i"), appending),
    "bytearray": (bytearray, appending),
    "bytes": (bytes, adding(b"x")),
    "tuple": (tuple, adding((1,))),
    "Fraction": (Fraction, adding(Fraction(1))),
    "complex in a list": (lambda: [0j], lambda stream: in_place(stream).real),
    "records": (lambda: np.zeros(2, dtype=RECORD), in_a_record),
    "masked array": (lambda: np.ma.zeros(3), in_place),
    "array of objects": (lambda: np.array([0, "a"], dtype=object), in_place),
    "member of an enum": (lambda: Level.FIRST, next_level),
    "objects in a dict": (lambda: {"a": Part()}, in_a_part),
    "namespace in a dict": (lambda: {"a": types.SimpleNamespace(n=0)}, in_a_part),
}

PLACES = """
from torch.utils.data import IterableDataset
class Place(IterableDataset):
    def __iter__(self):
        first = 10 * self.turn()
        return iter(range(first, first + 4))
class Base(Place):
    n = -1
    def turn(self):
        type(self).n += 1
        return self.n
class OfTheSubclass(Base):
    pass
class MadeLater(Place):
    @classmethod
    def bump(cls):
        cls.n = getattr(cls, "n", 0) + 1
        return cls.n
    def turn(self):
        return self.bump()
class Other:
    n = -1
class InAnotherClass(Place):
    def turn(self):
        Other.n += 1
        return Other.n
N = 0
def helper():
    global N
    N += 1
    return N
def further():
    return helper()
class InAGlobalFurtherAway(Place):
    def turn(self):
        return further()
def fn():
    fn.n = getattr(fn, "n", 0) + 1
    return fn.n
class InAFunction(Place):
    def turn(self):
        return fn()
class InADefault(Place):
    def turn(self, seen=[]):
        seen.append(1)
        return len(seen)
class InAProperty(Place):
    @property
    def count(self):
        global N
        N += 1
        return N
    def turn(self):
        return self.count
class Itself(list):
    def __len__(self):
        return 4
    def __iter__(self):
        self.append(1)
        first = 10 * list.__len__(self)
        return iter(range(first, first + 4))
"""


def in_a_new_process(name):
    module = types.ModuleType("a_module_of_somebody")
    exec(PLACES, vars(module))  # noqa: S102  # as a new process would import it
    return getattr(module, name)()


NAMES = [
    "OfTheSubclass", "Base", "MadeLater", "InAnotherClass", "InAGlobalFurtherAway", "InAFunction", "InADefault",
    "InAProperty", "Itself",
]  # fmt: skip


def loader_of(data):
    return DataLoader(data, 2) if isinstance(data, IterableDataset) else data


def require_same(make):
    """Resume between all passes, in a loop of one's own and in an engine."""
    whole = epochs_of(resumable(make), 4)
    assert len({*map(repr, whole)}) == 4
    for done in range(1, 4):
        stopped, resumed = resumable(make), resumable(make)
        epochs_of(stopped, done)
        resumed.load_state_dict(loaded(dumped(stopped.state_dict())))
        assert find_difference(whole[done:], epochs_of(resumed, 4 - done), "") is None
    seen, states, rest = [], [], []
    engine = DeterministicEngine(lambda engine, batch: seen.append(batch))
    engine.add_event_handler(Events.EPOCH_COMPLETED(once=2), lambda: states.append((len(seen), engine.state_dict())))
    engine.run(make(), max_epochs=3, seed=1)
    other = DeterministicEngine(lambda engine, batch: rest.append(batch))
    other.load_state_dict(loaded(dumped(states[0][1])))
    other.run(make())
    assert find_difference(seen[states[0][0] :], rest, "") is None


@pytest.mark.parametrize("name", TYPES)
def test_what_is_remembered_in_any_of_these_types_goes_on(name):
    make, turn = TYPES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error", EngineWarning)
        require_same(lambda: DataLoader(Stream(make(), turn), 2))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_remembered_in_any_of_these_places_goes_on(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error", EngineWarning)
        require_same(lambda: loader_of(in_a_new_process(name)))


def appending_an_object(stream):
    stream.memory.append(object())
    return len(stream.memory)


def changing_a_parameter(stream):
    stream.memory.data += 1
    return stream.memory.sum()


NOT_SAVED = {
    "objects": (list, appending_an_object),
    "parameter": (lambda: torch.nn.Parameter(torch.zeros(1)), changing_a_parameter),
    "too long": (lambda: [0] * 2**21, appending),
}


@pytest.mark.parametrize("name", NOT_SAVED)
def test_what_has_changed_and_cannot_be_saved_is_told_once(name):
    make, turn = NOT_SAVED[name]
    loader = resumable(lambda: DataLoader(Stream(make(), turn), 2))
    loader.state_dict()  # nothing has changed
    epochs_of(loader, 1)
    with pytest.warns(EngineWarning, match="`memory` of .*Stream.* changes while data is drawn, and cannot be saved"):
        loader.state_dict()
    epochs_of(loader, 1)
    loader.state_dict()


def opening(stream):
    stream.memory = iter([stream.memory])
    return 1


def keeping_for_a_pass(stream):
    return 1 + len(stream.memory)


@pytest.mark.parametrize(
    ("make", "turn"),
    [(lambda: None, opening), (lambda: [object()], keeping_for_a_pass), (lambda: itertools.cycle([1]), opening)],
    ids=["opened once", "same number of objects", "iterator"],
)
def test_what_does_not_change_or_what_nobody_can_compare_is_not_told(make, turn):
    loader = resumable(lambda: DataLoader(Stream(make(), turn), 2))
    epochs_of(loader, 2)
    loader.state_dict()


def test_content_of_a_class_of_the_users_that_is_gone_is_told():
    def make(memory):
        return resumable(lambda: DataLoader(Stream(memory, lambda stream: 1), 2))

    stopped = resumable(lambda: DataLoader(Stream(Listed(), appending), 2))
    epochs_of(stopped, 1)
    with pytest.warns(EngineWarning, match="`memory` of .* is not there, or of another type"):
        make(None).load_state_dict(stopped.state_dict())


def test_a_table_of_a_library_is_no_memory_and_its_caches_are_not_told():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": range(6)})
    data = resumable(lambda: DataLoader(Stream(table, lambda stream: stream.memory["a"].sum()), 2))
    for _ in range(2):
        epochs_of(data, 1)
        data.state_dict()


class OfGroups:
    """A sampler of the rows of a table, group by group."""

    def __init__(self):
        pandas = pytest.importorskip("pandas")
        self.groups = pandas.DataFrame({"kind": [0, 1] * 6}).groupby("kind")

    def __len__(self):
        return 12

    def __iter__(self):
        return iter([row for _, rows in self.groups for row in rows.sample(frac=1).index])


def test_the_caches_of_the_groups_of_a_table_are_no_memory():
    assert resume_everywhere(seeding_steps(lambda: DataLoader(range(12), 3, sampler=OfGroups())), epochs=2) > 2
    made = resumable(lambda: OfGroups().groups)
    epochs_of(made, 1)
    made.state_dict()
