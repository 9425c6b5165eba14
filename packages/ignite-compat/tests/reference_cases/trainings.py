"""Trainings as they are written with Ignite, whole but small."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from ignite.contrib.engines import Tbptt_Events, common, create_supervised_tbptt_trainer
from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import (
    Checkpoint,
    DiskSaver,
    EMAHandler,
    ReduceLROnPlateauScheduler,
    create_lr_scheduler_with_warmup,
)
from ignite.metrics import Accuracy, ConfusionMatrix, DiceCoefficient, Loss, Precision, Recall, RunningAverage, mIoU
from reference_cases.tools import case, echo, make_batches, make_network

CRITERION = torch.nn.CrossEntropyLoss()


def make_training(seed=0, lr=0.1, **options):
    model = make_network(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return model, optimizer, create_supervised_trainer(model, optimizer, CRITERION, **options)


def rounded(values):
    return {name: round(float(value), 4) for name, value in values.items()}


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


@case
def training_with_two_evaluators():
    model, _, trainer = make_training()
    evaluators = [create_supervised_evaluator(model, {"accuracy": Accuracy(), "nll": Loss(CRITERION)}) for _ in "ab"]
    seen = []

    @trainer.on(Events.EPOCH_COMPLETED)
    def evaluate(engine):
        for evaluator, seed in zip(evaluators, (1, 2), strict=True):
            evaluator.run(make_batches(3, seed))
            seen.append([engine.state.epoch, rounded(evaluator.state.metrics)])

    trainer.run(make_batches(6), max_epochs=3)
    return [seen, round(trainer.state.output, 4)]


@case
def training_with_accumulated_gradients():
    model, _, trainer = make_training(gradient_accumulation_steps=3)
    trainer.run(make_batches(6), max_epochs=2)
    return [round(model[0].weight.sum().item(), 4), round(trainer.state.output, 4)]


@case
def training_that_shows_its_own_metrics():
    def everything(x, y, y_pred, loss):
        return {"y": y, "y_pred": y_pred, "loss": loss.item()}

    _, _, trainer = make_training(output_transform=everything)
    Accuracy(output_transform=lambda output: (output["y_pred"], output["y"])).attach(trainer, "accuracy")
    RunningAverage(output_transform=lambda output: output["loss"]).attach(trainer, "loss")
    trainer.run(make_batches(6), max_epochs=2)
    return rounded(trainer.state.metrics)


@case
def training_over_dicts():
    def take(batch, device=None, non_blocking=False):
        return batch["x"], batch["y"]

    batches = [{"x": x, "y": y} for x, y in make_batches(6)]
    model, _, trainer = make_training(prepare_batch=take, model_transform=lambda output: output * 2)
    trainer.run(batches)
    evaluator = create_supervised_evaluator(model, {"recall": Recall(average=True)}, prepare_batch=take)
    return [round(trainer.state.output, 4), rounded(evaluator.run(batches).metrics)]


@case
def training_with_common_handlers():
    model, optimizer, trainer = make_training()
    with tempfile.TemporaryDirectory() as folder:
        common.setup_common_training_handlers(
            trainer, to_save={"model": model, "trainer": trainer}, save_every_iters=4, output_path=folder,
            lr_scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 2), output_names=["loss"], with_pbars=False,
            with_gpu_stats=False, clear_cuda_cache=False,
        )  # fmt: skip
        evaluator = create_supervised_evaluator(model, {"accuracy": Accuracy()})
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(make_batches(3, 2)) and None)
        common.save_best_model_by_val_score(folder, evaluator, model, "accuracy", n_saved=1, trainer=trainer, tag="val")
        common.add_early_stopping_by_val_score(5, evaluator, trainer, "accuracy")
        trainer.run(make_batches(4), max_epochs=3)
        return [names_in(folder), rounded(trainer.state.metrics), optimizer.param_groups[0]["lr"]]


@case
def training_with_warm_up():
    _, optimizer, trainer = make_training()
    scheduler = create_lr_scheduler_with_warmup(torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9), 0.0, 4, 0.1)
    trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)
    rates = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: rates.append(round(optimizer.param_groups[0]["lr"], 6))
    )
    trainer.run(make_batches(4), max_epochs=3)
    return rates


@case
def training_that_is_resumed():
    with tempfile.TemporaryDirectory() as folder:

        def make(seed, lr):
            model, optimizer, trainer = make_training(seed, lr)
            objects = {"model": model, "optimizer": optimizer, "trainer": trainer}
            saver = DiskSaver(folder, require_empty=False)
            trainer.add_event_handler(Events.EPOCH_COMPLETED, Checkpoint(objects, saver, n_saved=None))
            return objects, trainer

        _, first = make(0, 0.1)
        first.run(make_batches(4), max_epochs=3)
        objects, second = make(1, 0.5)
        Checkpoint.load_objects(objects, torch.load(f"{folder}/checkpoint_8.pt", weights_only=True))
        second.run(make_batches(4), max_epochs=3)
        return [
            names_in(folder), second.state.iteration, objects["optimizer"].param_groups[0]["lr"],
            first.state.output == second.state.output, round(second.state.output, 4),
        ]  # fmt: skip


@case
def training_whose_average_is_evaluated():
    model, _, trainer = make_training()
    average = EMAHandler(model, momentum=0.1)
    average.attach(trainer, name="ema_momentum", event=Events.ITERATION_COMPLETED)
    trainer.run(make_batches(6), max_epochs=2)
    evaluator = create_supervised_evaluator(average.ema_model, {"loss": Loss(CRITERION), "p": Precision(average=True)})
    return rounded(evaluator.run(make_batches(3, 2)).metrics)


@case
def training_that_is_evaluated_between_iterations():
    model, _, trainer = make_training()
    evaluator, seen = create_supervised_evaluator(model, {"accuracy": Accuracy()}), []

    @trainer.on(Events.ITERATION_COMPLETED(every=3))
    def evaluate(engine):
        seen.append([engine.state.iteration, rounded(evaluator.run(make_batches(2, 5)).metrics)])

    trainer.run(make_batches(4), max_epochs=2)
    return [seen, round(trainer.state.output, 4)]


@case
def training_whose_rate_falls_on_a_plateau():
    _, optimizer, trainer = make_training()
    evaluator, losses, rates = Engine(echo), iter([1, 0.95, 0.94, 0.93, 0.5, 0.49]), []
    scheduler = ReduceLROnPlateauScheduler(
        optimizer, "loss", trainer=trainer, mode="min", factor=0.5, patience=1, threshold_mode="rel", threshold=0.1
    )
    evaluator.add_event_handler(Events.COMPLETED, scheduler)

    @trainer.on(Events.EPOCH_COMPLETED)
    def evaluate():
        evaluator.state.metrics["loss"] = next(losses)
        evaluator.run([1])
        rates.append(optimizer.param_groups[0]["lr"])

    trainer.run(make_batches(2), max_epochs=6)
    return rates


@case
def training_through_time():
    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cells, self.head = torch.nn.RNN(2, 3), torch.nn.Linear(3, 1)

        def forward(self, x, hidden=None):
            y, hidden = self.cells(x, hidden)
            return self.head(y), hidden

    torch.manual_seed(0)
    model = Recurrent()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = create_supervised_tbptt_trainer(model, optimizer, torch.nn.functional.mse_loss, tbtt_step=3)
    chunks = []
    trainer.add_event_handler(Tbptt_Events.TIME_ITERATION_COMPLETED, lambda: chunks.append(1))
    trainer.run([(torch.ones(7, 2, 2), torch.ones(7, 2, 1))] * 2)
    return [len(chunks), round(trainer.state.output, 4)]


@case
def training_of_two_networks_against_each_other():
    torch.manual_seed(0)
    generator, critic, loss = torch.nn.Linear(2, 3), torch.nn.Linear(3, 1), torch.nn.BCEWithLogitsLoss()
    optimizers = [torch.optim.Adam(each.parameters(), lr=0.01) for each in (generator, critic)]

    def step(engine, batch):
        real, noise = batch[0], torch.randn(len(batch[0]), 2)
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        optimizers[1].zero_grad()
        critic_loss = loss(critic(real), ones) + loss(critic(generator(noise).detach()), zeros)
        critic_loss.backward()
        optimizers[1].step()
        optimizers[0].zero_grad()
        generator_loss = loss(critic(generator(noise)), ones)
        generator_loss.backward()
        optimizers[0].step()
        return {"critic": critic_loss.item(), "generator": generator_loss.item()}

    trainer = Engine(step)
    for name in ("critic", "generator"):
        RunningAverage(output_transform=lambda output, name=name: output[name]).attach(trainer, name)
    trainer.run(make_batches(6), max_epochs=2)
    return rounded(trainer.state.metrics)


@case
def segmentation_like_metrics():
    matrix = ConfusionMatrix(2, output_transform=lambda output: (output["scores"], output["classes"]))
    engine, model = Engine(lambda engine, batch: {"scores": batch[0], "classes": batch[1]}), make_network()
    matrix.attach(engine, "matrix")
    mIoU(matrix, ignore_index=0).attach(engine, "mean IoU")
    DiceCoefficient(matrix).attach(engine, "Dice")
    engine.run([(model(x).detach(), y) for x, y in make_batches(4)])
    return {name: torch.as_tensor(value).double().round(decimals=4) for name, value in engine.state.metrics.items()}
