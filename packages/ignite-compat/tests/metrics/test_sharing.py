"""The decorators in one process; `test_two_processes.py` has them in two."""

import pytest
import torch

from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce


class Mean(Metric):
    @reinit__is_reduced
    def reset(self):
        self._sum, self._n = torch.tensor(0.0), 0

    @reinit__is_reduced
    def update(self, output):
        self._sum, self._n = self._sum + output.sum(), self._n + len(output)

    @sync_all_reduce("_sum", "_n:SUM")
    def compute(self):
        return (self._sum / self._n).item()


def test_a_single_process_computes_of_its_own():
    mean = Mean()
    mean.update(torch.tensor([1.0, 2.0]))
    mean.update(torch.tensor([6.0]))
    assert [3.0, 3.0] == [mean.compute(), mean.compute()]


def test_methods_keep_their_names_and_documentation():
    assert ("update", "compute") == (Mean.update.__name__, Mean.compute.__name__)


def test_updates_and_resets_mark_what_was_reduced_as_out_of_date():
    mean = Mean()
    for change in (mean.reset, lambda: mean.update(torch.tensor([1.0]))):
        mean._is_reduced = True
        change()
        assert not mean._is_reduced


def test_updates_forget_a_result_that_was_kept():
    mean = Mean()
    mean._result = 5.0
    mean.update(torch.tensor([1.0]))
    assert mean._result is None


def test_only_methods_of_metrics_are_reduced():
    class NoMetric:
        @sync_all_reduce("value")
        def compute(self):
            return 1

    with pytest.raises(RuntimeError, match="must decorate a method of a Metric"):
        NoMetric().compute()
