"""Which classes a pickle names, compared with what pickletools reads in it."""

from __future__ import annotations

import collections
import copyreg
import datetime as dt
import decimal
import fractions
import pickle
import pickletools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camshaft.handlers.checkpoint.format._pickle_names import names_in_pickle

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**2100), 2**2100), st.floats(), st.text(max_size=300),
    st.binary(max_size=300), st.fractions(), st.decimals(), st.dates(), st.sampled_from([len, dict, pickle.loads]),
)  # fmt: skip
payloads = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(inner, inner),
        st.dictionaries(st.text(), inner).map(collections.OrderedDict), st.binary(max_size=300).map(bytearray),
        st.sets(st.integers()),
    ),
    max_leaves=20,
)  # fmt: skip


CARRIED_OUT = {
    "PROTO", "STOP", "GLOBAL", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "BINFLOAT", "LONG1",
    "BINUNICODE", "BINPERSID", "MARK", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND",
    "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS", "NEWOBJ", "REDUCE", "BUILD", "BINGET", "LONG_BINGET", "BINPUT",
    "LONG_BINPUT",
}  # fmt: skip


def names_by_pickletools(pickled):
    operations = [(operation.name, argument) for operation, argument, _ in pickletools.genops(pickled)]
    if not {name for name, _ in operations} <= CARRIED_OUT:
        return None
    return {tuple(argument.split(" ")) for name, argument in operations if name == "GLOBAL"}


@given(payload=payloads, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_it_finds_what_pickletools_finds(payload, protocol):
    pickled = pickle.dumps(payload, protocol)

    assert names_in_pickle(pickled) == names_by_pickletools(pickled)


@given(payload=payloads, protocol=st.integers(0, 2), data=st.data())
def test_a_pickle_that_is_cut_short_tells_nothing(payload, protocol, data):
    pickled = pickle.dumps(payload, protocol)
    left = data.draw(st.integers(0, len(pickled) - 1))

    assert names_in_pickle(pickled[:left]) is None


@given(pickled=st.binary())
def test_any_bytes_are_read_to_an_end(pickled):
    names = names_in_pickle(pickled)

    assert names is None or isinstance(names, set)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 255, 256, 70_000])
def test_what_looks_like_a_name_in_a_text_is_none(size):
    text = "cos\nsystem\n".rjust(size, "c")

    assert names_in_pickle(pickle.dumps([text, text.encode(), fractions.Fraction()], 2)) == names_by_pickletools(
        pickle.dumps([text, text.encode(), fractions.Fraction()], 2)
    )


def test_a_class_in_the_registry_of_the_process_cannot_be_told():
    copyreg.add_extension("decimal", "Decimal", 240)
    try:
        pickled = pickle.dumps(decimal.Decimal, 2)
    finally:
        copyreg.remove_extension("decimal", "Decimal", 240)

    assert names_in_pickle(pickled) is None


def test_a_class_at_the_end_of_a_long_pickle_is_found():
    pickled = pickle.dumps([*range(300_000), dt.date], 2)

    assert names_in_pickle(pickled) == {("datetime", "date")}
