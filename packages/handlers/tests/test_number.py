from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from camshaft.handlers._number import is_integer, is_number


@pytest.mark.parametrize(
    ("value", "integer", "number"),
    [
        (3, True, True),
        (3.0, False, True),
        (Fraction(1, 2), False, True),
        (float("nan"), False, True),
        (True, False, False),
        (None, False, False),
        ("3", False, False),
        (3j, False, False),
        (Decimal(3), False, False),
        ([3], False, False),
    ],
    ids=repr,
)
def test_numbers_are_told_from_everything_else(value, integer, number):
    assert (is_integer(value), is_number(value)) == (integer, number)


def test_numbers_of_numpy_count():
    np = pytest.importorskip("numpy")

    assert is_integer(np.int64(3))
    assert is_number(np.float32(3))
    assert not is_number(np.bool_(True))
