"""Prefetching to a real GPU. Everything about it that needs none is in test_prefetch.py."""

import weakref
from collections.abc import Mapping
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence
from torch.utils.data import DataLoader, TensorDataset

from camshaft.engine import ArgumentError, Events
from camshaft.supervised import create_supervised_trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA is not available")
CUDA = torch.device("cuda")
FORKS = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12, where there are threads
MIB = 1 << 20
LONG = 500_000_000  # cycles of the GPU: some tenths of a second


def make_data(count=6, size=16, features=64):
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(size, features, generator=generator), torch.randint(10, (size,), generator=generator))
        for _ in range(count)
    ]


def make_trainer(**options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5), nn.ReLU(), nn.Linear(64, 10)).to(CUDA)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"device": CUDA, **options}
    return create_supervised_trainer(model, optimizer, nn.functional.cross_entropy, **options), model


def make_watcher(model_fn, **options):
    """Return a trainer with one parameter, whose forward pass is `model_fn`."""
    model = nn.Linear(1, 1, bias=False).to(CUDA)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    return create_supervised_trainer(
        model, optimizer, lambda y_pred, y: y_pred.sum(), CUDA, model_fn=model_fn, prefetch=True, **options
    )


def make_graphed_trainer(**options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5), nn.ReLU(), nn.Linear(64, 10)).to(CUDA)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True, capturable=True)
    options = {"device": CUDA, "cuda_graph": True, **options}
    return create_supervised_trainer(model, optimizer, nn.functional.cross_entropy, **options), model


def losses_of(trainer, data, **run_options):
    losses = []
    with_losses = trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output.item())
    )
    with with_losses:
        torch.manual_seed(1)
        trainer.run(data, **run_options)
    return losses


@contextmanager
def no_synchronisation():
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


# ---------------------------------------------------------------------- the same results


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"amp_mode": "amp"},
        {"amp_mode": "amp", "scaler": True, "clip_grad_norm": 1.0},
        {"gradient_accumulation_steps": 4},
    ],
    ids=["full", "bfloat16", "float16", "accumulated"],
)
def test_training_is_bitwise_the_same_with_and_without(options):
    (with_it, trained), (without, expected) = make_trainer(prefetch=True, **options), make_trainer(**options)
    assert losses_of(with_it, make_data(), max_epochs=2) == losses_of(without, make_data(), max_epochs=2)
    assert all(map(torch.equal, trained.parameters(), expected.parameters()))


def test_a_step_that_is_a_cuda_graph_gets_the_same_batches():
    (with_it, trained), (without, expected) = make_graphed_trainer(prefetch=True), make_graphed_trainer()
    assert losses_of(with_it, make_data(), max_epochs=3) == losses_of(without, make_data(), max_epochs=3)
    assert all(map(torch.equal, trained.parameters(), expected.parameters()))


def test_a_graph_whose_output_is_read_by_the_step_gets_the_same_batches():
    def read(x, y, y_pred, loss):
        return loss.item(), y_pred.argmax().item()

    found = []
    for prefetch in (True, False):
        trainer, _ = make_graphed_trainer(prefetch=prefetch, output_transform=read)
        outputs = []
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine, outputs=outputs: outputs.append(engine.state.output)
        )
        torch.manual_seed(1)
        trainer.run(make_data(), max_epochs=2)
        found.append(outputs)
    assert found[0] == found[1]


@FORKS
@pytest.mark.parametrize("pin_memory", [False, True])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_loaders_with_workers_and_pinned_memory_give_the_same(num_workers, pin_memory):
    x, y = (torch.cat(parts) for parts in zip(*make_data(), strict=True))
    loader = DataLoader(TensorDataset(x, y), batch_size=16, num_workers=num_workers, pin_memory=pin_memory)
    assert losses_of(make_trainer(prefetch=True)[0], loader) == losses_of(make_trainer()[0], make_data())


def test_a_run_on_a_stream_of_the_users_gives_the_same():
    stream = torch.cuda.Stream()
    with_it, without = make_trainer(prefetch=True)[0], make_trainer()[0]
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        found = losses_of(with_it, make_data(), max_epochs=2)
    assert found == losses_of(without, make_data(), max_epochs=2)


def test_a_loader_that_writes_into_the_same_pinned_memory_is_read_in_time():
    class Rewriting:
        memory = torch.empty(4 * MIB).pin_memory()

        def __len__(self):
            return 6

        def __iter__(self):
            for number in range(6):
                self.memory.fill_(number)
                yield self.memory, 0

    def model_fn(model, x):
        torch.cuda._sleep(LONG // 20)
        seen.append(x.amin())
        seen.append(x.amax())
        return model.weight * x[0]

    seen = []
    make_watcher(model_fn).run(Rewriting(), max_epochs=2)
    assert [each.item() for each in seen] == 2 * [float(number) for number in range(6) for _ in range(2)]


def test_a_batch_that_is_used_one_step_later_and_then_freed_is_not_overwritten():
    before = []

    def model_fn(model, x):
        if before:
            torch.cuda._sleep(LONG // 20)  # by now the host is done with the fetch of the next batch
            seen.append(before.pop().amax())
        before.append(x)
        return model.weight * x[0]

    seen = []
    make_watcher(model_fn).run([(torch.full((MIB,), float(number)), 0) for number in range(8)])
    assert [each.item() for each in seen] == [float(number) for number in range(7)]


# ---------------------------------------------------------------------- what a batch is made of


class Graph:
    """A batch as libraries have them: it knows how to pin, to move and to tell on which stream it is used."""

    def __init__(self, nodes):
        self.nodes = nodes

    def pin_memory(self):
        return Graph(self.nodes.pin_memory())

    def to(self, device, non_blocking=False):
        return Graph(self.nodes.to(device, non_blocking=non_blocking))

    def record_stream(self, stream):
        self.nodes.record_stream(stream)


class Movable:
    """Knows how to move, and nothing else."""

    def __init__(self, values):
        self.values = values

    def to(self, device, non_blocking=False):
        return Movable(self.values.to(device, non_blocking=non_blocking))


def received(x):
    """Return what the step gets for an x, and what the engine holds of it meanwhile."""
    got, held = [], []

    def model_fn(model, value):
        got.append(value)
        return model.weight.sum()

    trainer = make_watcher(model_fn)
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda engine: held.append(engine.state.batch[0]))
    trainer.run([(x, 0)] * 3)
    assert len(got) == len(held) == 3
    return got[-1], held[-1]


def test_nested_tensors_arrive_in_the_same_structure():
    x = {"ids": [torch.arange(3), (torch.ones(2, dtype=torch.bool), "text", None)], "n": 3}
    got, held = received(x)
    assert isinstance(got, Mapping)
    assert got["ids"][0].device.type == held["ids"][0].device.type == "cuda"
    assert got["ids"][0].tolist() == [0, 1, 2]
    assert got["ids"][1][0].tolist() == [True, True]
    assert got["ids"][1][1:] == ("text", None)
    assert got["n"] == 3


def test_a_tensor_on_the_gpu_is_given_as_it_is():
    x = torch.ones(3, device=CUDA)
    got, held = received(x)
    assert got is x
    assert held is x


def test_an_object_that_pins_moves_and_tells_its_stream_is_copied_early():
    got, held = received(Graph(torch.arange(5)))
    assert held.nodes.device.type == "cuda"
    assert got.nodes.tolist() == [0, 1, 2, 3, 4]


def test_an_object_that_only_moves_is_moved_in_its_step():
    got, held = received(Movable(torch.arange(5)))
    assert held.values.device.type == "cpu"
    assert got.values.device.type == "cuda"
    assert got.values.tolist() == [0, 1, 2, 3, 4]


def test_a_sparse_tensor_is_moved_in_its_step():
    got, held = received(torch.eye(4).to_sparse())
    assert held.device.type == "cpu"
    assert torch.equal(got.to_dense().cpu(), torch.eye(4))


def test_a_packed_sequence_keeps_its_lengths_on_the_cpu():
    sequences = [torch.arange(3.0), torch.arange(2.0)]
    got, _ = received(pack_sequence(sequences))
    assert isinstance(got, PackedSequence)
    assert got.data.device.type == "cuda"
    assert pad_packed_sequence(got, batch_first=True)[0].tolist() == [[0, 1, 2], [0, 1, 0]]


# ---------------------------------------------------------------------- waiting and memory


@pytest.mark.parametrize("pin_memory", [False, True])
def test_a_run_does_not_synchronise_with_the_gpu(pin_memory):
    trainer, _ = make_trainer(prefetch=True)
    data = make_data()
    if pin_memory:
        data = [(x.pin_memory(), y.pin_memory()) for x, y in data]
    trainer.run(data)
    with no_synchronisation():
        trainer.run(data, max_epochs=3)
    assert trainer.state.iteration == 18


def test_the_next_batch_is_fetched_and_copied_while_the_step_runs():
    steps, found = [], []

    class Watching:
        def __len__(self):
            return 4

        def __iter__(self):
            for number in range(4):
                if steps:
                    found.append(("fetched", number, steps[-1].query()))
                yield torch.full((MIB,), float(number)), 0

    def model_fn(model, x):
        torch.cuda._sleep(LONG)
        steps.append(torch.cuda.current_stream().record_event())
        return model.weight * x[0]

    trainer = make_watcher(model_fn)

    @trainer.on(Events.ITERATION_COMPLETED(before=4))
    def wait_for_the_copy():
        trainer.prefetch.present()._copy.done.synchronize()
        found.append(("copied", trainer.state.iteration, steps[-1].query()))

    trainer.run(Watching())  # allocates memory, for which torch may wait
    steps.clear()
    found.clear()
    trainer.run(Watching())
    assert found == [
        (what, number, False)  # the step is not done
        for number in (1, 2, 3)
        for what in ("fetched", "copied")
    ]


def test_two_batches_at_most_are_on_the_gpu_however_far_behind_it_is():
    def model_fn(model, x):
        torch.cuda._sleep(LONG // 10)
        return model.weight * x[0]

    trainer = make_watcher(model_fn)
    data = [(torch.full((4 * MIB,), float(number)), 0) for number in range(8)]  # 16 MiB each
    trainer.run(data[:2])
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    trainer.run(data, max_epochs=2)
    stats = torch.cuda.memory_stats()
    assert stats["allocated_bytes.all.peak"] - before < 33 * MIB
    assert stats["active_bytes.all.peak"] - before < 33 * MIB  # what the GPU still reads included
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() - before < MIB  # and none after the run


def test_the_batch_before_is_gone_when_the_next_step_begins():
    seen, alive = [], []

    def model_fn(model, x):
        alive.append(sum(each() is not None for each in seen))
        seen.append(weakref.ref(x))
        return model.weight * x[0]

    make_watcher(model_fn).run([(torch.ones(MIB), 0)] * 5)
    assert alive == [0, 0, 0, 0, 0]


def test_an_error_of_the_data_is_raised_at_its_own_iteration():
    class Failing:
        def __iter__(self):
            yield from make_data(3)
            raise OSError("the disk is away")

    trainer, _ = make_trainer(prefetch=True)
    with pytest.raises(OSError, match="the disk is away"):
        trainer.run(Failing(), epoch_length=5)
    assert trainer.state.iteration == 3
    assert trainer.position.next_event == "GET_BATCH_COMPLETED"


def test_a_device_that_is_not_the_gpu_is_refused_where_there_is_one():
    with pytest.raises(ArgumentError, match=r"`prefetch` needs a CUDA device, got device='cpu'; leave it out"):
        make_trainer(device="cpu", prefetch=True)


# ---------------------------------------------------------------------- deterministic trainers


def deterministic_run(loader, prefetch, stop=None, state=None):
    """Train, from a saved state if there is one, up to an iteration; return what is needed to compare and to resume."""
    trainer, model = make_trainer(deterministic=True, prefetch=prefetch)
    if state is not None:
        trainer.load_state_dict(state["trainer"])
        model.load_state_dict(state["model"])
    saved = {}

    def save():
        parameters = {name: value.clone() for name, value in model.state_dict().items()}
        saved.update(trainer=trainer.state_dict(), model=parameters)

    if stop is not None:
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=stop), lambda: trainer.at_safe_point(save))
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=stop), trainer.terminate)
    losses = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append((engine.state.output.item(), torch.rand(1).item()))
    )
    options = {"max_epochs": 3, "seed": 7} if state is None else {}
    trainer.run(loader, **options)
    return losses, saved, [value.cpu() for value in model.parameters()]


@FORKS
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_deterministic_run_is_bitwise_the_same_and_resumes_with_or_without(num_workers):
    pytest.importorskip("camshaft.deterministic")
    x, y = (torch.cat(parts) for parts in zip(*make_data(), strict=True))
    loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True, num_workers=num_workers)
    whole, _, expected = deterministic_run(loader, prefetch=False)
    found, _, parameters = deterministic_run(loader, prefetch=True)
    assert found == whole
    assert all(map(torch.equal, parameters, expected))
    for stop, first, second in [(4, True, False), (6, False, True), (9, True, True)]:
        begun, saved, _ = deterministic_run(loader, prefetch=first, stop=stop)
        rest, _, parameters = deterministic_run(loader, prefetch=second, state=saved)
        assert begun + rest == whole
        assert all(map(torch.equal, parameters, expected))
