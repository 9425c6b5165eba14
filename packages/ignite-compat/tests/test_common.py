"""The usual handlers in one call. Expected values are those of pytorch-ignite 0.5.5 for the same calls."""

import sys

import pytest
import torch
from torch.utils.data import DistributedSampler

from ignite.contrib.engines import common
from ignite.engine import Engine, Events


@pytest.fixture
def model():
    return torch.nn.Linear(1, 1)


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def counting():
    return Engine(lambda engine, batch: {"batch_loss": float(engine.state.iteration), "second": 2.0})


def test_a_training_gets_a_schedule_checkpoints_and_averages(tmp_path, model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    trainer = counting()
    common.setup_common_training_handlers(
        trainer,
        to_save={"model": model, "optimizer": optimizer, "trainer": trainer},
        save_every_iters=5,
        output_path=str(tmp_path),
        lr_scheduler=scheduler,
        output_names=["batch_loss"],
        with_pbars=False,
    )
    rates = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: rates.append(optimizer.param_groups[0]["lr"]))
    optimizer.step()  # torch warns when a schedule steps before its optimizer
    state = trainer.run(range(7), max_epochs=2)
    assert ["training_checkpoint_10.pt"] == names(tmp_path)
    assert {"model", "optimizer", "trainer"} == set(torch.load(tmp_path / "training_checkpoint_10.pt"))
    assert [0.1, 0.05, 0.05, 0.025] == rates[:4]
    assert {"batch_loss": pytest.approx(2.6820970737450986)} == state.metrics


def test_bars_follow_epochs_and_iterations(capsys):
    trainer = counting()
    common.setup_common_training_handlers(trainer, output_names=["batch_loss"], log_every_iters=3)
    trainer.run(range(7), max_epochs=2)
    shown = capsys.readouterr().err
    assert "Epoch: 100%" in shown
    assert "[1/7]" in shown


def test_a_training_stops_on_nan():
    trainer = Engine(lambda engine, batch: float("nan") if batch == 3 else 1.0)
    common.setup_common_training_handlers(trainer, with_pbars=False)
    assert 3 == trainer.run(range(1, 8)).iteration


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (3.0, {"a": 3.0, "b": 3.0}),
        (torch.tensor(2.0), {"a": 2.0, "b": 2.0}),
        ((1.0, 2.0), {"a": 1.0, "b": 2.0}),
        ([1.0, 2.0], {"a": 1.0, "b": 2.0}),
        ({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.0, "b": 2.0}),
    ],
    ids=["number", "tensor", "tuple", "list", "mapping"],
)
def test_entries_of_an_output_are_averaged_by_name_or_place(output, expected):
    trainer = Engine(lambda engine, batch: output)
    common.setup_common_training_handlers(trainer, output_names=["a", "b"], with_pbars=False)
    assert expected == trainer.run([0, 1]).metrics


def test_an_output_of_another_kind_is_refused():
    trainer = Engine(lambda engine, batch: "text")
    common.setup_common_training_handlers(trainer, output_names=["a"], with_pbars=False)
    with pytest.raises(TypeError, match="the trainer's output must be"):
        trainer.run([0])


def test_checkpoints_need_one_place(tmp_path, model):
    with pytest.raises(ValueError, match="`to_save` needs"):
        common.setup_common_training_handlers(counting(), to_save={"model": model})
    with pytest.raises(ValueError, match="exclude each other"):
        common.setup_common_training_handlers(
            counting(), to_save={"model": model}, output_path=str(tmp_path), save_handler=print
        )


def test_a_distributed_sampler_has_no_effect_in_one_process():
    sampler = DistributedSampler(range(4), num_replicas=1, rank=0)
    with pytest.warns(UserWarning, match="`train_sampler` has no effect"):
        common.setup_common_training_handlers(counting(), train_sampler=sampler, with_pbars=False)


def test_statistics_of_gpus_need_pynvml(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(ModuleNotFoundError, match="pynvml"):
        common.setup_common_training_handlers(counting(), with_gpu_stats=True)


def test_a_function_for_each_logger_replaced_the_one_for_any():
    with pytest.raises(DeprecationWarning, match="setup_tb_logging"):
        common.setup_any_logging()


@pytest.fixture
def evaluation():
    trainer, evaluator = Engine(lambda engine, batch: 0), Engine(lambda engine, batch: 0)

    @evaluator.on(Events.EPOCH_COMPLETED)
    def score():
        evaluator.state.metrics["acc"] = 0.5 + trainer.state.epoch / 10

    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    return trainer, evaluator


def test_the_best_models_are_saved_by_a_score(tmp_path, model, evaluation):
    trainer, evaluator = evaluation
    handler = common.save_best_model_by_val_score(str(tmp_path), evaluator, model, "acc", n_saved=2, trainer=trainer)
    trainer.run([0], max_epochs=3)
    assert ["best_model_2_val_acc=0.7000.pt", "best_model_3_val_acc=0.8000.pt"] == names(tmp_path)
    assert handler.last_checkpoint.name == "best_model_3_val_acc=0.8000.pt"


def test_several_models_are_saved_together_with_the_sign_of_the_score(evaluation, model):
    evaluator = evaluation[1]
    saved = []
    common.gen_save_best_models_by_val_score(
        lambda checkpoint, name: saved.append((name, set(checkpoint))), evaluator, {"a": model, "b": model}, "ACC",
        tag="test", score_sign=-1.0,
    )  # fmt: skip
    evaluator.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.state.metrics.update(ACC=0.25))
    evaluator.run([0])
    assert [("best_checkpoint_test_acc=-0.2500.pt", {"a", "b"})] == saved


def test_a_training_stops_early_by_a_score(evaluation):
    trainer, evaluator = evaluation
    common.add_early_stopping_by_val_score(2, evaluator, trainer, "acc", score_sign=-1.0)
    assert 3 == trainer.run([0], max_epochs=9).epoch


def test_a_training_is_logged_for_tensorboard(tmp_path, evaluation, model):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer, evaluator = Engine(lambda engine, batch: {"batch_loss": 1.0}), evaluation[1]
    evaluator.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.state.metrics.update(acc=0.5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    common.setup_common_training_handlers(trainer, output_names=["batch_loss"], with_pbars=False)
    logger = common.setup_tb_logging(str(tmp_path), trainer, optimizer, {"val": evaluator}, log_every_iters=2)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    trainer.run(range(4), max_epochs=2)
    logger.close()
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    steps = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert {"lr/group_0": [2, 4, 6, 8], "training/batch_loss": [2, 4, 6, 8], "val/acc": [1, 2]} == steps
