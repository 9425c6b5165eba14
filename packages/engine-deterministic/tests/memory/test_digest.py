"""A hash of everything that a value leads to: equal where it stands alike, also in another process."""

from __future__ import annotations

import queue
import random
import threading

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import given

from camshaft.deterministic._memory._digest import digest_of

PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5)
NESTED = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner))


class Holding:
    def __init__(self, content):
        self.content = content
        self.lock = threading.Lock()
        self.itself = self


class SlottedOnly:
    __slots__ = ("content",)

    def __init__(self, content):
        self.content = content


class PickledOddly(Holding):
    def __getstate__(self):
        return {"content": self.content}


class NotToBePickled(Holding):
    def __reduce__(self):
        raise TypeError("not to be pickled")


class Unreadable:
    def __init__(self):
        self.number = 1

    @property
    def __dict__(self):
        raise RuntimeError


def filled(content):
    made = queue.Queue()
    made.put(content)
    return made


def closing_over(content):
    return lambda: content


def stopped(content):
    def give():
        kept = content
        yield 1
        yield kept

    made = give()
    next(made)
    return made


HOLDERS = [Holding, SlottedOnly, PickledOddly, NotToBePickled, filled, closing_over, stopped, lambda each: iter([each])]


@given(NESTED, NESTED, st.sampled_from(HOLDERS))
def test_a_value_is_known_by_its_content_whatever_holds_it(one, other, hold):
    assert digest_of(hold(one)) == digest_of(hold(one))
    assert (digest_of(hold(one)) == digest_of(hold(other))) is (repr(one) == repr(other) or one == other)


def test_an_iterator_is_known_by_its_place():
    first, second = iter([1, 1]), iter([1, 1])
    next(first)
    assert digest_of(first) != digest_of(second)
    next(second)
    assert digest_of(first) == digest_of(second)


def test_the_order_of_a_dict_or_a_set_is_none_of_it():
    assert digest_of({"a": 1, "b": {"c", "d"}}) == digest_of({"b": {"d", "c"}, "a": 1})


def test_what_is_seeded_or_saved_by_others_does_not_count():
    linear = torch.nn.Linear(1, 1)
    parts = Holding([random.Random(1), np.random.default_rng(1), linear, linear.weight])
    before = digest_of(parts)
    for part in parts.content[:2]:
        part.random()
    linear.weight.data += 1
    assert digest_of(parts) == before


def test_objects_that_are_closed_count_by_their_types():
    part = Holding(1)
    whole, closed = [part], frozenset({id(part)})
    before = digest_of(whole, closed)
    part.content = 2
    assert digest_of(whole, closed) == before
    assert digest_of(whole) != digest_of([Holding(1)])


def test_what_cannot_be_read_has_none():
    assert digest_of([Unreadable()]) is None


def test_of_very_many_objects_a_part_is_read():
    many = [Holding(number) for number in range(10_000)]
    before = digest_of(many)
    many.append(Holding(1))
    assert digest_of(many) != before


def test_it_is_the_same_in_every_process():  # of which each orders its sets differently
    parts = SlottedOnly({"abc"[number]: {"x", "y", "z", number} for number in range(3)})
    assert digest_of([parts, frozenset("pqr")]) == "aaa317c864aa9245"
