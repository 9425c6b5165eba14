"""The ROUGE scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._sharing import reduced
from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric, reinit__is_reduced
from ignite.metrics.nlp.utils import lcs, ngrams

__all__ = ["Rouge", "RougeL", "RougeN"]


class Score(NamedTuple):
    """How much a candidate and a reference have in common.

    Attributes:
        match: how much both have.
        candidate: how much the candidate has.
        reference: how much the reference has.
    """

    match: int
    candidate: int
    reference: int

    def precision(self) -> float:
        """Return the share of the candidate that the reference has."""
        return self.match / self.candidate if self.candidate else 0.0

    def recall(self) -> float:
        """Return the share of the reference that the candidate has."""
        return self.match / self.reference if self.reference else 0.0


def compute_ngram_scores(candidate: Sequence[Any], reference: Sequence[Any], n: int = 4) -> Score:
    """Return how many n-grams a candidate and a reference have in common.

    Args:
        candidate, reference: the tokens.
        n: length of an n-gram.

    Returns:
        The score.
    """
    ours, theirs = ngrams(candidate, n), ngrams(reference, n)
    return Score((ours & theirs).total(), ours.total(), theirs.total())


def compute_lcs_scores(candidate: Sequence[Any], reference: Sequence[Any]) -> Score:
    """Return how long the longest common subsequence of a candidate and a reference is.

    Args:
        candidate, reference: the tokens.

    Returns:
        The score.
    """
    return Score(lcs(candidate, reference), len(candidate), len(reference))


class RougeMetric(Metric):
    """Base of ROUGE scores: means over candidates of precision, recall and F score.

    Args:
        multiref: what becomes of several references.
        alpha: weight of precision in the F score.
        output_transform, device: as :class:`Metric` takes them.
    """

    _state_dict_all_req_keys = ("_recall", "_precision", "_fmeasure", "_num_examples")

    def __init__(
        self,
        multiref: str = "average",
        alpha: float = 0,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
    ) -> None:
        if multiref not in ("best", "average"):
            raise ValueError(f"`multiref` must be 'best' or 'average', got {multiref!r}")
        if not 0 <= alpha <= 1:
            raise ValueError(f"`alpha` must be from 0 to 1, got {alpha!r}")
        self._multiref = multiref
        self._alpha = alpha
        super().__init__(output_transform=output_transform, device=device)

    @abstractmethod
    def _compute_score(self, candidate: Sequence[Any], reference: Sequence[Any]) -> Score:
        """Return how much a candidate and a reference have in common."""

    @property
    @abstractmethod
    def _metric_name(self) -> str:
        """Return the beginning of the results' names."""

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self._recall = self._precision = self._fmeasure = 0.0
        self._num_examples = 0

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add candidates.

        Args:
            output: candidates and their references.
        """
        for candidate, references in zip(*output, strict=False):
            scores = [self._compute_score(candidate, reference) for reference in references]
            # The average of several references is what the candidate has in common with all of them together.
            score = (
                max(scores, key=Score.recall)
                if self._multiref == "best"
                else Score(*map(sum, zip(*scores, strict=True)))
            )
            self._precision += score.precision()
            self._recall += score.recall()
            self._fmeasure += self._f_score(score.precision(), score.recall())
            self._num_examples += 1

    def _f_score(self, precision: float, recall: float) -> float:
        weighted = (1 - self._alpha) * precision + self._alpha * recall
        return precision * recall / weighted if weighted else 0.0

    def compute(self) -> dict[str, float]:
        """Return the means.

        Returns:
            Precision, recall and F score by their names.

        Raises:
            NotComputableError: there is no candidate yet.
        """
        count = reduced(self._num_examples, "_num_examples")
        if count == 0:
            raise NotComputableError("Rouge needs at least one candidate before it is computed")
        sums = {"P": self._precision, "R": self._recall, "F": self._fmeasure}
        return {f"{self._metric_name}-{name}": float(reduced(total, name) / count) for name, total in sums.items()}


class RougeN(RougeMetric):
    """ROUGE-N: what n-grams candidates and references have in common.

    `update` takes `(y_pred, y)`: a list of candidates, and for each a list of references; all are lists of tokens.

    Args:
        ngram: length of the n-grams.
        multiref: what becomes of several references: "average" for all of them together, or the "best".
        alpha: weight of precision in the F score, 0 for recall alone.
        output_transform, device: as :class:`Metric` takes them.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> rouge = RougeN(ngram=2)
        >>> rouge.update(([["a", "b", "c"]], [[["a", "b", "d", "e", "f"]]]))
        >>> rouge.compute()
        {'Rouge-2-P': 0.5, 'Rouge-2-R': 0.25, 'Rouge-2-F': 0.25}
    """

    def __init__(
        self,
        ngram: int = 4,
        multiref: str = "average",
        alpha: float = 0,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
    ) -> None:
        if ngram < 1:
            raise ValueError(f"`ngram` must be positive, got {ngram!r}")
        self._ngram = ngram
        super().__init__(multiref, alpha, output_transform=output_transform, device=device)

    def _compute_score(self, candidate: Sequence[Any], reference: Sequence[Any]) -> Score:
        return compute_ngram_scores(candidate, reference, n=self._ngram)

    @property
    def _metric_name(self) -> str:
        return f"Rouge-{self._ngram}"


class RougeL(RougeMetric):
    """ROUGE-L: how long the longest common subsequence of candidates and references is.

    `update` takes `(y_pred, y)`: a list of candidates, and for each a list of references; all are lists of tokens.

    Args:
        multiref: what becomes of several references: "average" for all of them together, or the "best".
        alpha: weight of precision in the F score, 0 for recall alone.
        output_transform, device: as :class:`Metric` takes them.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> rouge = RougeL()
        >>> rouge.update(([["a", "b", "c", "d"]], [[["a", "c"]]]))
        >>> rouge.compute()
        {'Rouge-L-P': 0.5, 'Rouge-L-R': 1.0, 'Rouge-L-F': 1.0}
    """

    def _compute_score(self, candidate: Sequence[Any], reference: Sequence[Any]) -> Score:
        return compute_lcs_scores(candidate, reference)

    @property
    def _metric_name(self) -> str:
        return "Rouge-L"


class Rouge(Metric):
    """Several ROUGE scores at once.

    `update` takes `(y_pred, y)`: a list of candidates, and for each a list of references; all are lists of tokens.

    Args:
        variants: lengths of n-grams, and "L" for the longest common subsequence; None for 1, 2, 4 and "L".
        multiref: what becomes of several references: "average" for all of them together, or the "best".
        alpha: weight of precision in the F score, 0 for recall alone.
        output_transform, device: as :class:`Metric` takes them.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> rouge = Rouge(variants=["L"])
        >>> rouge.update(([["a", "b", "c", "d"]], [[["a", "c"]]]))
        >>> rouge.compute()
        {'Rouge-L-P': 0.5, 'Rouge-L-R': 1.0, 'Rouge-L-F': 1.0}
    """

    _state_dict_all_req_keys = ("internal_metrics",)

    def __init__(
        self,
        variants: Sequence[str | int] | None = None,
        multiref: str = "average",
        alpha: float = 0,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
    ) -> None:
        self.internal_metrics: list[RougeMetric] = []
        for variant in variants or (1, 2, 4, "L"):
            if isinstance(variant, int):
                self.internal_metrics.append(RougeN(variant, multiref, alpha, device=device))
            elif variant == "L":
                self.internal_metrics.append(RougeL(multiref, alpha, device=device))
            else:
                raise ValueError(f"`variants` must hold 'L' and positive integers, got {variant!r}")
        super().__init__(output_transform=output_transform, device=device)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        for metric in self.internal_metrics:
            metric.reset()

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add candidates.

        Args:
            output: candidates and their references.
        """
        for metric in self.internal_metrics:
            metric.update(output)

    def compute(self) -> dict[str, float]:
        """Return the scores.

        Returns:
            Precisions, recalls and F scores by their names.

        Raises:
            NotComputableError: there is no candidate yet.
        """
        return {name: value for metric in self.internal_metrics for name, value in metric.compute().items()}
