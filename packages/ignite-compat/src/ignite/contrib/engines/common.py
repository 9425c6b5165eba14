"""A training with all that usually goes with it, in one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DistributedSampler

import ignite.distributed as idist
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping, ProgressBar, TerminateOnNan, global_step_from_engine
from ignite.handlers.logger_utils import (
    setup_clearml_logging,
    setup_mlflow_logging,
    setup_neptune_logging,
    setup_plx_logging,
    setup_tb_logging,
    setup_trains_logging,
    setup_visdom_logging,
    setup_wandb_logging,
)
from ignite.metrics import GpuInfo, RunningAverage, RunningBatchWise

__all__ = [
    "add_early_stopping_by_val_score",
    "empty_cuda_cache",
    "gen_save_best_models_by_val_score",
    "get_default_score_fn",
    "save_best_model_by_val_score",
    "setup_any_logging",
    "setup_clearml_logging",
    "setup_common_distrib_training_handlers",
    "setup_common_training_handlers",
    "setup_mlflow_logging",
    "setup_neptune_logging",
    "setup_plx_logging",
    "setup_tb_logging",
    "setup_trains_logging",
    "setup_visdom_logging",
    "setup_wandb_logging",
]

AnyEngine = Engine[Any, Any]

get_default_score_fn = Checkpoint.get_default_score_fn


def setup_common_training_handlers(  # noqa: PLR0913, PLR0917  # the documented arguments
    trainer: AnyEngine,
    train_sampler: DistributedSampler[Any] | None = None,
    to_save: Mapping[str, Any] | None = None,
    save_every_iters: int = 1000,
    output_path: str | None = None,
    lr_scheduler: Any = None,
    with_gpu_stats: bool = False,
    output_names: Iterable[str] | None = None,
    with_pbars: bool = True,
    with_pbar_on_iters: bool = True,
    log_every_iters: int = 100,
    stop_on_nan: bool = True,
    clear_cuda_cache: bool = True,
    save_handler: Any = None,
    **kwargs: Any,
) -> None:
    """Attach the usual handlers to a trainer: stop on NaN, schedule, checkpoints, running averages, bars.

    In a group of several processes the sampler is told each epoch, and only rank 0 shows bars.

    Args:
        trainer: its outputs are mappings, sequences or single values.
        train_sampler: shares the dataset out between the processes.
        to_save: objects that a checkpoint holds, by name; None for no checkpoints.
        save_every_iters: iterations from one checkpoint to the next.
        output_path: where they are written; excludes `save_handler`.
        lr_scheduler: one of torch's, which steps after each iteration, or one of `ignite.handlers`,
            which sets the value before it.
        with_gpu_stats: put memory and use of the GPUs into the metrics; needs pynvml.
        output_names: names for the entries of the output; each gets a running average in
            `trainer.state.metrics`.
        with_pbars: show a bar over the epochs.
        with_pbar_on_iters: and one over the iterations.
        log_every_iters: iterations from one update of that bar to the next.
        stop_on_nan: terminate when an output is NaN or infinite.
        clear_cuda_cache: empty torch's cache of GPU memory after each epoch.
        save_handler: what writes checkpoints, as :class:`ignite.handlers.Checkpoint` takes it.
        **kwargs: more arguments of the checkpoint handler.

    Raises:
        TypeError: in a group, `train_sampler` is not a `DistributedSampler`.
        ValueError: `to_save` without a place, or with two.
        ModuleNotFoundError: `with_gpu_stats` without pynvml.
    """
    if idist.get_world_size() > 1:
        _follow_epochs(trainer, train_sampler)
    elif isinstance(train_sampler, DistributedSampler):
        warnings.warn("`train_sampler` has no effect: this process is not in a group of several", stacklevel=2)
    if stop_on_nan:
        trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    if lr_scheduler is not None:
        _attach_scheduler(trainer, lr_scheduler)
    if to_save is not None:
        _attach_checkpoints(trainer, to_save, save_every_iters, output_path, save_handler, kwargs)
    if with_gpu_stats:
        GpuInfo().attach(trainer, name="gpu", event_name=Events.ITERATION_COMPLETED(every=log_every_iters))
    if clear_cuda_cache and torch.cuda.is_available():
        trainer.add_event_handler(Events.EPOCH_COMPLETED, empty_cuda_cache)
    for index, name in enumerate(output_names or ()):
        average = RunningAverage(output_transform=partial(_entry, index=index, name=name))
        average.attach(trainer, name, usage=RunningBatchWise())
    if with_pbars and idist.get_rank() == 0:
        _attach_bars(trainer, with_pbar_on_iters, log_every_iters)


def setup_common_distrib_training_handlers(trainer: AnyEngine, *args: Any, **kwargs: Any) -> None:
    """Attach the usual handlers; see :func:`setup_common_training_handlers`, which takes the same arguments."""
    setup_common_training_handlers(trainer, *args, **kwargs)


def _follow_epochs(trainer: AnyEngine, sampler: Any) -> None:
    if sampler is None:
        return
    if not isinstance(sampler, DistributedSampler):
        raise TypeError(f"`train_sampler` must be a DistributedSampler with `set_epoch`, got {type(sampler)}")

    @trainer.on(Events.EPOCH_STARTED)
    def set_epoch(engine: AnyEngine) -> None:
        sampler.set_epoch(engine.state.epoch - 1)


def _attach_scheduler(trainer: AnyEngine, scheduler: Any) -> None:
    if isinstance(scheduler, LRScheduler):
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: scheduler.step())
    else:
        trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)


def _attach_checkpoints(
    trainer: AnyEngine,
    to_save: Mapping[str, Any],
    every: int,
    output_path: str | None,
    save_handler: Any,
    options: Mapping[str, Any],
) -> None:
    if output_path is None and save_handler is None:
        raise ValueError("`to_save` needs `output_path` or `save_handler`: where checkpoints go")
    if output_path is not None and save_handler is not None:
        raise ValueError("`output_path` and `save_handler` exclude each other, got both")
    if output_path is not None:
        save_handler = DiskSaver(dirname=output_path, require_empty=False)
    checkpoint = Checkpoint(to_save, save_handler, filename_prefix="training", **options)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=every), checkpoint)


def _attach_bars(trainer: AnyEngine, on_iterations: bool, every: int) -> None:
    if on_iterations:
        bar = ProgressBar(persist=False)
        bar.attach(trainer, metric_names="all", event_name=Events.ITERATION_COMPLETED(every=every))
    epochs = ProgressBar(persist=True, bar_format="")
    epochs.attach(trainer, event_name=Events.EPOCH_STARTED, closing_event_name=Events.COMPLETED)


def _entry(output: Any, *, index: int, name: str) -> Any:
    if isinstance(output, Mapping):
        return output[name]
    if isinstance(output, list | tuple):
        return output[index]
    if isinstance(output, torch.Tensor | int | float):
        return output
    raise TypeError(f"the trainer's output must be a mapping, a sequence or a number, got {type(output)}")


def empty_cuda_cache(_: AnyEngine) -> None:
    """Give the GPU memory that torch keeps for later back, and collect garbage first."""
    import gc

    gc.collect()
    torch.cuda.empty_cache()


def gen_save_best_models_by_val_score(
    save_handler: Any,
    evaluator: AnyEngine,
    models: nn.Module | Mapping[str, nn.Module],
    metric_name: str,
    n_saved: int = 3,
    trainer: AnyEngine | None = None,
    tag: str = "val",
    score_sign: float = 1.0,
    **kwargs: Any,
) -> Checkpoint:
    """Save the best models by a metric of an evaluator, after each of its runs.

    Args:
        save_handler: what writes them, as :class:`ignite.handlers.Checkpoint` takes it.
        evaluator: gives the score, `evaluator.state.metrics[metric_name]`.
        models: one, or several by name.
        metric_name: name of the metric.
        n_saved: how many are kept.
        trainer: its epoch comes into the file name.
        tag: comes before the metric's name in the file name.
        score_sign: 1.0, or -1.0 where less is better.
        **kwargs: more arguments of the checkpoint handler.

    Returns:
        the handler.
    """
    to_save = models if isinstance(models, Mapping) else {"model": models}
    step: Callable[..., int] | None = None if trainer is None else global_step_from_engine(trainer)
    handler = Checkpoint(
        to_save,
        save_handler,
        filename_prefix="best",
        n_saved=n_saved,
        global_step_transform=step,
        score_function=Checkpoint.get_default_score_fn(metric_name, score_sign),
        score_name=f"{tag}_{metric_name.lower()}",
        **kwargs,
    )
    evaluator.add_event_handler(Events.COMPLETED, handler)
    return handler


def save_best_model_by_val_score(
    output_path: str,
    evaluator: AnyEngine,
    model: nn.Module,
    metric_name: str,
    n_saved: int = 3,
    trainer: AnyEngine | None = None,
    tag: str = "val",
    score_sign: float = 1.0,
    **kwargs: Any,
) -> Checkpoint:
    """Save the best models on disk; see :func:`gen_save_best_models_by_val_score`.

    Args:
        output_path: the folder.
        evaluator, model, metric_name, n_saved, trainer, tag, score_sign: as there.
        **kwargs: more arguments of the checkpoint handler.

    Returns:
        the handler.
    """
    saver = DiskSaver(dirname=output_path, require_empty=False)
    return gen_save_best_models_by_val_score(
        saver, evaluator, model, metric_name, n_saved, trainer, tag, score_sign, **kwargs
    )


def add_early_stopping_by_val_score(
    patience: int, evaluator: AnyEngine, trainer: AnyEngine, metric_name: str, score_sign: float = 1.0
) -> EarlyStopping:
    """Stop a training when a metric of an evaluator no longer gets better.

    Args:
        patience: runs of the evaluator without a gain.
        evaluator: gives the score.
        trainer: the engine to stop.
        metric_name: name of the metric.
        score_sign: 1.0, or -1.0 where less is better.

    Returns:
        the handler.
    """
    score = Checkpoint.get_default_score_fn(metric_name, score_sign)
    handler = EarlyStopping(patience=patience, score_function=score, trainer=trainer)
    evaluator.add_event_handler(Events.COMPLETED, handler)
    return handler


def setup_any_logging(*args: Any, **kwargs: Any) -> None:
    """Refuse: there is a function for each logger.

    Raises:
        DeprecationWarning: always, as in Ignite.
    """
    raise DeprecationWarning("use setup_tb_logging, setup_mlflow_logging, setup_wandb_logging, ... instead")
