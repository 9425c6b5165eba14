"""Metrics and random inputs for them, and what comes out: the same for every package that is called `ignite`.

`benchmarks/compare_ignite_metrics.py` runs them with both; `reference.json` is what it wrote with pytorch-ignite.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from ignite import metrics
from ignite.metrics import regression

Generator = torch.Generator
Output = Any


class Case(NamedTuple):
    """A metric, and how to make the outputs that it takes in.

    Attributes:
        make: returns a new metric.
        output: makes one output of a generator and a number of samples.
    """

    make: Callable[[], Any]
    output: Callable[[Generator, int], Output]


# ---------------------------------------------------------------------- outputs


def classes(*shape: int, count: int = 4, dtype: torch.dtype = torch.float32) -> Callable[[Generator, int], Output]:
    """Scores of shape (N, count, *shape) and classes."""

    def make(generator: Generator, size: int) -> Output:
        scores = torch.rand(size, count, *shape, generator=generator).to(dtype)
        return scores, torch.randint(count, (size, *shape), generator=generator)

    return make


def binary(*shape: int, dtype: torch.dtype = torch.int64) -> Callable[[Generator, int], Output]:
    """Zeros and ones of one shape (N, *shape)."""

    def make(generator: Generator, size: int) -> Output:
        first, second = (torch.randint(2, (size, *shape), generator=generator).to(dtype) for _ in range(2))
        return first, second

    return make


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[Generator, int], Output]:
    """Random numbers of one shape (N, *shape)."""

    def make(generator: Generator, size: int) -> Output:
        return tuple(torch.rand(size, *shape, generator=generator).to(dtype) for _ in range(2))

    return make


def scored(*shape: int, levels: int = 7) -> Callable[[Generator, int], Output]:
    """Scores with ties, and zeros and ones."""

    def make(generator: Generator, size: int) -> Output:
        scores = torch.randint(levels, (size, *shape), generator=generator) / levels
        return scores, torch.randint(2, (size, *shape), generator=generator)

    return make


def labels(count: int = 4) -> Callable[[Generator, int], Output]:
    """Predicted and true classes of shape (N,)."""

    def make(generator: Generator, size: int) -> Output:
        return tuple(torch.randint(count, (size,), generator=generator) for _ in range(2))

    return make


def lists(inner: Callable[[Generator, int], Output]) -> Callable[[Generator, int], Output]:
    """Make the samples of a batch as lists."""

    def make(generator: Generator, size: int) -> Output:
        return tuple(list(each) for each in inner(generator, size))

    return make


def named(inner: Callable[[Generator, int], Output], **more: Any) -> Callable[[Generator, int], Output]:
    """Make an output that is a mapping."""

    def make(generator: Generator, size: int) -> Output:
        prediction, target = inner(generator, size)
        return {"y": target, "y_pred": prediction, **more}

    return make


def single(*shape: int) -> Callable[[Generator, int], Output]:
    """One tensor of random numbers of the shape; without dimensions a Python number."""

    def make(generator: Generator, size: int) -> Output:
        values = torch.rand(*shape, generator=generator) + 0.1 if shape else torch.rand((), generator=generator) + 0.1
        return values if shape else values.item()

    return make


def sentences(references: int = 2) -> Callable[[Generator, int], Output]:
    """Make candidates and their references, of few words."""

    def tokens(generator: Generator, least: int) -> list[str]:
        length = int(torch.randint(least, 9, (), generator=generator))
        return ["abcd"[index] for index in torch.randint(4, (length,), generator=generator).tolist()]

    def make(generator: Generator, size: int) -> Output:
        candidates = [tokens(generator, 0) for _ in range(size)]
        return candidates, [[tokens(generator, 1) for _ in range(references)] for _ in range(size)]

    return make


def texts() -> Callable[[Generator, int], Output]:
    """Make strings and their references."""

    def make(generator: Generator, size: int) -> Output:
        candidates, references = sentences(1)(generator, size)
        return ["".join(each) for each in candidates], ["".join(each) for (each,) in references]

    return make


# ---------------------------------------------------------------------- metrics

AVERAGES = (None, False, True, "micro", "macro", "weighted", "samples")
CLASSIFIED = {
    "binary": binary(),
    "binary_pixels": binary(3, 2),
    "binary_floats": binary(dtype=torch.float32),
    "binary_column": binary(1),
    "multiclass": classes(),
    "multiclass_doubles": classes(dtype=torch.float64),
    "multiclass_halves": classes(dtype=torch.float16),
    "multiclass_pixels": classes(3, 2),
    "multiclass_of_one": classes(count=1),
    "lists": lists(classes()),
    "mapping": named(classes()),
}
MULTILABEL = {
    "multilabel": binary(5),
    "multilabel_pixels": binary(5, 2, 3),
    "multilabel_floats": binary(5, dtype=torch.float32),
}


def classification() -> Iterator[tuple[str, Case]]:
    """Yield the cases of metrics of classes."""
    for is_multilabel in (False, True):
        for kind, output in (CLASSIFIED | MULTILABEL).items():
            tag = f"{kind}/{is_multilabel}"
            yield f"Accuracy/{tag}", Case(lambda flag=is_multilabel: metrics.Accuracy(is_multilabel=flag), output)
            for average in AVERAGES:
                for name in ("Precision", "Recall"):
                    yield (
                        f"{name}/{tag}/{average}",
                        Case(
                            lambda name=name, flag=is_multilabel, average=average: getattr(metrics, name)(
                                average=average, is_multilabel=flag
                            ),
                            output,
                        ),
                    )


def scores_of_classes() -> Iterator[tuple[str, Case]]:
    """Yield the cases of metrics that are made of precision and recall."""
    for kind in ("binary", "multiclass", "multiclass_pixels"):
        for beta in (0.5, 1.0, 2.0):
            for average in (True, False):
                yield (
                    f"Fbeta/{kind}/{beta}/{average}",
                    Case(lambda beta=beta, average=average: metrics.Fbeta(beta, average=average), CLASSIFIED[kind]),
                )
    for beta in (1, 2):
        for as_dict in (True, False):
            yield (
                f"ClassificationReport/{beta}/{as_dict}",
                Case(lambda beta=beta, as_dict=as_dict: metrics.ClassificationReport(beta, as_dict), classes(2)),
            )
    yield (
        "ClassificationReport/multilabel",
        Case(lambda: metrics.ClassificationReport(output_dict=True, is_multilabel=True), binary(4)),
    )
    for k in (1, 2, 3):
        yield f"TopKCategoricalAccuracy/{k}", Case(lambda k=k: metrics.TopKCategoricalAccuracy(k), classes(count=6))


def matrices() -> Iterator[tuple[str, Case]]:
    """Yield the cases of confusion matrices and what is computed from them."""
    module = sys.modules["ignite.metrics.confusion_matrix"]
    for average in (None, "samples", "recall", "precision"):
        for kind in ("multiclass", "multiclass_pixels", "binary", "lists", "mapping"):
            yield (
                f"ConfusionMatrix/{average}/{kind}",
                Case(lambda average=average: metrics.ConfusionMatrix(4, average=average), CLASSIFIED[kind]),
            )
    for name in ("IoU", "mIoU", "DiceCoefficient", "JaccardIndex"):
        for ignored in (None, 0, 3):
            yield (
                f"{name}/{ignored}",
                Case(
                    lambda name=name, ignored=ignored: getattr(module, name)(metrics.ConfusionMatrix(4), ignored),
                    classes(3, 2),
                ),
            )
    for name in ("cmAccuracy", "cmPrecision", "cmRecall"):
        yield name, Case(lambda name=name: getattr(module, name)(metrics.ConfusionMatrix(4)), classes(3))
    for normalized in (True, False):
        for kind, output in MULTILABEL.items():
            yield (
                f"MultiLabelConfusionMatrix/{normalized}/{kind}",
                Case(lambda normalized=normalized: metrics.MultiLabelConfusionMatrix(5, normalized=normalized), output),
            )


def errors() -> Iterator[tuple[str, Case]]:
    """Yield the cases of errors, distances and divergences."""
    outputs = {
        "numbers": numbers(),
        "rows": numbers(3),
        "images": numbers(3, 4, 4),
        "doubles": numbers(3, dtype=torch.float64),
        "halves": numbers(3, dtype=torch.float16),
        "lists": lists(numbers(3)),
        "mapping": named(numbers(3)),
        "integers": labels(9),
    }
    plain = (
        "MeanSquaredError", "MeanAbsoluteError", "RootMeanSquaredError", "MeanPairwiseDistance", "CosineSimilarity",
        "KLDivergence", "JSDivergence", "Entropy", "MutualInformation", "HSIC", "MaximumMeanDiscrepancy",
    )  # fmt: skip
    for name in plain:
        for kind, output in outputs.items():
            if kind != "halves" or name not in ("HSIC", "MaximumMeanDiscrepancy"):  # the reference overflows or refuses
                yield f"{name}/{kind}", Case(lambda name=name: getattr(metrics, name)(), output)
    for kind, output in outputs.items():
        if kind not in ("numbers", "integers"):  # without a dimension of pixels the reference divides twice
            yield f"PSNR/{kind}", Case(lambda: metrics.PSNR(data_range=1.0), output)
        yield f"Loss/{kind}", Case(lambda: metrics.Loss(torch.nn.functional.mse_loss), output)
    yield "Loss/nll", Case(lambda: metrics.Loss(torch.nn.functional.nll_loss), classes())
    yield (
        "Loss/mapping_with_arguments",
        Case(lambda: metrics.Loss(torch.nn.functional.mse_loss), named(numbers(3), criterion_kwargs={})),
    )
    for options in (
        {}, {"kernel_size": 7}, {"sigma": 0.5}, {"gaussian": False}, {"kernel_size": [3, 5], "sigma": [1.0, 2.0]},
        {"k1": 0.1, "k2": 0.2},
    ):  # fmt: skip
        for kind, output in (("single", numbers(3, 16, 14)), ("double", numbers(1, 13, 16, dtype=torch.float64))):
            yield f"SSIM/{kind}/{options}", Case(lambda options=options: metrics.SSIM(1.0, **options), output)
    yield "SSIM/3d", Case(lambda: metrics.SSIM(1.0, kernel_size=5, ndims=3), numbers(2, 6, 7, 8))


def curves() -> Iterator[tuple[str, Case]]:
    """Yield the cases of metrics over a whole epoch."""
    for name in ("ROC_AUC", "RocCurve", "AveragePrecision", "PrecisionRecallCurve"):
        for kind, output in {
            "scores": scored(), "columns": scored(3), "column": scored(1), "classes": classes(),
            "fine": scored(levels=999), "lists": lists(scored()),
        }.items():  # fmt: skip
            yield f"{name}/{kind}", Case(lambda name=name: getattr(metrics, name)(), output)
    for weights in (None, "linear", "quadratic"):
        for count in (None, 4):
            yield (
                f"CohenKappa/{weights}/{count}",
                Case(
                    lambda weights=weights, count=count: metrics.CohenKappa(weights=weights, num_classes=count),
                    labels(),
                ),
            )
    yield "MatthewsCorrCoef/labels", Case(metrics.MatthewsCorrCoef, labels())
    yield "MatthewsCorrCoef/scores", Case(metrics.MatthewsCorrCoef, classes())
    yield "EpochMetric/rows", Case(lambda: metrics.EpochMetric(lambda a, b: (a - b).abs().max()), numbers(3))


def means() -> Iterator[tuple[str, Case]]:
    """Yield the cases of averages, and of metrics made of metrics."""
    outputs = {
        "number": single(),
        "vector": single(3),
        "rows": single(5, 3),
        "pair": numbers(),
        "images": single(2, 3, 4),
    }
    for name in ("Average", "GeometricAverage"):
        for kind, output in outputs.items():
            yield f"{name}/{kind}", Case(lambda name=name: getattr(metrics, name)(), output)
    for kind, output in outputs.items():
        yield (
            f"VariableAccumulation/{kind}",
            Case(lambda: metrics.VariableAccumulation(lambda total, value: total + value), output),
        )
        for alpha in (0.5, 0.98, 1.0):
            yield (
                f"RunningAverage/{kind}/{alpha}",
                Case(lambda alpha=alpha: metrics.RunningAverage(output_transform=lambda x: x, alpha=alpha), output),
            )
    yield "RunningAverage/Accuracy", Case(lambda: metrics.RunningAverage(metrics.Accuracy()), classes())
    yield (
        "MetricGroup",
        Case(lambda: metrics.MetricGroup({"a": metrics.Accuracy(), "p": metrics.Precision()}), classes()),
    )
    yield "MetricsLambda/f1", Case(_f1, classes())
    yield "MetricsLambda/operators", Case(_operators, classes())


def _f1() -> Any:
    precision, recall = metrics.Precision(average=False), metrics.Recall(average=False)
    return (precision * recall * 2 / (precision + recall + 1e-9)).mean()


def _operators() -> Any:
    accuracy, precision = metrics.Accuracy(), metrics.Precision(average=False)
    return 1 - (2 * accuracy + precision[1:3] ** 2 - 0.5) // 0.1 % 7


def regressions() -> Iterator[tuple[str, Case]]:
    """Yield the cases of regression."""
    for name in sorted(vars(regression)):
        if isinstance(getattr(regression, name), type):
            for kind, output in {
                "numbers": numbers(), "column": numbers(1), "rows": numbers(2), "integers": labels(9),
                "doubles": numbers(dtype=torch.float64), "lists": lists(numbers()),
            }.items():  # fmt: skip
                yield f"{name}/{kind}", Case(getattr(regression, name), output)
    yield (
        "KendallRankCorrelation/c",
        Case(lambda: regression.KendallRankCorrelation(variant="c"), lambda g, n: labels(5)(g, n + 2)),
    )


def of_texts() -> Iterator[tuple[str, Case]]:
    """Yield the cases of texts."""
    for smooth in ("no_smooth", "smooth1", "nltk_smooth2", "smooth2"):
        for average in ("macro", "micro"):
            yield (
                f"Bleu/{smooth}/{average}",
                Case(lambda smooth=smooth, average=average: metrics.Bleu(3, smooth, average=average), sentences()),
            )
    for multiref in ("best", "average"):
        for alpha in (0, 0.3, 1):
            yield (
                f"Rouge/{multiref}/{alpha}",
                Case(lambda multiref=multiref, alpha=alpha: metrics.Rouge(None, multiref, alpha), sentences()),
            )
    yield "CharacterErrorRate", Case(metrics.CharacterErrorRate, texts())
    yield "Perplexity", Case(metrics.Perplexity, classes(5))


def of_images_and_recommendations() -> Iterator[tuple[str, Case]]:
    """Yield the cases of generated images and of recommendations."""
    yield "FID", Case(lambda: metrics.FID(3), lambda g, n: numbers(3)(g, n + 3))
    yield "InceptionScore", Case(lambda: metrics.InceptionScore(3), lambda g, n: numbers(3)(g, n)[0])
    for ignored in (True, False):
        for kind, output in (("binary", scored(6, levels=999)),):
            yield f"HitRate/{ignored}/{kind}", Case(lambda ignored=ignored: metrics.HitRate([1, 3], ignored), output)
            for gain in ("exp_rank", "linear_rank"):
                yield (
                    f"NDCG/{ignored}/{gain}",
                    Case(lambda ignored=ignored, gain=gain: metrics.NDCG([1, 3], ignored, 1.0, gain), output),
                )


CASES = dict(
    pair
    for family in (
        classification,
        scores_of_classes,
        matrices,
        errors,
        curves,
        means,
        regressions,
        of_texts,
        of_images_and_recommendations,
    )
    for pair in family()
)
