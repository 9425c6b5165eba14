from __future__ import annotations

import copy
import gc
import textwrap
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, Events
from camshaft.supervised import create_supervised_trainer, supervised_training_step

mse_loss = torch.nn.functional.mse_loss


def make_model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 1).double()


def make_batches(count: int, size: int = 2) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, 3, generator=generator, dtype=torch.float64),
            torch.randn(size, 1, generator=generator, dtype=torch.float64),
        )
        for _ in range(count)
    ]


def joined(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def make_trainer(model: torch.nn.Module, momentum: float = 0.0, **options) -> Engine:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
    return create_supervised_trainer(model, optimizer, mse_loss, **options)


def without_length(batches):
    yield from batches


def assert_same_parameters(expected: torch.nn.Module, actual: torch.nn.Module) -> None:
    for wanted, found in zip(expected.parameters(), actual.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_a_step_does_what_a_hand_written_one_does():
    model, by_hand = make_model(), make_model()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    for x, y in make_batches(5):
        optimizer.zero_grad()
        mse_loss(by_hand(x), y).backward()
        optimizer.step()

    make_trainer(model).run(make_batches(5))

    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), by_hand.parameters(), strict=True))


def test_the_parts_are_called_in_order_with_what_they_need():
    calls = []
    model = torch.nn.Linear(1, 1)

    def prepare(batch, device, non_blocking):
        calls.append(("prepare_batch", batch, device, non_blocking))
        return batch["x"], batch["y"]

    def run_model(model, x):
        calls.append(("model_fn", model.training))
        return {"prediction": model(x)}

    def transform_model_output(output):
        calls.append("model_transform")
        return output["prediction"]

    def transform_output(x, y, y_pred, loss):
        calls.append("output_transform")
        return {"x": x, "y": y, "y_pred": y_pred, "loss": loss}

    batch = {"x": torch.ones(1, 1), "y": torch.zeros(1, 1)}
    model.eval()
    trainer = make_trainer(
        model, device="cpu", non_blocking=True, prepare_batch=prepare, model_fn=run_model,
        model_transform=transform_model_output, output_transform=transform_output,
    )  # fmt: skip
    output = trainer.run([batch]).output

    assert calls == [
        ("prepare_batch", batch, "cpu", True), ("model_fn", True), "model_transform", "output_transform",
    ]  # fmt: skip
    assert output["x"] is batch["x"]
    assert output["y"] is batch["y"]
    assert torch.equal(output["loss"], mse_loss(output["y_pred"], output["y"]))


def test_the_default_output_is_the_loss_as_a_detached_scalar_tensor():
    output = make_trainer(make_model()).run(make_batches(1)).output

    assert isinstance(output, torch.Tensor)
    assert output.shape == ()
    assert not output.requires_grad


def test_frozen_layers_stay_frozen_and_a_model_left_in_evaluation_trains_again():
    model = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.BatchNorm1d(1)).double()
    model[1].eval()
    make_trainer(model).run(make_batches(2))
    assert not model[1].training

    model.eval()
    make_trainer(model).run(make_batches(1))
    assert model.training


def test_gradients_are_zeroed_before_the_forward_pass():
    model = make_model()
    seen = []

    def run_model(model, x):
        seen.append([parameter.grad for parameter in model.parameters()])
        return model(x)

    make_trainer(model, model_fn=run_model).run(make_batches(2))

    assert seen == [[None, None], [None, None]]


def test_a_batch_is_released_before_the_next_one_is_fetched():
    left, alive = [], []

    def data():
        for x, y in make_batches(4):
            batch = (x.clone(), y)
            left.append(weakref.ref(batch[0]))
            yield batch
            del batch
            alive.append(sum(each() is not None for each in left))

    make_trainer(make_model()).run(data())

    assert alive == [0] * 4


def test_a_batch_whose_backward_pass_failed_is_released_too():
    def fail(gradient):
        raise MemoryError

    def loss_fn(y_pred, y):
        y_pred.register_hook(fail)
        return mse_loss(y_pred, y)

    model = make_model()
    trainer = create_supervised_trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), loss_fn)
    x, y = make_batches(1)[0]
    left = weakref.ref(x)

    with pytest.raises(MemoryError):
        trainer.run([(x, y)])
    trainer.state.dataloader = None
    del x
    gc.collect()  # the frames of the error

    assert left() is None


# ---- accumulation ----------------------------------------------------------------------------------


def run_in_windows(trainer: Engine, batches: list, epochs: int, epoch_length: int, known: bool) -> None:
    """Run epochs of `epoch_length` iterations; the engine finds the length out itself unless it is `known`."""
    first = without_length(batches[:epoch_length])
    if known:
        trainer.run(batches[:epoch_length], max_epochs=epochs)
        return
    trainer.add_event_handler(
        Events.DATALOADER_STOP_ITERATION,
        lambda engine: setattr(engine.state, "dataloader", without_length(batches[:epoch_length])),
    )
    trainer.run(first, max_epochs=epochs)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.integers(1, 6),
    epoch_length=st.integers(1, 11),
    epochs=st.integers(1, 3),
    size=st.integers(1, 3),
    known=st.booleans(),
    clipping=st.sampled_from([{}, {"clip_grad_norm": 0.1}, {"clip_grad_norm": 2.0}, {"clip_grad_value": 0.3}]),
    momentum=st.sampled_from([0.0, 0.9]),
    amp=st.booleans(),
)
def test_accumulated_equals_big_batch(steps, epoch_length, epochs, size, known, clipping, momentum, amp):
    model, big_batch_model = (make_model().float() if amp else make_model() for _ in range(2))
    batches = [tuple(part.to(model.weight.dtype) for part in batch) for batch in make_batches(11, size)]
    windows = [joined(batches[start : min(start + steps, epoch_length)]) for start in range(0, epoch_length, steps)]
    options = {"amp_mode": "amp" if amp else None, "momentum": momentum} | clipping
    make_trainer(big_batch_model, **options).run(windows, max_epochs=epochs)

    trainer = make_trainer(model, gradient_accumulation_steps=steps, **options)
    run_in_windows(trainer, batches, epochs, epoch_length, known)

    # bfloat16 rounds each gradient to a part in 256; a wrong weight of a window is off by a sixth of it at the least.
    tolerance = 0.02 if amp else 1e-12
    for expected, actual in zip(big_batch_model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@given(steps=st.integers(2, 5), rest=st.integers(1, 4), momentum=st.sampled_from([0.0, 0.9]))
@settings(max_examples=15, deadline=None)
def test_accumulated_equals_big_batch_with_float16_and_a_scaler(steps, rest, momentum):
    model, big_batch_model = make_model().float(), make_model().float()
    batches = [(x.float(), y.float()) for x, y in make_batches(2 * steps + min(rest, steps - 1))]
    windows = [joined(batches[start : start + steps]) for start in range(0, len(batches), steps)]
    options = {"amp_mode": "amp", "momentum": momentum, "clip_grad_norm": 0.5}
    make_trainer(big_batch_model, scaler=torch.amp.GradScaler("cpu", init_scale=64.0), **options).run(windows)

    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    trainer = make_trainer(model, scaler=scaler, gradient_accumulation_steps=steps, **options)
    trainer.run(batches)

    assert scaler.state_dict()["_growth_tracker"] == len(windows)
    for expected, actual in zip(big_batch_model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0.01, atol=0.01)


def test_the_loss_is_reported_undivided():
    batches = make_batches(4)
    model = make_model()
    expected = [mse_loss(model(x), y).item() for x, y in batches]
    losses = []
    trainer = make_trainer(model, gradient_accumulation_steps=4)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output.item()))

    trainer.run(batches)

    assert losses == expected


def test_an_epoch_cut_short_steps_what_its_window_holds():
    batches = make_batches(8)
    model, by_hand = make_model(), make_model()
    make_trainer(by_hand).run([joined(batches[:2])])

    trainer = make_trainer(model, gradient_accumulation_steps=4)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda engine: engine.terminate_epoch(True))
    trainer.add_event_handler(Events.EPOCH_STARTED(once=2), lambda engine: engine.terminate())
    trainer.run(batches, max_epochs=2)

    assert_same_parameters(by_hand, model)


def test_a_checkpoint_asked_for_inside_a_window_is_taken_at_its_end():
    model = make_model()
    trainer = make_trainer(model, gradient_accumulation_steps=3)
    taken = []

    def ask(engine):
        asked_at = engine.state.iteration
        engine.at_safe_point(lambda: taken.append((asked_at, engine.position.iteration)))

    trainer.add_event_handler(Events.ITERATION_COMPLETED, ask)
    trainer.run(make_batches(5))

    assert taken == [(1, 3), (2, 3), (3, 3), (4, 5), (5, 5)]


def test_a_checkpoint_of_a_window_of_unknown_length_is_taken_after_the_epochs_last_step():
    model = make_model()
    trainer = make_trainer(model, gradient_accumulation_steps=3)
    last_event = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=4),
        lambda engine: engine.at_safe_point(lambda: last_event.append(engine.last_event_name)),
    )

    trainer.run(without_length(make_batches(4)))

    assert last_event == [Events.EPOCH_COMPLETED]


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5])
def test_a_run_terminated_inside_a_window_and_continued_equals_one_never_stopped(stop):
    batches = make_batches(7)
    model, never_stopped = make_model(), make_model()
    make_trainer(never_stopped, gradient_accumulation_steps=3).run(batches, max_epochs=2)

    trainer = make_trainer(model, gradient_accumulation_steps=3)
    with trainer.add_event_handler(Events.ITERATION_COMPLETED(once=stop), lambda engine: engine.terminate()):
        trainer.run(batches, max_epochs=2)
    trainer.run(batches)

    assert_same_parameters(never_stopped, model)


def test_a_new_run_does_not_use_the_gradients_of_the_one_before():
    batches = make_batches(4)
    model = make_model()
    trainer = make_trainer(model, gradient_accumulation_steps=4)
    trainer.run(batches, max_iters=2)
    expected = copy.deepcopy(model)
    make_trainer(expected).run([joined(batches)])

    trainer.state.max_iters = None
    trainer.run(batches, max_epochs=1)

    assert_same_parameters(expected, model)


def test_a_step_on_an_engine_of_ones_own_accumulates_too():
    batches = make_batches(5)
    model, big_batch_model = make_model(), make_model()
    make_trainer(big_batch_model).run([joined(batches[:3]), joined(batches[3:])])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    Engine(supervised_training_step(model, optimizer, mse_loss, gradient_accumulation_steps=3)).run(
        without_length(batches)
    )

    assert_same_parameters(big_batch_model, model)


@pytest.mark.parametrize("steps", [0, -1, 1.5, "2", None, True])
def test_what_is_no_number_of_iterations_is_refused(steps):
    with pytest.raises(ArgumentError, match="`gradient_accumulation_steps` must be an integer of at least 1, got"):
        make_trainer(make_model(), gradient_accumulation_steps=steps)


def test_a_window_that_another_engine_left_open_is_not_continued():
    batches = make_batches(4)
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = create_supervised_trainer(model, optimizer, mse_loss, gradient_accumulation_steps=4)
    Engine(trainer.process_function).run(batches, max_iters=2)
    expected = copy.deepcopy(model)
    make_trainer(expected).run([joined(batches[2:])])

    trainer.load_state_dict({"iteration": 2, "max_epochs": 1, "epoch_length": 4})
    trainer.run(batches)

    assert_same_parameters(expected, model)


REPLICA = """
    import sys
    import torch, torch.distributed
    from torch.nn.parallel import DistributedDataParallel
    from camshaft.supervised import create_supervised_trainer

    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(5, 4, 3, generator=generator), torch.randn(5, 4, 1, generator=generator)
    mine = [(x[i, rank * 2 : rank * 2 + 2], y[i, rank * 2 : rank * 2 + 2]) for i in range(5)]

    def train(data):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        replica = DistributedDataParallel(model)
        quiet, no_sync = [], replica.no_sync
        replica.no_sync = lambda: (quiet.append(1), no_sync())[1]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss_fn = torch.nn.functional.mse_loss
        options = {"gradient_accumulation_steps": 2, "clip_grad_norm": 0.3}
        create_supervised_trainer(replica, optimizer, loss_fn, **options).run(data)
        return len(quiet), model.state_dict()

    torch.save({"known": train(mine), "unknown": train(batch for batch in mine)}, f"{sys.argv[1]}/{rank}.pt")
    torch.distributed.destroy_process_group()
"""


def test_replicas_exchange_gradients_once_per_window_and_agree(warm_python, tmp_path):
    for ran in warm_python.run_ranks(2, "-c", textwrap.dedent(REPLICA), tmp_path):
        assert ran.returncode == 0, ran.stderr

    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(5, 4, 3, generator=generator), torch.randn(5, 4, 1, generator=generator)
    torch.manual_seed(0)
    alone = torch.nn.Linear(3, 1)
    windows = [(torch.cat(list(x[i : i + 2])), torch.cat(list(y[i : i + 2]))) for i in (0, 2, 4)]
    make_trainer(alone, clip_grad_norm=0.3).run(windows)

    for rank in (0, 1):
        replica = torch.load(tmp_path / f"{rank}.pt")
        # Quiet: iterations 1 and 3; also 5, the last, when it is not known to be the last.
        assert [replica[length][0] for length in ("known", "unknown")] == [2, 3]
        for length in ("known", "unknown"):
            torch.testing.assert_close(replica[length][1], alone.state_dict())


# ---- clipping --------------------------------------------------------------------------------------


def test_the_norm_of_the_gradients_is_clipped():
    model = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    make_trainer(model, clip_grad_norm=0.5).run([(torch.tensor([[30.0, 40.0]]), torch.tensor([[1.0]]))])

    torch.testing.assert_close(model.weight.detach(), torch.tensor([[0.03, 0.04]]))


def test_each_gradient_is_clipped():
    model = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    make_trainer(model, clip_grad_value=0.5).run([(torch.tensor([[30.0, 0.1]]), torch.tensor([[1.0]]))])

    torch.testing.assert_close(model.weight.detach(), torch.tensor([[0.05, 0.02]]))


def test_clipping_sees_the_true_gradients_when_they_are_scaled():
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    trainer = make_trainer(model, amp_mode="amp", scaler=scaler, clip_grad_norm=100.0)

    trainer.run([(torch.ones(1, 1), torch.zeros(1, 1))])

    assert model.weight.item() == pytest.approx(1.0 - 0.1 * 2.0)


@pytest.mark.parametrize("option", ["clip_grad_norm", "clip_grad_value"])
@pytest.mark.parametrize("limit", [0, -1.0, float("nan")])
def test_a_limit_that_is_not_above_zero_is_refused(option, limit):
    with pytest.raises(ArgumentError, match=f"`{option}` must be above 0, got "):
        make_trainer(make_model(), **{option: limit})


@pytest.mark.parametrize("option", ["clip_grad_norm", "clip_grad_value"])
@pytest.mark.parametrize("limit", ["1", True, [1.0]])
def test_a_limit_that_is_no_number_is_refused(option, limit):
    with pytest.raises(ArgumentTypeError, match=f"`{option}` must be a number, got "):
        make_trainer(make_model(), **{option: limit})
