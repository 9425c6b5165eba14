from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, Events
from camshaft.supervised import BackendMissingError, create_supervised_evaluator, create_supervised_trainer
from camshaft.supervised._accelerate import accelerate_backend

accelerate = pytest.importorskip("accelerate")

mse_loss = torch.nn.functional.mse_loss
generator = torch.Generator().manual_seed(1)
DATA = TensorDataset(*(torch.randn(22, size, generator=generator, dtype=torch.float64) for size in (3, 1)))


def make_accelerator(steps: int = 1, **options: Any) -> Any:
    """Return an accelerator with options of its own; those of all accelerators of a process are the same otherwise."""
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    return accelerate.Accelerator(cpu=True, gradient_accumulation_steps=steps, **options)


def make_parts() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1).double()
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def make_trainer(accelerator: Any, **options: Any) -> tuple[torch.nn.Module, Engine]:
    model, optimizer = accelerator.prepare(*make_parts())
    return model, create_supervised_trainer(model, optimizer, mse_loss, accelerator=accelerator, **options)


def trained_plainly(batches: Any, epochs: int, **options: Any) -> torch.nn.Module:
    model, optimizer = make_parts()
    create_supervised_trainer(model, optimizer, mse_loss, **options).run(batches, max_epochs=epochs)
    return model


@settings(max_examples=30)
@given(
    steps=st.integers(1, 5),
    size=st.integers(2, 9),
    clipping=st.sampled_from([{}, {"clip_grad_norm": 0.1}, {"clip_grad_value": 0.3}]),
    theirs=st.booleans(),
)
def test_it_trains_as_without_an_accelerator(steps, size, clipping, theirs):
    accelerator = make_accelerator(steps)
    loader = DataLoader(DATA, size)
    model, trainer = make_trainer(accelerator, **clipping)

    trainer.run(accelerator.prepare(DataLoader(DATA, size)) if theirs else loader, max_epochs=2)

    expected = trained_plainly(loader, 2, gradient_accumulation_steps=steps, **clipping)
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=1e-12, atol=1e-12)


def test_the_last_window_of_an_epoch_of_unknown_length_is_stepped():
    accelerator = make_accelerator(steps=4)
    model, trainer = make_trainer(accelerator)
    in_step = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: in_step.append(accelerator.sync_gradients))

    trainer.run(batch for batch in DataLoader(DATA, 4))

    expected = trained_plainly(DataLoader(DATA, 4), 1, gradient_accumulation_steps=4)
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=1e-12, atol=1e-12)
    assert in_step == [False, False, False, True, False, False]
    assert accelerator.sync_gradients  # in the step after the last one


def test_a_prepared_scheduler_steps_with_the_optimizer():
    accelerator = make_accelerator(steps=2)
    model, optimizer = accelerator.prepare(*make_parts())
    scheduler = accelerator.prepare(torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5))
    trainer = create_supervised_trainer(model, optimizer, mse_loss, accelerator=accelerator)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: scheduler.step())

    trainer.run(DataLoader(DATA, 5))  # 5 batches

    assert scheduler.get_last_lr() == [0.1 * 0.5**3]


def test_gradients_of_a_window_that_was_given_up_are_not_used():
    model, trainer = make_trainer(make_accelerator(steps=4))
    trainer.run(DataLoader(DATA, 4), max_iters=2)
    trainer.state.max_iters = None

    trainer.run(DataLoader(DATA, 4), max_epochs=1)

    expected = trained_plainly(DataLoader(DATA, 4), 1, gradient_accumulation_steps=4)
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=1e-12, atol=1e-12)


def test_a_step_is_not_left_out_because_a_loop_before_has_ended_inside_a_window():
    accelerator = make_accelerator()
    accelerator.sync_gradients = False
    model, trainer = make_trainer(accelerator)

    trainer.run(DataLoader(DATA, 11))

    torch.testing.assert_close(model.state_dict(), trained_plainly(DataLoader(DATA, 11), 1).state_dict())


def test_the_accelerator_decides_the_precision():
    accelerator = make_accelerator(mixed_precision="bf16")
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    seen = []
    network[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    model, optimizer = accelerator.prepare(network, torch.optim.SGD(network.parameters(), lr=0.1))
    trainer = create_supervised_trainer(model, optimizer, mse_loss, accelerator=accelerator)
    data = [tuple(part.float() for part in DATA[:4])]

    trainer.run(data)
    create_supervised_evaluator(model).run(data)

    assert seen == [torch.bfloat16] * 2


def test_the_scaler_of_the_accelerator_scales_and_is_saved_with_the_trainer():
    accelerator = make_accelerator()
    # An accelerator makes one on a GPU only.
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    accelerator.native_amp, accelerator.state._mixed_precision = True, "fp16"
    network, optimizer = make_parts()
    network, optimizer = accelerator.prepare(network.float(), optimizer)
    trainer = create_supervised_trainer(network, optimizer, mse_loss, accelerator=accelerator, clip_grad_norm=0.2)
    x, y = (part.float() for part in DATA[:4])
    trainer.run([(x, y)])

    model, optimizer = make_parts()
    create_supervised_trainer(model.float(), optimizer, mse_loss, clip_grad_norm=0.2).run([(x, y)])
    torch.testing.assert_close(network.state_dict(), model.state_dict(), rtol=0.01, atol=0.01)
    assert trainer.state.scaler is accelerator.scaler
    assert trainer.state_dict()["stateful"]["scaler"] == accelerator.scaler.state_dict()
    trainer.run([(x, torch.full_like(y, torch.inf))], max_epochs=1)
    assert accelerator.optimizer_step_was_skipped


@pytest.mark.parametrize("each_batch", [False, True])
def test_sync_each_batch_exchanges_gradients_in_each_iteration(each_batch):
    plugin = accelerate.utils.GradientAccumulationPlugin(num_steps=2, sync_each_batch=each_batch)
    accelerator = make_accelerator(gradient_accumulation_plugin=plugin)

    assert accelerate_backend(accelerator, accelerator.prepare(make_parts()[1])).exchanges_always is each_batch


def test_a_batch_that_the_accelerator_has_not_prepared_goes_to_its_device():
    accelerator = make_accelerator()
    placed = []

    def prepare(batch, device, non_blocking):
        placed.append(device)
        return batch

    _, trainer = make_trainer(accelerator, prepare_batch=prepare)
    trainer.run([DATA[:4]])

    assert placed == [accelerator.device]


# ---- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "instead"),
    [
        ("device", "cpu", "the accelerator has one"),
        ("amp_mode", "amp", "Accelerator(mixed_precision=...) says it"),
        ("amp_mode", "apex", "Accelerator(mixed_precision=...) says it"),
        ("scaler", True, 'Accelerator(mixed_precision="fp16") makes one'),
        ("amp_dtype", torch.bfloat16, "Accelerator(mixed_precision=...) says it"),
        ("gradient_accumulation_steps", 4, "Accelerator(gradient_accumulation_steps=...) says it"),
        ("cuda_graph", True, "what an accelerator does in a step cannot be captured"),
        ("prefetch", True, "accelerator.prepare(loader) fetches a batch ahead"),
    ],
)
def test_what_the_accelerator_decides_is_refused_beside_it(option, value, instead):
    text = f"`{option}` must be left out beside an accelerator, got {value!r}; {instead}"
    with pytest.raises(ArgumentError, match=re.escape(text)):
        make_trainer(make_accelerator(), **{option: value})


def test_a_model_that_is_not_prepared_is_refused():
    accelerator = make_accelerator()
    model, optimizer = make_parts()
    with pytest.raises(ArgumentError, match="`model` must be prepared by the accelerator, got a Linear"):
        create_supervised_trainer(model, accelerator.prepare(optimizer), mse_loss, accelerator=accelerator)


def test_an_optimizer_that_is_not_prepared_is_refused():
    accelerator = make_accelerator()
    model, optimizer = make_parts()
    with pytest.raises(ArgumentError, match="`optimizer` must be prepared by the accelerator, got a SGD"):
        create_supervised_trainer(accelerator.prepare(model), optimizer, mse_loss, accelerator=accelerator)


def test_a_prepared_optimizer_is_refused_without_its_accelerator():
    model, optimizer = make_accelerator().prepare(*make_parts())
    with pytest.raises(ArgumentError, match="`accelerator` must be the one that has prepared the optimizer, got None"):
        create_supervised_trainer(model, optimizer, mse_loss)


@pytest.mark.parametrize("value", [True, "cpu", object()])
def test_what_is_no_accelerator_is_refused(value):
    model, optimizer = make_parts()
    with pytest.raises(ArgumentTypeError, match=r"`accelerator` must be an accelerate.Accelerator, got "):
        create_supervised_trainer(model, optimizer, mse_loss, accelerator=value)


def test_windows_that_go_on_in_the_next_epoch_are_refused():
    plugin = accelerate.utils.GradientAccumulationPlugin(num_steps=2, sync_with_dataloader=False)
    accelerator = make_accelerator(gradient_accumulation_plugin=plugin)
    with pytest.raises(ArgumentError, match="`accelerator` must end its accumulation with the epoch"):
        make_trainer(accelerator)


@pytest.mark.parametrize("kind", ["DEEPSPEED", "MEGATRON_LM", "XLA"])
def test_a_way_of_training_that_is_not_known_is_refused(kind, monkeypatch):
    accelerator = make_accelerator()
    parts = accelerator.prepare(*make_parts())
    monkeypatch.setattr(accelerator.state, "distributed_type", accelerate.DistributedType[kind])
    with pytest.raises(ArgumentError, match=f"replicas or shards of FSDP, got {kind}; write the step yourself"):
        create_supervised_trainer(*parts, mse_loss, accelerator=accelerator)


WITHOUT_ACCELERATE = """
import sys
sys.modules["accelerate"] = None
import torch
from camshaft.supervised import create_supervised_trainer

model = torch.nn.Linear(1, 1)
try:
    create_supervised_trainer(model, torch.optim.SGD(model.parameters()), None, accelerator=object())
except ModuleNotFoundError as error:
    print(type(error).__name__, error)
"""


def test_a_missing_accelerate_is_named_with_its_extra(warm_python):
    ran = warm_python.run("-c", WITHOUT_ACCELERATE)

    assert ran.stdout == (
        f"{BackendMissingError.__name__} `accelerator` needs accelerate, which is not installed; "
        "see the extra camshaft-supervised[accelerate]\n"
    )
