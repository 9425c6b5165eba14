"""Counting in sequences of tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

__all__ = ["lcs", "modified_precision", "ngrams"]


def ngrams(sequence: Sequence[Any], n: int) -> Counter[tuple[Any, ...]]:
    """Count the runs of n tokens.

    Args:
        sequence: the tokens.
        n: length of a run.

    Returns:
        How often each run occurs.

    Examples:
        >>> ngrams("abab", 2)
        Counter({('a', 'b'): 2, ('b', 'a'): 1})
    """
    return Counter(tuple(sequence[start : start + n]) for start in range(len(sequence) - n + 1))


def lcs(seq_a: Sequence[Any], seq_b: Sequence[Any]) -> int:
    """Return the length of the longest common subsequence.

    Args:
        seq_a, seq_b: the tokens.

    Returns:
        How many tokens both have in one order.

    Examples:
        >>> lcs("abcd", "axcd")
        3
    """
    lengths = [0] * (len(seq_b) + 1)
    for token in seq_a:
        diagonal = 0
        for place, other in enumerate(seq_b, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if token == other else max(above, lengths[place - 1])
            diagonal = above
    return lengths[-1]


def modified_precision(references: Sequence[Sequence[Any]], candidate: Any, n: int) -> tuple[int, int]:
    """Return how many runs of n tokens of a candidate are in a reference, and how many it has.

    A run counts at most as often as it occurs in one of the references.

    Args:
        references: sequences of tokens.
        candidate: a sequence of tokens.
        n: length of a run.

    Returns:
        Both numbers.

    Examples:
        >>> modified_precision(["ab", "aa"], "aaa", 1)
        (2, 3)
    """
    allowed: Counter[tuple[Any, ...]] = Counter()
    for reference in references:
        allowed |= ngrams(reference, n)
    counts = ngrams(candidate, n)
    return sum((counts & allowed).values()), counts.total()
