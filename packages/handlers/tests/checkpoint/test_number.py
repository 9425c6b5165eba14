from __future__ import annotations

import decimal
import fractions
import math
from typing import Any

import pytest

from camshaft.engine import ArgumentError
from camshaft.handlers.checkpoint._number import as_score, as_step


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        (0.5, 0.5),
        (True, 1),
        (math.inf, math.inf),
        (decimal.Decimal("0.5"), 0.5),
        (fractions.Fraction(1, 4), 0.25),
        (10**30, 10**30),
    ],
)
def test_real_numbers_of_any_kind_are_scores(value: Any, expected: float) -> None:
    score = as_score(value)

    assert expected == score
    assert type(score) is type(expected)


def test_integers_beyond_all_floats_are_infinite() -> None:
    assert as_score(10**5000) == math.inf
    assert as_score(-(10**5000)) == -math.inf


def test_tensors_and_arrays_with_one_element_are_scores() -> None:
    torch = pytest.importorskip("torch")
    numpy = pytest.importorskip("numpy")
    for value in (
        torch.tensor(0.5),
        torch.tensor([[0.5]], requires_grad=True),
        torch.tensor(0.5, dtype=torch.bfloat16),
        numpy.float32(0.5),
        numpy.float64(0.5),
        numpy.array([0.5]),
    ):
        assert as_score(value) == 0.5
        assert type(as_score(value)) is float
    for value in (torch.tensor(7), numpy.int64(7)):
        assert as_score(value) == 7
        assert type(as_score(value)) is int
    assert as_score(numpy.bool_(True)) == 1
    assert as_score(torch.tensor(True)) == 1
    assert math.isnan(as_score(torch.tensor(math.nan)))


@pytest.mark.parametrize("value", [None, "0.5", b"1", 1j, [0.5], {}, object()])
def test_what_is_no_real_number_is_no_score(value: Any) -> None:
    with pytest.raises(ValueError, match="score_function") as caught:
        as_score(value)

    assert repr(value) in str(caught.value)


def test_tensors_with_several_elements_are_no_score() -> None:
    torch = pytest.importorskip("torch")

    with pytest.raises(ArgumentError, match="score_function"):
        as_score(torch.zeros(2))
    with pytest.raises(ArgumentError, match="score_function"):
        as_score(torch.tensor(1j))


def test_steps_are_finite_numbers() -> None:
    assert as_step(12) == 12
    assert as_step(1.5) == 1.5
    for value in (None, True, "3", math.nan, math.inf):
        with pytest.raises(ArgumentError, match="global_step_transform"):
            as_step(value)


def test_no_kind_of_bool_is_a_step() -> None:
    numpy = pytest.importorskip("numpy")

    for value in (True, numpy.bool_(True)):
        with pytest.raises(ArgumentError, match="global_step_transform"):
            as_step(value)
    assert as_step(numpy.int64(3)) == 3


def test_a_tensor_without_content_is_no_score() -> None:
    torch = pytest.importorskip("torch")
    for dtype in (torch.int64, torch.float32):
        with pytest.raises(ArgumentError, match="must return a real number"):
            as_score(torch.tensor(3, device="meta", dtype=dtype))
