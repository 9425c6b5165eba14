"""The BLEU score."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._sharing import reduced
from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric, reinit__is_reduced
from ignite.metrics.nlp.utils import modified_precision

__all__ = ["Bleu"]

SMOOTHINGS = ("no_smooth", "smooth1", "nltk_smooth2", "smooth2")


class Bleu(Metric):
    """BLEU score of hypotheses: geometric mean of the precisions of n-grams, less for short ones.

    `update` takes `(y_pred, y)`: a list of hypotheses, and for each a list of references; all are lists of tokens.

    Args:
        ngram: greatest length of the n-grams.
        smooth: what becomes of n-grams that no reference has: "no_smooth", "smooth1", "nltk_smooth2" or "smooth2".
        output_transform, device: as :class:`Metric` takes them.
        average: "macro", the mean of the hypotheses' scores, or "micro", one score of all.

    Raises:
        ValueError: `ngram` is not positive, or `smooth` or `average` is none of these.

    Sources:
        Papineni et al., BLEU, ACL 2002; Chen and Cherry, A Systematic Comparison of Smoothing Techniques, WMT 2014.

    Examples:
        >>> bleu = Bleu(ngram=2)
        >>> bleu.update(([["a", "b", "c"]], [[["a", "b", "d"]]]))
        >>> round(bleu.compute().item(), 4)
        0.5774
    """

    def __init__(
        self,
        ngram: int = 4,
        smooth: str = "no_smooth",
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        average: str = "macro",
    ) -> None:
        if ngram <= 0:
            raise ValueError(f"`ngram` must be positive, got {ngram!r}")
        if smooth not in SMOOTHINGS:
            raise ValueError(f"`smooth` must be one of {SMOOTHINGS}, got {smooth!r}")
        if average not in ("macro", "micro"):
            raise ValueError(f"`average` must be 'macro' or 'micro', got {average!r}")
        self.ngrams_order = ngram
        self.smooth = smooth
        self.average = average
        super().__init__(output_transform=output_transform, device=device)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self._scores = 0.0
        self._num_sentences = 0
        # Of all hypotheses together: matches and runs for each length, tokens, tokens of the closest references.
        self._counts = torch.zeros(2 * self.ngrams_order + 2, dtype=torch.float64)

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add hypotheses.

        Args:
            output: hypotheses and their references.

        Raises:
            ValueError: a hypothesis has no reference.
        """
        for references, candidate in zip(output[1], output[0], strict=False):
            counts = self._counts_of(references, candidate)
            self._scores += self._score(counts)
            self._counts = self._counts + torch.tensor(counts, dtype=torch.float64)
            self._num_sentences += 1

    def _counts_of(self, references: Sequence[Sequence[Any]], candidate: Sequence[Any]) -> list[int]:
        if not references:
            raise ValueError("each hypothesis must have at least one reference")
        pairs = [modified_precision(references, candidate, n + 1) for n in range(self.ngrams_order)]
        length = len(candidate)
        closest = min((len(reference) for reference in references), key=lambda other: (abs(other - length), other))
        # A hypothesis shorter than a run has none of it; one keeps the quotient defined, as in nltk.
        return [matches for matches, _ in pairs] + [runs for _, runs in pairs] + [length, closest]

    def _score(self, counts: Sequence[float]) -> float:
        order = self.ngrams_order
        matches, runs, (length, closest) = counts[:order], counts[order : 2 * order], counts[2 * order :]
        if matches[0] == 0:
            return 0.0
        precisions = [self._smoothed(*pair, n) for n, pair in enumerate(zip(matches, runs, strict=True))]
        if 0 in precisions:
            return 0.0
        penalty = 1.0 if length >= closest else math.exp(1 - closest / length)
        return penalty * math.exp(math.fsum(math.log(precision) for precision in precisions) / order)

    def _smoothed(self, matches: float, runs: float, n: int) -> float:
        if self.smooth == "smooth2" and n > 0:
            return (matches + 1) / (runs + 1)
        runs = max(1, runs)
        if self.smooth == "nltk_smooth2" and n > 0:
            return (matches + 1) / (runs + 1)
        return (matches or (0.1 if self.smooth == "smooth1" else 0.0)) / runs

    def compute(self) -> torch.Tensor | float:
        """Return the score.

        Returns:
            A tensor of no dimension for "macro", a number for "micro".

        Raises:
            NotComputableError: there is no hypothesis yet, for "macro".
        """
        if self.average == "micro":
            return self._score(reduced(self._counts, "_counts").tolist())
        count = reduced(self._num_sentences, "_num_sentences")
        if count == 0:
            raise NotComputableError("Bleu needs at least one hypothesis before it is computed")
        return torch.tensor(reduced(self._scores, "_scores") / count, dtype=torch.float64)
