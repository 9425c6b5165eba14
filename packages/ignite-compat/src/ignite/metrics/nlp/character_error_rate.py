"""The character error rate."""

from __future__ import annotations

from typing import Any

from ignite.exceptions import NotComputableError
from ignite.metrics._sharing import reduced
from ignite.metrics.metric import Metric, reinit__is_reduced

__all__ = ["CharacterErrorRate"]


class CharacterErrorRate(Metric):
    """Characters to replace, remove and insert, over the characters of the references.

    `update` takes `(y_pred, y)`: two strings, or two lists of strings.

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> rate = CharacterErrorRate()
        >>> rate.update((["hallo"], ["hello"]))
        >>> rate.compute()
        0.2
    """

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self._num_errors = 0
        self._num_characters = 0

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add texts.

        Args:
            output: texts and references.

        Raises:
            TypeError: there is something else than strings.
            ValueError: the numbers of texts differ.
        """
        texts, references = ([each] if isinstance(each, str) else each for each in output)
        for each in (texts, references):
            if not isinstance(each, list | tuple) or not all(isinstance(text, str) for text in each):
                raise TypeError(f"`y_pred` and `y` must be strings or lists of strings, got {each!r}")
        if len(texts) != len(references):
            raise ValueError(f"`y_pred` and `y` must be of one length, got {len(texts)} and {len(references)}")
        self._num_errors += sum(map(distance, texts, references))
        self._num_characters += sum(map(len, references))

    def compute(self) -> float:
        """Return the rate.

        Returns:
            The rate; 0 for no errors.

        Raises:
            NotComputableError: there is no character yet.
        """
        errors, count = reduced(self._num_errors, "_num_errors"), reduced(self._num_characters, "_num_characters")
        if count == 0 and errors == 0:
            raise NotComputableError("CharacterErrorRate needs at least one character before it is computed")
        return float(errors / max(count, 1))


def distance(text: str, reference: str) -> int:
    """Return how many characters of a text are to be replaced, removed or inserted.

    Args:
        text: the text.
        reference: what it should be.

    Returns:
        The least number of changes.

    Examples:
        >>> distance("kitten", "sitting")
        3
    """
    row = list(range(len(reference) + 1))
    for place, character in enumerate(text, start=1):
        diagonal, row[0] = row[0], place
        for column, other in enumerate(reference, start=1):
            changed = diagonal + (character != other)
            diagonal = row[column]
            row[column] = min(changed, diagonal + 1, row[column - 1] + 1)
    return row[-1]
