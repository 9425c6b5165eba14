"""Four scripts in the manner of the documentation."""

from __future__ import annotations

import os
import tempfile

import torch

from ignite.engine import Engine, Events
from ignite.handlers import (
    BasicTimeProfiler,
    Checkpoint,
    CosineAnnealingScheduler,
    EarlyStopping,
    EMAHandler,
    EpochOutputStore,
    FastaiLRFinder,
    HandlersTimeProfiler,
    ModelCheckpoint,
    TensorboardLogger,
    create_lr_scheduler_with_warmup,
    global_step_from_engine,
)
from ignite.handlers.tensorboard_logger import (
    WeightsScalarHandler,
)
from reference_cases.tools import case, logged_scalars, make_batches, make_network, make_trainer


@case
def script_tensorboard_classification():
    """Train a classifier on blobs, validate each epoch, log both for TensorBoard, keep the best two models."""
    model = make_network(3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    trainer = make_trainer(model, optimizer)

    def validate(engine, batch):
        model.eval()
        with torch.no_grad():
            return model(batch[0]).argmax(1), batch[1]

    evaluator, validation = Engine(validate), make_batches(5, seed=9)

    @evaluator.on(Events.EPOCH_STARTED)
    def begin(engine):
        engine.state.right = engine.state.total = 0

    @evaluator.on(Events.ITERATION_COMPLETED)
    def count(engine):
        predicted, target = engine.state.output
        engine.state.right += int((predicted == target).sum())
        engine.state.total += len(target)

    @evaluator.on(Events.EPOCH_COMPLETED)
    def finish(engine):
        engine.state.metrics["accuracy"] = engine.state.right / engine.state.total
        engine.state.metrics["norm"] = model[3].weight.norm().item()

    @trainer.on(Events.EPOCH_COMPLETED)
    def run_validation():
        evaluator.run(validation)

    with tempfile.TemporaryDirectory() as folder, TensorboardLogger(log_dir=f"{folder}/logs") as logger:
        logger.attach_output_handler(
            trainer, Events.ITERATION_COMPLETED(every=5), "training", output_transform=lambda loss: {"batchloss": loss}
        )
        logger.attach_opt_params_handler(trainer, Events.ITERATION_COMPLETED(every=10), optimizer=optimizer)
        logger.attach_output_handler(
            evaluator, Events.EPOCH_COMPLETED, "validation", metric_names=["accuracy"],
            global_step_transform=global_step_from_engine(trainer),
        )  # fmt: skip
        logger.attach(trainer, WeightsScalarHandler(model, whitelist=["3"]), Events.EPOCH_COMPLETED)
        best = ModelCheckpoint(
            f"{folder}/models", n_saved=2, filename_prefix="best", score_name="norm",
            score_function=Checkpoint.get_default_score_fn("norm"),
            global_step_transform=global_step_from_engine(trainer),
        )  # fmt: skip
        evaluator.add_event_handler(Events.COMPLETED, best, {"model": model})
        trainer.run(make_batches(12), max_epochs=4)
        logger.writer.flush()
        kept = sorted(os.listdir(f"{folder}/models"))  # noqa: PTH208
        return logged_scalars(f"{folder}/logs"), kept, best.last_checkpoint


@case
def script_lr_finder():
    """Look for a learning rate, apply it, then train with it."""
    model = make_network(5)
    optimizer = torch.optim.SGD(model.parameters(), lr=3e-4)
    trainer, finder = make_trainer(model, optimizer), FastaiLRFinder()
    to_save = {"model": model, "optimizer": optimizer}
    with finder.attach(trainer, to_save, num_iter=60, end_lr=30.0, diverge_th=1.5) as trainer_with_finder:
        trainer_with_finder.run(make_batches(12))
    finder.apply_suggested_lr(optimizer)
    losses = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
    trainer.run(make_batches(12), max_epochs=2)
    return finder.get_results(), finder.lr_suggestion(), losses, trainer.state.iteration


@case
def script_profilers():
    """Profile a training with a validation in it; only what does not depend on the machine is returned."""
    model = make_network(6)
    trainer = make_trainer(model, torch.optim.SGD(model.parameters(), lr=0.1))
    evaluator = Engine(lambda engine, batch: model(batch[0]))
    basic, detailed = BasicTimeProfiler(), HandlersTimeProfiler()
    basic.attach(trainer)
    detailed.attach(trainer)

    @trainer.on(Events.EPOCH_COMPLETED)
    def log_validation_results(engine):
        evaluator.run(make_batches(2))

    @trainer.on(Events.ITERATION_COMPLETED(every=3))
    def log_training_loss(engine):
        pass

    trainer.run(make_batches(6), max_epochs=2)
    stats, rows = basic.get_results(), detailed.get_results()
    basic.print_results(stats)
    detailed.print_results(rows)
    # Those of the other profiler have names of their own.
    names = sorted(row[0].rsplit(".", 1)[-1] for row in rows)
    names = [name for name in names if not name.startswith("_")]
    return names, sorted(stats["processing_stats"]), stats["processing_stats"]["total"] > 0, trainer.state.output


@case
def script_text_with_warmup_and_ema():
    """Classify bags of letters, with a warm-up into a cosine, an average of the weights, and early stopping."""
    words = ["loops", "events", "epochs", "batches", "handlers", "engines", "metrics", "states", "tensors", "schedules"]
    generator = torch.Generator().manual_seed(4)
    texts = [" ".join(words[int(n)] for n in torch.randint(10, (6,), generator=generator)) for _ in range(64)]
    data = [
        (
            torch.tensor([[ord(letter) - 97 for letter in text.replace(" ", "")[:24]] for text in texts[k : k + 8]]),
            torch.tensor([text.count("s") % 2 for text in texts[k : k + 8]]),
        )
        for k in range(0, 64, 8)
    ]
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Embedding(26, 8), torch.nn.Flatten(), torch.nn.Linear(8 * 24, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    trainer, rates, losses = make_trainer(model, optimizer), [], []
    cosine = CosineAnnealingScheduler(optimizer, "lr", 0.02, 0.0, cycle_size=40)
    scheduler = create_lr_scheduler_with_warmup(
        cosine, warmup_start_value=0.0, warmup_duration=5, warmup_end_value=0.02
    )
    trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)
    average = EMAHandler(model, momentum=0.1, momentum_warmup=0.3, warmup_iters=10)
    average.attach(trainer)

    def validate(engine, batch):
        with torch.no_grad():
            return torch.nn.functional.cross_entropy(average.ema_model(batch[0]), batch[1]).item()

    evaluator, outputs = Engine(validate), EpochOutputStore()
    outputs.attach(evaluator)
    evaluator.add_event_handler(
        Events.COMPLETED, EarlyStopping(2, lambda engine: -sum(outputs.data), trainer, min_delta=0.05)
    )
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(data[:3]) and None)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: rates.append(optimizer.param_groups[0]["lr"]))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: losses.append(e.state.output))
    trainer.run(data, max_epochs=8)
    return rates, losses, outputs.data, trainer.state.iteration, trainer.state.ema_momentum
