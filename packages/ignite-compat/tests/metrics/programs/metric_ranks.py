"""What metrics give in several processes, as a JSON file for each rank.

torchrun --nproc_per_node=2 metric_ranks.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))

from metric_cases import CASES
from metric_runs import agree, attempt, run_epoch, tolerance_for

from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from ignite.metrics import Accuracy, EpochMetric, Loss, Metric, Precision, RunningAverage
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce

# These depend on the order of the batches, or on their sizes, which differ between the processes.
IN_ORDER = ("RunningAverage", "VariableAccumulation")
SIZES = (5, 3, 8, 1)


class Own(Metric):
    """A metric as people write them."""

    @reinit__is_reduced
    def reset(self) -> None:
        self._sum, self._n, self._least, self._most = torch.tensor(0.0), 0, float("inf"), 0.0

    @reinit__is_reduced
    def update(self, output: torch.Tensor) -> None:
        self._sum = self._sum + output.sum()
        self._n += len(output)
        self._least, self._most = min(self._least, output.min().item()), max(self._most, output.max().item())

    @sync_all_reduce("_sum", "_n:SUM", "_least:MIN", "_most:MAX")
    def compute(self) -> list[float]:
        return [self._sum.item(), self._n, self._least, self._most]


class Wrong(Own):
    """A metric that reduces what the test says."""

    @sync_all_reduce("_sum:AVERAGE")
    def unknown_operation(self) -> None: ...

    @sync_all_reduce("_missing")
    def missing_attribute(self) -> None: ...

    @sync_all_reduce("text")
    def no_number(self) -> None: ...


def outputs_of(name: str) -> list[Any]:
    """Return the outputs of a case, the same in each process."""
    generator = torch.Generator().manual_seed(7)
    return [CASES[name].output(generator, size) for size in SIZES]


def own_metric(rank: int) -> list[Any]:
    own = Own()
    own.update(torch.tensor([1.0, 2.0]) + rank)
    first, again = own.compute(), own.compute()
    own.update(torch.tensor([10.0]))
    return [first, again, own.compute(), own._sum.item()]


def one_without_samples(rank: int) -> dict[str, Any]:
    """Return what comes out when only rank 0 has samples."""
    found: dict[str, Any] = {}
    output = (torch.tensor([1, 0, 1]), torch.tensor([1, 1, 1]))
    for metric in (
        Accuracy(), Precision(), Precision(average=None), Loss(lambda a, b: (a - b).float().abs().mean()),
        EpochMetric(lambda a, b: int((a != b).sum())),
    ):  # fmt: skip
        found.setdefault("empty", []).append(error_of(metric.compute))
        if rank == 0:
            metric.update(output)
        found.setdefault("computed", []).append(attempt(metric.compute))
    return found


def error_of(function: Any) -> str:
    """Return the name of the error that a call ends with."""
    try:
        function()
    except (NotComputableError, TypeError, ValueError) as error:
        return type(error).__name__
    return "none"


def running_average(rank: int) -> float:
    engine = Engine(lambda engine, batch: batch)
    RunningAverage(output_transform=lambda output: output, alpha=0.5).attach(engine, "average")
    return engine.run([1.0 + rank, 3.0 + rank]).metrics["average"]


def states(rank: int) -> list[Any]:
    """Return what is in the states of all ranks, and what a rank goes on with."""
    accuracy, fresh = Accuracy(), Accuracy()
    accuracy.update((torch.tensor([1] * (rank + 1)), torch.tensor([1] * (rank + 1))))
    state = accuracy.state_dict()
    fresh.load_state_dict(state)
    return [[each["_num_examples"] for each in state["__metric_state_per_rank"]], fresh._num_examples]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    # Every third: of each metric, each kind of output and each average some.
    names = [name for name in CASES if not name.startswith(IN_ORDER)][::3]
    expected = {name: attempt(lambda name=name: run_epoch(CASES[name].make(), outputs_of(name))) for name in names}
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    different = {}
    for name in names:
        if isinstance(expected[name], str) and expected[name].startswith("raises"):
            continue
        found = attempt(lambda name=name: run_epoch(CASES[name].make(), outputs_of(name)[rank::2]))
        if not agree(expected[name], found, tolerance_for(name)):
            different[name] = [str(expected[name])[:200], str(found)[:200]]
    wrong = Wrong()
    wrong.text = "text"
    result = {
        "different": different,
        "compared": len(names),
        "own metric": own_metric(rank),
        "one without samples": one_without_samples(rank),
        "running average": running_average(rank),
        "states": states(rank),
        "refused": [error_of(each) for each in (wrong.unknown_operation, wrong.missing_attribute, wrong.no_number)],
    }
    (folder / f"{rank}.json").write_text(json.dumps(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
