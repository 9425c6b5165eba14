from __future__ import annotations

import io
import itertools
import random
import weakref
from collections import deque
from functools import cached_property, lru_cache, partial, partialmethod

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, Sampler

from camshaft.deterministic import ResumableLoader
from camshaft.deterministic._inside import _parts, _read, find_generators, find_loaders, search
from camshaft.deterministic.testing import check_data

GLOBAL_LOADER = DataLoader(range(3))


class Nested(Sampler):
    def __init__(self, inner, generator):
        self.sampler = inner
        self.rng = generator
        self.parts = [RandomSampler(range(3), generator=generator)]


def test_generators_are_found_in_samplers_inside_samplers_and_once_each():
    shared, own = torch.Generator(), np.random.default_rng(1)
    inner = RandomSampler(range(3), generator=shared)
    nested = Nested(BatchSampler(inner, 2, drop_last=False), own)
    nested.also = shared
    assert [own, shared] == find_generators(nested)


def test_a_sampler_that_holds_itself_is_searched_once():
    nested = Nested(None, None)
    nested.sampler = nested
    assert find_generators(nested) == []


class Holder:
    def __init__(self, value):
        self.value = value

    def method(self):
        return self.value


def closing_over(value):
    def function():
        return value

    return function


def of_a_class(attribute):
    return type("Made", (), {"attribute": attribute})()


def naming_a_class(value):
    class Tools:
        rng = value

    return lambda: Tools


HOLDERS = {
    "static method of the class": lambda value: of_a_class(staticmethod(closing_over(value))),
    "static object": lambda value: of_a_class(staticmethod(Holder(value))),
    "cached function": lambda value: of_a_class(staticmethod(lru_cache(closing_over(value)))),
    "class method": lambda value: of_a_class(classmethod(closing_over(value))),
    "property": lambda value: of_a_class(property(closing_over(value))),
    "cached property": lambda value: of_a_class(cached_property(closing_over(value))),
    "partial method": lambda value: of_a_class(partialmethod(print, value)),
    "attribute of the class": of_a_class,
    "list of the class": lambda value: of_a_class([closing_over(value)]),
    "class in a closure": naming_a_class,
    "attribute": Holder,
    "helper": lambda value: Holder(Holder(value)),
    "list": lambda value: Holder([1, value]),
    "dict": lambda value: Holder({"a": {"b": value}}),
    "closure": closing_over,
    "partial": lambda value: partial(print, value),
    "default": lambda value: lambda rng=value: rng,
    "method": lambda value: Holder(value).method,
}


GENERATORS = {"random": random.Random(1), "numpy": np.random.default_rng(1), "torch": torch.Generator()}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("generator", GENERATORS.values(), ids=GENERATORS)
def test_generators_are_found_wherever_an_object_keeps_them(holder, generator):
    assert find_generators(HOLDERS[holder](generator)) == [generator]


def test_the_generators_of_the_process_are_nobodys_own():
    assert find_generators(Holder([torch.default_generator, random.random, np.random])) == []


def test_data_is_not_searched():
    generator = torch.Generator()
    assert find_generators([0] * 1000 + [generator]) == []


def forever(loader):
    while True:
        yield from loader


def begun(generator):
    next(generator)
    return generator


def from_a_global():
    yield from GLOBAL_LOADER


LOADER = DataLoader(range(3))
INSIDE = {
    "generator": lambda: forever(LOADER),
    "begun generator": lambda: begun(forever(LOADER)),
    "chain": lambda: itertools.chain(LOADER, LOADER),
    "cycle": lambda: itertools.cycle(forever(LOADER)),
    "map": lambda: map(str, forever(LOADER)),
    "wrapper": lambda: Holder(LOADER),
}


@pytest.mark.parametrize("name", INSIDE)
def test_loaders_are_found_in_what_iterates_them(name):
    found = find_loaders(INSIDE[name]())
    assert [each for each in found if isinstance(each, DataLoader)] == [LOADER]


def test_an_iterator_over_a_loader_is_found_beside_the_loader():
    _, iterator = find_loaders(begun(forever(LOADER)))
    assert next(iterator) == 1


def test_an_iterator_over_a_loader_is_found_where_the_loader_is_out_of_reach():
    iterator = iter(LOADER)
    assert iterator in find_loaders(map(str, iterator))


def test_a_loader_that_a_generator_names_is_found():
    assert find_loaders(from_a_global()) == [GLOBAL_LOADER]


def test_a_loader_is_not_inside_itself():
    assert find_loaders(LOADER) == []


@pytest.mark.parametrize("kind", [list, tuple, dict, set])
def test_a_container_of_the_users_own_class_is_looked_into_without_being_iterated(kind):
    class Own(kind):
        def __iter__(self):
            raise AssertionError("iterated")

        values = items = keys = __iter__

    generator, other = torch.Generator(), random.Random()
    own = Own({"a": generator} if kind is dict else [generator])
    own.attribute = other
    assert {generator, other} == set(find_generators(Holder(own)))


GLOBAL = random.Random(5)


def draw_globally():
    return GLOBAL.random()


class DrawingGlobally:
    def __getitem__(self, index):
        return draw_globally()


def test_a_global_generator_is_found_through_methods_and_the_functions_they_call():
    assert find_generators(DrawingGlobally()) == [GLOBAL]
    assert find_generators(draw_globally) == [GLOBAL]


def test_the_generator_behind_a_bound_method_is_found():
    rng = random.Random(5)
    assert find_generators(lambda: draw(), [rng.random]) == [rng]  # noqa: F821
    assert find_generators(random.random) == []


def test_a_search_names_what_leads_to_an_object():
    rng = random.Random(5)
    helper = {"of": [rng]}

    def draw():
        return helper

    found = {each.where for each in search(("data", draw)) if each.value is rng}
    assert found == {"test_a_search_names_what_leads_to_an_object.draw().helper['of'][0]"}


def test_what_another_thread_changes_meanwhile_is_read_in_one_go():
    class Queue:
        def __init__(self):
            self.buffer = deque(range(3))
            self.names = {"a": 1}

    queue = Queue()
    change = {
        id(queue.buffer): lambda part: queue.buffer.append(part),
        id(queue.names): lambda part: queue.names.update({len(queue.names): part}),
        id(queue): lambda part: setattr(queue, f"part {len(vars(queue))}", part),
    }
    found = {}
    for value in (queue.buffer, queue.names, queue):
        found[id(value)] = []
        for _, part in _parts(value):
            found[id(value)].append(part)
            change[id(value)](part)
    assert found[id(queue.buffer)] == [0, 1, 2]
    assert found[id(queue.names)] == [1]
    assert found[id(queue)][:2] == [queue.buffer, queue.names]


def test_a_container_that_another_thread_changes_while_it_is_read_is_read_again():
    container, changes = deque([1, 2]), [4, 3]

    def begin():
        items = iter(container)
        if changes:  # between this and the first item, where threads may take turns
            container.append(changes.pop())
        return items

    assert [1, 2, 3, 4] == _read(begin)


class Refusing:
    """Raises when it is asked for anything, its class included, as a proxy of what is gone does."""

    def __getattribute__(self, name):
        raise ReferenceError(name)


def gone():
    return weakref.proxy(Holder(None))


class Holding(Dataset):
    def __init__(self, value):
        self.value, self.values, self.count = value, [value], 0

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index >= 6:
            raise IndexError
        return index + random.random()


class Iterated(Holding):
    __getitem__ = None

    def __iter__(self):
        self.count += 1
        return iter(range(6))


CLOSED = {
    "raising": lambda: Holding(Refusing()),
    "gone": lambda: Holding(gone()),
    "in a loader": lambda: DataLoader(Holding(Refusing()), 2, shuffle=True),
    "in what is drawn again": lambda: Iterated(Refusing()),
    "in a sampler": lambda: DataLoader(range(6), 2, sampler=Iterated(gone())),
}


@pytest.mark.parametrize("name", CLOSED)
def test_what_does_not_let_itself_be_looked_at_is_left_alone(name):
    check_data(CLOSED[name], max_epochs=2)
    made, again = (ResumableLoader(CLOSED[name](), seed=3) for _ in range(2))
    list(made)
    again.load_state_dict(made.state_dict())
    assert [str(batch) for batch in again] == [str(batch) for batch in made]


def archive():
    file = io.BytesIO()
    np.savez(file, one=np.arange(3), two=np.arange(4))
    file.seek(0)
    return np.load(file)


def test_an_archive_of_numpy_is_data_like_any_mapping():
    check_data(archive, max_epochs=2)


def test_generators_beside_what_refuses_are_found():
    generator = random.Random(1)
    assert find_generators(Holder([Refusing(), gone(), generator])) == [generator]
