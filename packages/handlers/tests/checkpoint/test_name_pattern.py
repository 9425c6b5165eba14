from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camshaft.engine import ArgumentError
from camshaft.handlers.checkpoint._name_pattern import (
    NameParts,
    NamePattern,
    UnknownFieldError,
    number_text,
    setup_filename_pattern,
)

words = st.text(st.characters(categories=["L", "Nd"], include_characters="_-. "), min_size=1, max_size=12)
scores = st.one_of(st.integers(-(10**6), 10**6), st.floats(allow_nan=True, allow_infinity=True))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "{filename_prefix}_{name}_{global_step}_{score_name}={score}.{ext}"),
        ({"with_prefix": False}, "{name}_{global_step}_{score_name}={score}.{ext}"),
        ({"with_prefix": False, "with_score_name": False}, "{name}_{global_step}_{score}.{ext}"),
        ({"with_prefix": False, "with_global_step": False}, "{name}_{score_name}={score}.{ext}"),
        ({"with_score": False, "with_score_name": False}, "{filename_prefix}_{name}_{global_step}.{ext}"),
    ],
)
def test_default_pattern_has_the_parts_asked_for(options: dict[str, bool], expected: str) -> None:
    assert expected == setup_filename_pattern(**options)


def test_default_pattern_needs_a_score_or_a_step() -> None:
    with pytest.raises(ValueError, match="with_global_step"):
        setup_filename_pattern(with_score=False, with_score_name=False, with_global_step=False)


def test_default_pattern_needs_the_score_of_a_score_name() -> None:
    with pytest.raises(ArgumentError, match="with_score"):
        setup_filename_pattern(with_score=False)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (94, "94"),
        (-3, "-3"),
        (0.77, "0.7700"),
        (-0.1234, "-0.1234"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        (1e300, "1.0000e+300"),
        (10**30, "1.0000e+30"),
    ],
)
def test_numbers_are_short_and_have_four_decimals(number: float, expected: str) -> None:
    assert expected == number_text(number)


@given(scores)
def test_no_score_makes_a_name_too_long(score: float) -> None:
    assert len(number_text(score)) < 40


@given(
    name=words,
    prefix=st.one_of(st.just(""), words),
    step=st.integers(0, 10**9),
    score=st.one_of(st.none(), scores),
    score_name=st.one_of(st.none(), words),
)
def test_a_name_made_of_parts_comes_apart_into_the_same(
    name: str, prefix: str, step: int, score: float | None, score_name: str | None
) -> None:
    template = setup_filename_pattern(
        with_prefix=bool(prefix), with_score=score is not None, with_score_name=None not in (score, score_name)
    )
    pattern = NamePattern(template)
    filename = pattern.format(NameParts(name, prefix, step, score, score_name))

    parts = pattern.parse(filename, filename_prefix=prefix, score_name=score_name, name=name)

    assert parts is not None
    assert str(step) == parts["global_step"]
    if score is not None:
        assert number_text(score) == parts["score"]


def test_names_with_another_prefix_or_score_name_are_not_ones_own() -> None:
    pattern = NamePattern("{filename_prefix}_{name}_{score_name}={score}.{ext}")

    assert pattern.parse("best_model_acc=0.5000.pt", filename_prefix="best", score_name="acc") is not None
    assert pattern.parse("other_model_acc=0.5000.pt", filename_prefix="best", score_name="acc") is None
    assert pattern.parse("best_model_loss=0.5000.pt", filename_prefix="best", score_name="acc") is None
    assert pattern.parse("best_model_acc=0.5000.pth", filename_prefix="best", score_name="acc") is None
    assert pattern.parse("best_model_acc=high.pt", filename_prefix="best", score_name="acc") is None


def test_a_field_used_twice_must_be_the_same_twice() -> None:
    pattern = NamePattern("{global_step}-{name}-{global_step}.{ext}")

    assert pattern.parse("5-model-5.pt") is not None
    assert pattern.parse("5-model-6.pt") is None


def test_special_characters_of_a_template_are_taken_literally() -> None:
    pattern = NamePattern("SAVE({name})+{{x}}.{ext}")
    filename = pattern.format(NameParts("model"))

    assert filename == "SAVE(model)+{x}.pt"
    assert pattern.parse(filename) == {"name": "model", "ext": "pt"}


def test_a_format_specification_reaches_the_number() -> None:
    pattern = NamePattern("{name}_{global_step:06d}_{score:.1f}.{ext}")
    filename = pattern.format(NameParts("model", global_step=12, score=0.77))

    assert filename == "model_000012_0.8.pt"
    assert pattern.parse(filename) == {"name": "model", "global_step": "000012", "score": "0.8", "ext": "pt"}


@pytest.mark.parametrize("template", ["{random_step}.pt", "{}.pt", "{0}", "{name.upper}.pt", "{name[0]}.pt"])
def test_an_unknown_field_is_a_key_error_that_names_it(template: str) -> None:
    with pytest.raises(KeyError, match="filename_pattern") as caught:
        NamePattern(template)

    assert isinstance(caught.value, UnknownFieldError)
    assert isinstance(caught.value, ValueError)


def test_a_nested_unknown_field_is_found_when_formatting() -> None:
    with pytest.raises(UnknownFieldError, match="width"):
        NamePattern("{name:{width}}.pt").format(NameParts("model"))


def test_a_broken_template_is_refused() -> None:
    with pytest.raises(ArgumentError, match="filename_pattern"):
        NamePattern("{name")


def test_a_specification_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match="filename_pattern"):
        NamePattern("{name:d}.pt").format(NameParts("model"))
