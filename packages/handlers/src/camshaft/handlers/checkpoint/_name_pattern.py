"""Patterns of file names: a name is put together from its parts, and taken apart again."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from camshaft.engine import ArgumentError
from camshaft.handlers.checkpoint.format._file_name import EXTENSION

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = ("filename_prefix", "name", "score", "score_name", "global_step", "ext")
_NUMBER = r"-?(?:\d+(?:\.\d+)?(?:e[+-]\d+)?|inf)|nan"


class UnknownFieldError(ArgumentError, KeyError):
    """A file name pattern uses a field that does not exist."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class NameParts:
    """What a file name is made of.

    Attributes:
        name: Name of the object, or ``"checkpoint"`` for several.
        filename_prefix: Goes first.
        global_step: None when the save has none.
        score: None when the save has none.
        score_name: The name of the score.
        ext: File name extension without the dot.
    """

    name: str
    filename_prefix: str = ""
    global_step: float | None = None
    score: float | None = None
    score_name: str | None = None
    ext: str = EXTENSION


class NamePattern:
    """A `str.format` template of file names, with the fields of `NameParts`.

    Raises:
        UnknownFieldError: the template uses another field.
        ArgumentError: the template is no template.

    Examples:
        >>> pattern = NamePattern("{name}_{global_step}_{score_name}={score}.{ext}")
        >>> parts = NameParts("model", global_step=9, score=0.77, score_name="val_acc")
        >>> pattern.format(parts)
        'model_9_val_acc=0.7700.pt'
        >>> pattern.parse("model_9_val_acc=0.7700.pt", score_name="val_acc")["global_step"]
        '9'
    """

    def __init__(self, template: str) -> None:
        self.template = template
        try:
            self._segments = list(string.Formatter().parse(template))
        except (ValueError, TypeError) as error:
            raise ArgumentError(
                f"`filename_pattern` must be a str.format template, got {template!r}; {error}"
            ) from error
        self.fields = frozenset(field for _, field, _, _ in self._segments if field is not None)
        for field in sorted(self.fields.difference(FIELDS)):
            raise UnknownFieldError(
                f"`filename_pattern` must use the fields {', '.join(FIELDS)} only, got {field!r} in {template!r}"
            )

    def format(self, parts: NameParts) -> str:
        """Return the file name; scores are written with four decimals, integers as they are."""
        values = {
            "filename_prefix": parts.filename_prefix,
            "name": parts.name,
            "score": None if parts.score is None else _NumberText(parts.score),
            "score_name": parts.score_name,
            "global_step": parts.global_step,
            "ext": parts.ext,
        }
        try:
            return self.template.format(**values)
        except LookupError as error:
            raise UnknownFieldError(
                f"`filename_pattern` must use the fields {', '.join(FIELDS)} only, got {self.template!r}; {error!r}"
            ) from error
        except (ValueError, TypeError) as error:
            raise ArgumentError(
                f"`filename_pattern` must fit its values, got {self.template!r} for {parts}; {error}"
            ) from error

    def parse(self, filename: str, **known: str | None) -> Mapping[str, str] | None:
        """Return the parts of a file name, or None if it does not fit the pattern.

        Args:
            filename: The name, without a directory.
            known: Fields that must have this very text; None means any.
        """
        seen: set[str] = set()
        expression = "".join(
            re.escape(literal) + self._field_expression(field, bool(spec or conversion), known, seen)
            for literal, field, spec, conversion in self._segments
        )
        match = re.fullmatch(expression, filename, flags=re.DOTALL)
        return match.groupdict() if match else None

    @staticmethod
    def _field_expression(field: str | None, is_restyled: bool, known: Mapping[str, str | None], seen: set[str]) -> str:
        if field is None:
            return ""
        if field in seen:
            return f"(?P={field})"
        seen.add(field)
        text = known.get(field, EXTENSION if field == "ext" else None)
        if text is not None:
            return f"(?P<{field}>{re.escape(text)})"
        if field in {"score", "global_step"} and not is_restyled:
            return f"(?P<{field}>{_NUMBER})"
        return f"(?P<{field}>.*?)"


class _NumberText(str):
    """The text of a number that a format specification still reaches as a number."""

    __slots__ = ("_number",)
    _number: float

    def __new__(cls, number: float) -> Self:
        text = super().__new__(cls, number_text(number))
        text._number = number
        return text

    def __format__(self, spec: str) -> str:
        return format(self._number, spec) if spec else str(self)


def number_text(number: float) -> str:
    """Return a number as it stands in file names.

    Examples:
        >>> number_text(0.77), number_text(94), number_text(float("nan"))
        ('0.7700', '94', 'nan')
        >>> number_text(-1e300)
        '-1.0000e+300'
    """
    if abs(number) < 10**24 or number != number:  # noqa: PLR0124 - the test for NaN
        return str(number) if isinstance(number, int) else f"{number:.4f}"
    return f"{float(number):.4e}"


def setup_filename_pattern(
    with_prefix: bool = True, with_score: bool = True, with_score_name: bool = True, with_global_step: bool = True
) -> str:
    """Return the pattern of the file names that are used when no `filename_pattern` is given.

    Args:
        with_prefix: Whether names begin with the prefix.
        with_score: Whether names have the score.
        with_score_name: Whether names have what the score is called.
        with_global_step: Whether names have the step.

    Raises:
        ArgumentError: neither score nor step, or a score's name without the score.

    Examples:
        >>> from camshaft.handlers import Checkpoint
        >>> Checkpoint.setup_filename_pattern()
        '{filename_prefix}_{name}_{global_step}_{score_name}={score}.{ext}'
        >>> Checkpoint.setup_filename_pattern(with_prefix=False, with_score=False, with_score_name=False)
        '{name}_{global_step}.{ext}'
    """
    if not (with_score or with_global_step):
        raise ArgumentError(
            f"`with_global_step` must be True when `with_score` is not, got {with_global_step!r}; "
            "without either all names would be the same"
        )
    if with_score_name and not with_score:
        raise ArgumentError(f"`with_score` must be True with `with_score_name`, got {with_score!r}; drop the name too")
    prefix = "{filename_prefix}_" if with_prefix else ""
    step = "_{global_step}" if with_global_step else ""
    score = ("_{score_name}={score}" if with_score_name else "_{score}") if with_score else ""
    return f"{prefix}{{name}}{step}{score}.{{ext}}"
