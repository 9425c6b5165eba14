import os
import socket
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from torch.utils.data import SequentialSampler, WeightedRandomSampler

import ignite.distributed as idist
from ignite.distributed._process import free_port

VALUES = [5, 2.5, "abc", {"a": 1}, [1, 2]]


@pytest.fixture
def group():
    """Make this process a group of its own."""
    idist.initialize("gloo")
    yield
    idist.finalize()


def test_a_process_without_a_group_is_the_first_of_one():
    assert (0, 0, 1) == (idist.get_rank(), idist.get_local_rank(), idist.get_world_size())
    assert (1, 1, 0) == (idist.get_nproc_per_node(), idist.get_nnodes(), idist.get_node_rank())
    assert (None, "serial", socket.gethostname()) == (idist.backend(), idist.model_name(), idist.hostname())


def test_without_a_group_the_device_is_the_accelerator_or_the_cpu():
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    assert (accelerator.type if accelerator else "cpu") == idist.device().type


def test_what_is_supported_is_told():
    assert (True, False, False) == (idist.has_native_dist_support, idist.has_xla_support, idist.has_hvd_support)
    assert "gloo" in idist.available_backends()


@pytest.mark.parametrize("value", VALUES)
def test_without_a_group_a_value_stays_itself(value):
    assert value is idist.all_reduce(value)
    assert value is idist.broadcast(value)
    assert [value] == idist.all_gather(value)


def test_without_a_group_a_tensor_stays_itself():
    tensor = torch.arange(3)
    assert tensor is idist.all_reduce(tensor) is idist.broadcast(tensor, src=1) is idist.all_gather(tensor)
    assert [tensor] == idist.all_gather_tensors_with_shapes(tensor, [[3]])


@pytest.mark.parametrize("safe_mode", [False, True])
def test_none_is_not_broadcast(safe_mode):
    with pytest.raises(ValueError, match="`tensor` must be"):
        idist.broadcast(None, safe_mode=safe_mode)


def test_without_a_group_barriers_and_endings_do_nothing():
    idist.barrier()
    idist.finalize()
    idist.sync()
    assert [0, 1] == idist.new_group([0, 1])


@pytest.mark.parametrize("ranks", [3, ["a"]])
def test_a_group_is_made_of_a_list_of_ranks(ranks):
    with pytest.raises(ValueError, match="`ranks` must be a list of integers"):
        idist.new_group(ranks)


def test_a_group_of_one_needs_no_launcher(group):
    assert ("gloo", "native-dist", 1) == (idist.backend(), idist.model_name(), idist.get_world_size())
    assert 3 == idist.all_reduce(3)


def test_a_group_that_was_made_by_hand_is_seen_at_once():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert ("native-dist", 0, 1) == (idist.model_name(), idist.get_local_rank(), idist.get_nnodes())
    finally:
        dist.destroy_process_group()
    assert "serial" == idist.model_name()


def test_the_local_rank_can_be_told_for_a_group_made_by_hand():
    idist.set_local_rank(3)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert 3 == idist.get_local_rank()
    finally:
        idist.finalize()
    assert 0 == idist.get_local_rank()


@pytest.mark.parametrize("name", ["horovod", "xla-tpu", "abc"])
@pytest.mark.parametrize(
    "start",
    [idist.initialize, idist.Parallel, lambda name: idist.spawn(name, print, ())],
    ids=["initialize", "Parallel", "spawn"],
)
def test_a_backend_that_is_not_here_is_refused_by_name(start, name):
    with pytest.raises(ValueError, match=f"`backend` must be one of .*, got '{name}'"):
        start(name)


def test_horovod_is_refused_with_what_to_use_instead():
    with pytest.raises(ValueError, match="launch with torchrun"):
        idist.initialize("horovod")


def test_rank_and_size_go_together():
    with pytest.raises(ValueError, match="`rank` and `world_size` must be given together"):
        idist.initialize("gloo", rank=0)


def test_a_file_says_neither_rank_nor_size(tmp_path):
    with pytest.raises(ValueError, match="needs `rank` and `world_size`"):
        idist.initialize("gloo", init_method=f"file://{tmp_path}/meet")


def test_processes_meet_in_a_file(tmp_path):
    idist.initialize("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    assert 1 == idist.get_world_size()
    idist.finalize()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"nproc_per_node": 2}, "`nproc_per_node` must be None"),
        ({"backend": "gloo", "nproc_per_node": 0}, "`nproc_per_node` must be at least 1"),
        ({"backend": "gloo", "nproc_per_node": 2, "nnodes": 0}, "`nnodes` must be at least 1"),
        ({"backend": "gloo", "nproc_per_node": 2, "nnodes": 2}, "`node_rank` must be given"),
        ({"backend": "gloo", "nproc_per_node": 2, "nnodes": 2, "node_rank": 5}, "`node_rank` must be between 0 and 1"),
        ({"backend": "gloo", "nproc_per_node": 2, "nnodes": 2, "node_rank": 1}, "`master_addr` and `master_port`"),
        (
            {"backend": "gloo", "nproc_per_node": 2, "nnodes": 2, "node_rank": 1, "master_addr": "a"},
            "`master_addr` and `master_port`",
        ),
    ],
)
def test_parallel_refuses_arguments_that_do_not_go_together(arguments, text):
    with pytest.raises(ValueError, match=text):
        idist.Parallel(**arguments)


@pytest.mark.parametrize("backend", [None, "gloo"])
def test_parallel_runs_a_function_in_this_process(backend):
    calls = []
    with idist.Parallel(backend) as parallel:
        parallel.run(lambda *args, **kwargs: calls.append((args, kwargs, idist.backend())), 1, b=2)
    assert [((0, 1), {"b": 2}, backend)] == calls
    assert "serial" == idist.model_name()


def test_parallel_leaves_the_group_when_a_function_fails():
    def fail(local_rank):
        raise KeyError(local_rank)

    with pytest.raises(KeyError), idist.Parallel("gloo") as parallel:
        parallel.run(fail)
    assert "serial" == idist.model_name()


def test_without_a_group_models_optimizers_and_loaders_stay_as_they_are():
    model = torch.nn.Linear(1, 1).to(idist.device())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = idist.auto_dataloader(list(range(8)), batch_size=4, shuffle=True)
    assert model is idist.auto_model(model)
    assert optimizer is idist.auto_optim(optimizer)
    assert (4, "RandomSampler") == (loader.batch_size, type(loader.sampler).__name__)


def test_a_proxy_sampler_shares_indices_out_and_fills_up():
    sampler = SequentialSampler(range(10))
    parts = [list(idist.DistributedProxySampler(sampler, num_replicas=3, rank=rank)) for rank in range(3)]
    assert [[0, 3, 6, 9], [1, 4, 7, 0], [2, 5, 8, 1]] == parts
    assert 4 == len(idist.DistributedProxySampler(sampler, num_replicas=3, rank=0))


def test_a_proxy_sampler_draws_the_same_on_every_rank_and_leaves_the_generator_alone():
    sampler = idist.DistributedProxySampler(WeightedRandomSampler([1.0] * 7, 7), num_replicas=3, rank=0)
    sampler.set_epoch(2)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert [6, 3, 0] == list(sampler)  # what pytorch-ignite 0.5.5 draws
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_proxy_sampler_takes_samplers_only():
    with pytest.raises(TypeError, match="`sampler` must be a sampler"):
        idist.DistributedProxySampler(None)


def test_the_configuration_is_logged(capsys):
    idist.show_config()
    printed = capsys.readouterr().err
    for fact in ("distributed configuration: serial", "backend: None", "world size: 1", "local rank: 0"):
        assert fact in printed


def test_one_rank_first_refuses_a_rank_that_is_not_there():
    with pytest.raises(ValueError, match="`rank` must be between 0 and 0"), idist.one_rank_first(rank=5):
        pass


def test_a_function_for_one_rank_keeps_its_name_and_result():
    @idist.one_rank_only()
    def same(value):
        return value

    @idist.one_rank_only(rank=1)
    def never(value):
        return value

    assert ("same", 3, None) == (same.__name__, same(3), never(3))


def test_a_program_that_forgets_finalize_has_left_its_group_before_python_is_taken_down():
    program = """
import atexit, torch.distributed as dist
atexit.register(lambda: print(dist.is_initialized()))  # called last
import ignite.distributed as idist
idist.initialize("gloo")
print(dist.is_initialized())
"""
    clean = {name: value for name, value in os.environ.items() if name not in {"RANK", "WORLD_SIZE", "LOCAL_RANK"}}
    done = subprocess.run([sys.executable, "-c", program], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_slurm_says_rank_and_size():
    program = "import ignite.distributed as i; i.initialize('gloo'); print(i.get_local_rank(), i.get_world_size())"
    variables = {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "7"}
    variables["MASTER_PORT"] = str(free_port())  # the port of job 7 may be taken by anything on this machine
    clean = {name: value for name, value in os.environ.items() if name not in {"RANK", "WORLD_SIZE", "LOCAL_RANK"}}
    done = subprocess.run(
        [sys.executable, "-c", program], env=clean | variables, capture_output=True, text=True, check=True
    )
    assert "0 1" == done.stdout.strip()
