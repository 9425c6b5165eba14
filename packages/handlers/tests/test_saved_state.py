from __future__ import annotations

import pytest

from camshaft.engine import StateDictError
from camshaft.handlers._saved_state import require_integer, require_keys


def test_the_values_come_in_the_order_that_was_asked_for():
    assert require_keys({"b": 2, "a": 1}, "a", "b") == [1, 2]


@pytest.mark.parametrize("state", [None, [], "ab", {}, {"a": 1}, {"a": 1, "b": 2, "c": 3}])
def test_other_keys_are_refused_with_the_right_ones(state):
    with pytest.raises(StateDictError, match="`state_dict` must have 'a' and 'b', and nothing else, got "):
        require_keys(state, "a", "b")


def test_an_integer_of_any_kind_is_returned_as_an_int():
    numpy = pytest.importorskip("numpy")

    assert require_integer("counter", 3) == 3
    assert type(require_integer("counter", numpy.int64(3))) is int


@pytest.mark.parametrize("value", [-1, 1.0, True, None, "1"])
def test_what_is_no_count_is_refused_by_its_key(value):
    with pytest.raises(StateDictError, match="`counter` must be an integer of at least 0, got "):
        require_integer("counter", value)
