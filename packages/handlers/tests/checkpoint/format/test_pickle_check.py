from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camshaft.handlers.checkpoint._errors import CheckpointDamagedError, CheckpointUnsafeError
from camshaft.handlers.checkpoint.format._pickle_check import require_bounded_memory

BYTEARRAY = b"c__builtin__\nbytearray\n"
HUGE = b"\x8a\x06\0\0\0\0\0\x01"
MANY = b"J\xff\xff\xff\x7f"
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.binary(max_size=5), st.builds(bytearray)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(st.text(), inner)),
    max_leaves=12,
)


@given(values)
def test_honest_bytearrays_pass(value: Any) -> None:
    pickled = pickle.dumps({"state": [bytearray(b"few"), bytearray(), value]}, protocol=2)

    assert require_bounded_memory(pickled) is None


@pytest.mark.parametrize(
    "pickled",
    [
        BYTEARRAY + MANY + b"\x85R.",
        BYTEARRAY + HUGE + b"\x85R.",
        b"cbuiltins\nbytearray\n" + MANY + b"\x85R.",
        BYTEARRAY + MANY + b"\x85\x81.",
        BYTEARRAY + b"(" + MANY + b"tR.",
        BYTEARRAY + b"]" + MANY + b"aR.",
        BYTEARRAY + b"q\0" + b"0h\0" + MANY + b"\x85R.",
        BYTEARRAY + b"X\x01\0\0\0a" + MANY + b"\x86R.",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(" + BYTEARRAY + BYTEARRAY + MANY + b"\x85NtR.",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(" + BYTEARRAY + b"q\1" + b"h\1" + MANY + b"\x85NtR.",
        b"X\x12\0\0\0builtins bytearray0" + BYTEARRAY + b"ctorch\nSize\n)R\x85R.",
    ],
)
def test_bytearrays_of_any_length_are_refused(pickled: bytes) -> None:
    with pytest.raises(CheckpointUnsafeError, match="bytearray"):
        require_bounded_memory(b"\x80\x02" + pickled)


@pytest.mark.parametrize("name", ["_rebuild_device_tensor_from_cpu_tensor", "_rebuild_device_tensor_from_numpy"])
def test_copiers_of_tensors_are_refused(name: str) -> None:
    with pytest.raises(CheckpointUnsafeError, match=name):
        require_bounded_memory(b"\x80\x02ctorch._utils\n" + name.encode() + b"\n.")


@pytest.mark.parametrize("rest", [b"", b"R.", b"h\x07.", b"\xff", b"t."])
def test_garbled_pickles_are_refused(rest: bytes) -> None:
    with pytest.raises(CheckpointDamagedError):
        require_bounded_memory(b"\x80\x02" + BYTEARRAY + rest)
