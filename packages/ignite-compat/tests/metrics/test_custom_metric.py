"""A script with a metric of one's own gives what it gives with pytorch-ignite; `programs/custom_metric.py` says how."""

import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_a_script_with_a_metric_of_ones_own_gives_the_results_of_the_reference(tmp_path, warm_python):
    program, found = HERE / "programs" / "custom_metric.py", tmp_path / "found.json"
    done = warm_python.run(program, found)
    assert done.returncode == 0, done.stderr
    expected = json.loads((HERE / "custom_metric.json").read_text())
    assert 4 == len(expected)
    for epoch, result in zip(expected, json.loads(found.read_text()), strict=True):
        assert pytest.approx(epoch, rel=1e-5) == result
