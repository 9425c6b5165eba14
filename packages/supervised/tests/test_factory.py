from __future__ import annotations

import copy
import gc
import subprocess
import sys
import weakref

import pytest
import torch

from camshaft.engine import ArgumentError, Engine, Events
from camshaft.supervised import BackendMissingError, create_supervised_evaluator, create_supervised_trainer

mse_loss = torch.nn.functional.mse_loss
DATA = [(torch.ones(2, 3), torch.zeros(2, 1))] * 4
generator = torch.Generator().manual_seed(0)
RANDOM_DATA = [(torch.randn(4, 3, generator=generator), torch.randn(4, 1, generator=generator)) for _ in range(5)]


def make_trainer(**options) -> Engine:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    return create_supervised_trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), mse_loss, **options)


def test_the_trainer_is_an_engine_that_trains():
    trainer = make_trainer()

    first = trainer.run(DATA, max_epochs=1).output
    last = trainer.run(DATA, max_epochs=5).output

    assert type(trainer) is Engine
    assert last < first


def test_arguments_are_taken_by_position_in_the_documented_order():
    model = torch.nn.Linear(3, 1)
    prepare = lambda batch, device, non_blocking: batch  # noqa: E731  # short beside its use
    trainer = create_supervised_trainer(
        model, torch.optim.SGD(model.parameters(), lr=0.1), mse_loss, "cpu", False, prepare, lambda output: output,
        lambda x, y, y_pred, loss: "output", False, None, False, 2, lambda model, x: model(x),
    )  # fmt: skip
    evaluator = create_supervised_evaluator(
        model, None, "cpu", False, prepare, lambda output: output, lambda x, y, y_pred: "output", None,
        lambda model, x: model(x),
    )  # fmt: skip

    assert trainer.run(DATA).output == "output"
    assert evaluator.run(DATA).output == "output"


def test_an_unreferenced_trainer_is_freed_at_once():
    trainer = make_trainer(gradient_accumulation_steps=2)
    trainer.run(DATA)
    gone = weakref.ref(trainer)

    gc.disable()
    try:
        del trainer
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("options", "is_there"), [({}, False), ({"output_transform": lambda x, y, y_pred, loss: y_pred.sum()}, True)]
)
def test_a_prediction_is_there_in_the_backward_pass_only_where_the_output_is_made_of_it(options, is_there):
    model = torch.nn.Linear(2, 1)
    predictions, seen = [], []
    model.register_forward_hook(lambda module, args, output: predictions.append(weakref.ref(output)))
    model.weight.register_hook(lambda gradient: seen.append(predictions[-1]() is not None))
    trainer = create_supervised_trainer(model, torch.optim.SGD(model.parameters(), 0.1), mse_loss, **options)

    trainer.run([(torch.ones(3, 2), torch.ones(3, 1))])

    assert seen == [is_there]


def test_an_unreferenced_evaluator_is_freed_at_once():
    evaluator = create_supervised_evaluator(torch.nn.Linear(3, 1))
    evaluator.run(DATA)
    gone = weakref.ref(evaluator)

    gc.disable()
    try:
        del evaluator
        assert gone() is None
    finally:
        gc.enable()


# ---- mixed precision -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "computes_in"),
    [
        ({}, torch.float32),
        ({"amp_mode": "amp"}, torch.bfloat16),
        ({"amp_mode": "amp", "scaler": True}, torch.float16),
        ({"amp_mode": "amp", "amp_dtype": torch.float16}, torch.float16),
        # A scaler that is switched off does not save small gradients: no reason for float16.
        ({"amp_mode": "amp", "scaler": torch.amp.GradScaler("cpu", enabled=False)}, torch.bfloat16),
    ],
)
def test_the_forward_pass_runs_in_the_precision_asked_for(options, computes_in):
    trainer = make_trainer(output_transform=lambda x, y, y_pred, loss: (y_pred.dtype, loss.dtype), **options)

    y_pred_dtype, loss_dtype = trainer.run(DATA).output

    assert y_pred_dtype == computes_in
    assert loss_dtype == torch.float32


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_an_evaluation_runs_in_mixed_precision(dtype):
    evaluator = create_supervised_evaluator(torch.nn.Linear(3, 1), amp_mode="amp", amp_dtype=dtype)

    assert evaluator.run(DATA).output[0].dtype == (dtype or torch.bfloat16)


@pytest.mark.parametrize("options", [{"amp_mode": "amp"}, {"amp_mode": "amp", "scaler": True}])
def test_mixed_precision_learns(options):
    trainer = make_trainer(**options)

    assert trainer.run(DATA, max_epochs=20).output < 1e-3


def test_the_scaler_is_found_in_the_state_and_saved_with_the_engine():
    trainer = make_trainer(amp_mode="amp", scaler=True)
    trainer.run(DATA)
    trainer.state.scaler.update(32.0)

    other = make_trainer(amp_mode="amp", scaler=torch.amp.GradScaler("cpu"))
    other.load_state_dict(trainer.state_dict())

    assert other.state.scaler.state_dict() == trainer.state.scaler.state_dict()
    assert other.state.scaler.get_scale() == 32.0


def test_without_a_scaler_nothing_is_added_to_the_saved_state():
    assert "stateful" not in make_trainer().state_dict() or not make_trainer().state_dict()["stateful"]


def test_a_typo_in_the_mode_is_refused():
    with pytest.raises(ArgumentError, match="'amp' or 'apex', got 'apm'"):
        make_trainer(amp_mode="apm")
    with pytest.raises(ArgumentError, match="'amp' or 'apex', got 'apm'"):
        create_supervised_evaluator(torch.nn.Identity(), amp_mode="apm")


@pytest.mark.parametrize("steps", [1, 3])
def test_a_run_with_a_scaler_restored_anywhere_ends_bitwise_alike(steps):
    def make():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
        optimizer = torch.optim.Adam(model.parameters())
        # So large that steps are left out at first, so short an interval that it grows again later.
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=2)
        options = {"amp_mode": "amp", "scaler": scaler, "gradient_accumulation_steps": steps, "clip_grad_norm": 1.0}
        return model, optimizer, create_supervised_trainer(model, optimizer, mse_loss, **options)

    parts, saved = make(), []
    parts[2].add_event_handler(
        Events.ITERATION_COMPLETED | Events.EPOCH_COMPLETED,
        lambda engine: engine.at_safe_point(lambda: saved.append(copy.deepcopy([part.state_dict() for part in parts]))),
    )
    parts[2].run(RANDOM_DATA, max_epochs=4)
    expected = copy.deepcopy([part.state_dict() for part in parts])

    for states in saved[:-1]:
        restored = make()
        for part, state in zip(restored, states, strict=True):
            part.load_state_dict(state)
        restored[2].run(RANDOM_DATA)
        torch.testing.assert_close([part.state_dict() for part in restored], expected, rtol=0, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("amp_mode", [None, "amp"])
def test_no_iteration_waits_for_the_gpu(amp_mode):
    model = torch.nn.Linear(3, 1).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = create_supervised_trainer(model, optimizer, mse_loss, device="cuda", amp_mode=amp_mode)
    data = [(x.cuda(), y.cuda()) for x, y in DATA]
    trainer.run(data)

    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.run(data)
    finally:
        torch.cuda.set_sync_debug_mode("default")

    assert trainer.state.iteration == len(data)


# ---- the deterministic engine ----------------------------------------------------------------------


def test_a_deterministic_trainer_is_made_on_request():
    deterministic = pytest.importorskip("camshaft.deterministic")

    assert isinstance(make_trainer(deterministic=True), deterministic.DeterministicEngine)


WITHOUT_DETERMINISTIC = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "camshaft.deterministic":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from camshaft.supervised import create_supervised_trainer
try:
    create_supervised_trainer(None, None, None, deterministic=True)
except RuntimeError as error:
    print(type(error).__name__, error)
"""


def test_a_missing_deterministic_engine_is_named_with_its_extra(warm_python):
    ran = warm_python.run("-c", WITHOUT_DETERMINISTIC)

    assert ran.stdout.startswith("BackendMissingError `deterministic=True` needs camshaft-engine-deterministic")
    assert "camshaft-supervised[deterministic]" in ran.stdout


def test_importing_the_package_imports_no_optional_package():
    code = "import sys, camshaft.supervised; print([m for m in sys.modules if m.split('.')[0] in {names}])"
    names = {"accelerate", "apex", "torch_xla", "torchmetrics"}
    ran = subprocess.run([sys.executable, "-c", code.format(names=names)], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"


def test_the_error_of_a_missing_backend_is_public():
    assert issubclass(BackendMissingError, ModuleNotFoundError)
