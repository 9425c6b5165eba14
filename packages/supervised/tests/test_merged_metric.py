from __future__ import annotations

import pytest
import torch

from camshaft.engine import Engine, StateDictError, use_ranks
from camshaft.supervised import attach_metrics

torchmetrics = pytest.importorskip("torchmetrics")


class Ranks:
    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    def exchange(self, what, value):
        return [value] * self.size


@pytest.fixture(autouse=True)
def alone_again():
    yield
    use_ranks(None)


def attached(metric):
    engine = Engine(lambda engine, batch: batch)
    attach_metrics(engine, {"metric": metric})
    return engine


def states(make, *batches):
    found = []
    for batch in batches:
        metric = make()
        metric.persistent(True)
        metric.update(torch.tensor(batch))
        found.append({"updated": True, "metric": metric.state_dict()})
    return found


def merged_on(rank, size, make, *batches):
    use_ranks(Ranks(rank, size))
    engine = attached(make())
    each = engine.stateful["metric:metric"]
    each.load_state_dict(each.merge_state_dicts(states(make, *batches)))
    each.compute(engine)
    return engine.state.metrics["metric"]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (torchmetrics.MeanMetric, 3.0),
        (torchmetrics.SumMetric, 9.0),
        (torchmetrics.MaxMetric, 6.0),
        (torchmetrics.MinMetric, 1.0),
        (lambda: torchmetrics.MetricCollection({"sum": torchmetrics.SumMetric()}), {"sum": 9.0}),
    ],
    ids=["mean", "sum", "max", "min", "collection"],
)
def test_one_process_goes_on_with_what_all_have_accumulated(make, expected):
    assert merged_on(0, 1, make, [1.0, 2.0], [6.0]) == expected


def test_lists_are_joined():
    assert [1.0, 2.0, 6.0] == merged_on(0, 1, torchmetrics.CatMetric, [1.0, 2.0], [6.0]).tolist()


def test_only_rank_0_goes_on_with_it():
    values = [merged_on(rank, 4, torchmetrics.SumMetric, [1.0, 2.0], [6.0]) for rank in range(4)]
    assert values == [9.0, 0.0, 0.0, 0.0]


def test_an_entry_without_a_reduction_is_refused_by_name():
    class Last(torchmetrics.Metric):
        def __init__(self):
            super().__init__()
            self.add_state("last", torch.zeros(2), dist_reduce_fx=None)

        def update(self, value):
            self.last = value

        def compute(self):
            return self.last

    with pytest.raises(StateDictError, match="the state of 'metric' was saved by 2 processes, and its entry 'last'"):
        attached(Last()).stateful["metric:metric"].merge_state_dicts(states(Last, [1.0, 2.0], [3.0, 4.0]))


def test_a_metric_that_is_no_module_is_refused_by_name():
    class Total:
        value = 0

        def update(self, value):
            self.value += value

        def compute(self):
            return self.value

        def reset(self):
            self.value = 0

        def state_dict(self):
            return {"value": self.value}

        def load_state_dict(self, state):
            self.value = state["value"]

    with pytest.raises(StateDictError, match="'metric' was saved by 2 processes"):
        attached(Total()).stateful["metric:metric"].merge_state_dicts([{"updated": True, "metric": {"value": 1}}] * 2)
