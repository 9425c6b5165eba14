"""Metrics in two processes with gloo, which find each other as under torchrun: `programs/metric_ranks.py`."""

import json
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "metric_ranks.py"


@pytest.fixture(scope="module")
def answers(tmp_path_factory, warm_python):
    folder = tmp_path_factory.mktemp("ranks")
    for done in warm_python.run_ranks(2, PROGRAM, folder):
        assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_halves_of_the_batches_give_what_one_process_computes_of_all(answers):
    assert [{}, {}] == [each["different"] for each in answers]
    assert all(each["compared"] > 200 for each in answers)


def test_a_metric_of_ones_own_is_reduced_anew_at_each_computation(answers):
    both = [[8.0, 4, 1.0, 3.0], [8.0, 4, 1.0, 3.0], [28.0, 6, 1.0, 10.0]]
    assert [[*both, 13.0], [*both, 15.0]] == [each["own metric"] for each in answers]


def test_a_process_without_samples_has_the_result_of_the_others(answers):
    two_classes = {"tensor": "float64", "shape": [2], "values": [0.0, 1.0]}
    of_class_1 = {"tensor": "float64", "shape": [], "values": [1.0]}
    expected = [2 / 3, of_class_1, two_classes, pytest.approx(1 / 3), 1]
    assert [expected, expected] == [each["one without samples"]["computed"] for each in answers]


def test_without_any_sample_all_processes_refuse(answers):
    expected = ["NotComputableError"] * 5
    assert [expected, expected] == [each["one without samples"]["empty"] for each in answers]


def test_a_running_average_is_one_of_the_mean_over_the_processes(answers):
    assert [2.5, 2.5] == [each["running average"] for each in answers]


def test_a_state_has_all_processes_and_each_goes_on_with_its_own(answers):
    assert [[[1, 2], 1], [[1, 2], 2]] == [each["states"] for each in answers]


def test_what_cannot_be_reduced_is_refused(answers):
    assert [["ValueError", "ValueError", "TypeError"]] * 2 == [each["refused"] for each in answers]
