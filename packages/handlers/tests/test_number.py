from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from camshaft.handlers._number import is_number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, True),
        (3.0, True),
        (Fraction(1, 2), True),
        (float("nan"), True),
        (True, False),
        (None, False),
        ("3", False),
        (3j, False),
        (Decimal(3), False),
        ([3], False),
    ],
    ids=repr,
)
def test_numbers_are_distinguished_from_everything_else(value, number):
    assert is_number(value) == number


def test_numbers_of_numpy_count():
    np = pytest.importorskip("numpy")

    assert is_number(np.int64(3))
    assert is_number(np.float32(3))
    assert not is_number(np.bool_(True))
