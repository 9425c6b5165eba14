import importlib
import pkgutil

import pytest

from ignite import metrics


@pytest.mark.parametrize("name", ["MeanAveragePrecision", "ObjectDetectionAvgPrecisionRecall"])
def test_what_is_not_here_is_refused_with_what_to_use(name):
    with pytest.raises(ImportError, match=f"{name}`; use torchmetrics"):
        getattr(metrics, name)


def test_another_name_is_missing():
    assert not hasattr(metrics, "NoSuchMetric")


@pytest.mark.parametrize("name", [module.name for module in pkgutil.walk_packages(metrics.__path__, "ignite.metrics.")])
def test_a_module_has_the_names_that_it_lists(name):
    module = importlib.import_module(name)
    assert all(hasattr(module, each) for each in getattr(module, "__all__", []))


@pytest.mark.parametrize("name", metrics.__all__)
def test_a_metric_is_documented(name):
    assert getattr(metrics, name).__doc__
