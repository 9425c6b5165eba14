import importlib
import pkgutil

import pytest

from ignite import metrics
from ignite.contrib import metrics as former
from ignite.metrics import regression


def test_the_former_package_has_the_same_metrics():
    assert all(getattr(former, name) is getattr(metrics, name) for name in former.__all__)


@pytest.mark.parametrize("name", [module.name for module in pkgutil.walk_packages(former.__path__, "")])
def test_a_former_module_has_the_same_metrics(name):
    old = importlib.import_module(f"ignite.contrib.metrics.{name}")
    new = importlib.import_module(f"ignite.metrics.{name}")
    assert {each: getattr(new, each) for each in new.__all__} == {each: getattr(old, each) for each in old.__all__}


@pytest.mark.parametrize("name", regression.__all__)
def test_a_metric_of_regression_has_its_former_name(name):
    old = importlib.import_module("ignite.contrib.metrics.regression")
    assert getattr(regression, name) is getattr(old, name)
