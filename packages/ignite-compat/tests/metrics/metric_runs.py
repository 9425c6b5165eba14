"""Runs of the cases of `metric_cases`: what a metric gives in two epochs, and whether that is what another gave."""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from metric_cases import CASES, Case

from ignite.engine import Engine

# Where the reference adds up in half or single precision, and this package in a higher one: relative tolerances.
ROUNDED = {"halves": 5e-3, "HSIC": 1e-5, "MaximumMean": 1e-5, "PearsonCorrelation": 1e-4, "R2Score": 1e-4}
# What the reference makes of a single sample there is noise of single precision, or an error of another library.
MORE_THAN_ONE = ("R2Score", "KendallRankCorrelation")
# Of the runs' own: an engine's default logger is shared by all engines of the process.
quiet = logging.getLogger(__name__)
quiet.disabled = True

SIZES = ([5, 8, 3], [1], [4, 1, 7, 2], [16])


def tolerance_for(name: str) -> float:
    """Return the tolerance of a case."""
    return max([1e-6] + [value for part, value in ROUNDED.items() if part in name])


def epochs_of(seed: int) -> list[list[int]]:
    """Return the sizes of the batches of two epochs."""
    return [SIZES[(seed + shift) % len(SIZES)] for shift in range(2)]


def defined(name: str, seed: int, outcome: list[Any]) -> list[Any]:
    """Return the results that the reference defines."""
    if not name.startswith(("FID", *MORE_THAN_ONE)):
        return outcome
    return [result for sizes, result in zip(epochs_of(seed), outcome[1:], strict=True) if sum(sizes) > 1]


def run(case: Case, seed: int) -> list[Any]:
    """Return what a metric computes in two epochs of batches of many sizes, and what it refuses."""
    generator = torch.Generator().manual_seed(seed)
    results: list[Any] = [attempt(lambda: case.make().compute())]
    made = attempt(case.make)
    if made.startswith("raises"):
        return [*results, made]
    metric = case.make()
    for batches in epochs_of(seed):
        outputs = [case.output(generator, size) for size in batches]
        results.append(attempt(lambda outputs=outputs: run_epoch(metric, outputs)))
    return results


def run_epoch(metric: Any, outputs: list[Any]) -> Any:
    """Return the result in the engine's state after an epoch."""
    engine = Engine(lambda engine, output: output)
    engine.logger = quiet
    metric.attach(engine, "result")
    found = engine.run(outputs).metrics["result"]
    metric.detach(engine, *(["running_batch_wise"] if type(metric).__name__ == "RunningAverage" else []))
    return found


def attempt(function: Callable[[], Any]) -> Any:
    """Return a result as JSON has it, or the names of the exception's classes that a user may catch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(function())
        except Exception as error:  # noqa: BLE001  # what is raised is the result
            return f"raises {type(error).__name__}"


def plain(value: Any) -> Any:
    """Return a value as JSON has it, with its kind where a test could see it."""
    if isinstance(value, torch.Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return {
            "tensor": kind,
            "shape": list(value.shape),
            "values": [plain(each) for each in value.flatten().tolist()],
        }
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, int | float | str | None) else f"<{type(value).__name__}>"


def same(name: str, seed: int, expected: list[Any]) -> bool:
    """Return whether a case gives what the reference gave."""
    actual = json.loads(json.dumps(run(CASES[name], seed)))
    pairs = zip(defined(name, seed, expected), defined(name, seed, actual), strict=True)
    # scikit-learn refuses targets of which not all classes occur in an epoch.
    refused = "raises ValueError" if name == "AveragePrecision/classes" else None
    return all(before == refused or agree(before, now, tolerance_for(name)) for before, now in pairs)


def agree(expected: Any, actual: Any, tolerance: float = 1e-6) -> bool:
    """Return whether two results are the same: numbers within a relative and absolute tolerance, all else exactly."""
    if type(expected) in (int, float) and isinstance(actual, float):
        return math.isclose(expected, actual, rel_tol=tolerance, abs_tol=tolerance)
    if type(expected) is not type(actual):
        return False
    if isinstance(expected, dict):
        return list(expected) == list(actual) and all(agree(expected[key], actual[key], tolerance) for key in expected)
    if isinstance(expected, list):
        return len(expected) == len(actual) and all(
            agree(*pair, tolerance) for pair in zip(expected, actual, strict=True)
        )
    if isinstance(expected, str) and expected.startswith("{") and actual.startswith("{"):
        return agree(json.loads(expected), json.loads(actual), tolerance)
    return bool(expected == actual)
