"""`ignite.distributed` in two processes with gloo: started by `spawn`, by `Parallel` and by torchrun.

The expected values are those of pytorch-ignite 0.5.5 where it has them: `programs/two_processes.py` runs there too.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "two_processes.py"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


def run(folder, way):
    launcher = TORCHRUN if way == "launched" else ()
    done = subprocess.run(
        [sys.executable, *launcher, PROGRAM, folder, way], capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module", params=["parallel", "launched"])
def answers(request, tmp_path_factory):
    return run(tmp_path_factory.mktemp(request.param), request.param)


def test_spawn_starts_the_processes(tmp_path):
    assert [[0, 5, "b"], [1, 5, "b"]] == [each["arguments"] for each in run(tmp_path, "spawn")]


def test_a_function_gets_its_local_rank_and_the_arguments(answers):
    assert [[0, 5, "b"], [1, 5, "b"]] == [each["arguments"] for each in answers]


def test_each_process_knows_its_place(answers):
    common = {
        "get_world_size": 2, "get_nproc_per_node": 2, "get_nnodes": 1, "get_node_rank": 0,
        "backend": "gloo", "model_name": "native-dist", "device": "cpu",
    }  # fmt: skip
    for rank, each in enumerate(answers):
        assert common | {"get_rank": rank, "get_local_rank": rank} == each["place"]


def test_values_are_reduced(answers):
    expected = {
        "int": 3, "float": 0.2, "tensor": {"tensor": [1, 3, 5]}, "overwritten": {"tensor": [1, 3, 5]},
        "SUM": {"tensor": 5.0}, "PRODUCT": {"tensor": 6.0}, "MIN": {"tensor": 2.0}, "MAX": {"tensor": 3.0},
        "AND": {"tensor": [False, True]}, "OR": {"tensor": [True, True]},
        "unknown operation": "ValueError", "string": "TypeError",
    }  # fmt: skip
    assert [expected, expected] == [each["reduced"] for each in answers]


def test_values_are_gathered(answers):
    expected = {
        "int": [1, 2], "scalar": {"tensor": [0, 1]}, "vector": {"tensor": [0, 1, 1, 2]}, "shape": [4, 3],
        "string": ["ab", "abab"], "mapping": [{"rank": 0}, {"rank": 1}], "shapes": [[1, 2], [2, 3]],
    }  # fmt: skip
    assert [expected, expected] == [each["gathered"] for each in answers]


def test_values_are_broadcast(answers):
    expected = {
        "int": 4, "float": 4.5, "string": "hello", "path": {"path": "a"}, "tensor": {"tensor": [0, 2, 4]},
        "safe tensor": {"tensor": [1.0, 1.0]}, "safe string": "text", "safe float": 1.25,
        "None from the source": "ValueError", "mapping": "TypeError",
    }  # fmt: skip
    assert [expected, expected] == [each["broadcast"] for each in answers]


def test_groups_hold_some_of_the_processes(answers):
    common = {
        "all": {"tensor": 3}, "list": 3, "list again": 3, "no group": "ValueError", "no such rank": "ValueError",
    }  # fmt: skip
    assert [common | {"part": 1}, common | {"part": [2]}] == [each["groups"] for each in answers]


def test_loaders_share_batches_workers_and_order_out(answers):
    common = {
        "shuffled": [2, 0, "DistributedSampler", True],
        "in order": [2, 0, "DistributedSampler", False],
        "small": [1, 0, "DistributedSampler", True],
        "workers": [2, 2, "DistributedSampler", True],
        "another sampler": [2, 0, "DistributedProxySampler", False],
        "distributed sampler": [2, 0, "DistributedSampler", False],
        "batch sampler": [None, 0, "SequentialSampler", None],
        "iterable": 2,
    }
    for part, each in zip([[0, 5, 5, 1], [2, 1, 4, 3]], answers, strict=True):
        assert common | {"parts": part} == each["loaders"]


def test_one_rank_runs_alone_or_first(answers):
    first, second = (each["one rank"] for each in answers)
    assert (None, 3) == (first["value"], second["value"])
    assert ([1, 2, 3], []) == (first["handler"], second["handler"])
    for each in (first, second):
        assert [1, 0] == each["first"] == each["first on its node"]


def test_models_become_replicas_and_optimizers_stay(answers):
    assert [["DistributedDataParallel", True]] * 2 == [[each["model"], each["optimizer"]] for each in answers]


def test_a_process_is_in_one_group_at_a_time(answers):
    assert ["ValueError", "ValueError"] == [each["again"] for each in answers]


def test_only_the_first_rank_logs(answers):
    assert [["StreamHandler"], ["NullHandler"]] == [each["log handlers"] for each in answers]
