"""Supervised training and evaluation: one step for every precision, backend and accumulation."""

from camshaft.supervised.__about__ import __version__
from camshaft.supervised._batch import batch_size, move_to_device, prepare_batch
from camshaft.supervised._errors import BackendMissingError, GraphCaptureError
from camshaft.supervised._factory import create_supervised_evaluator, create_supervised_trainer
from camshaft.supervised._metrics import attach_mean_loss, attach_metrics
from camshaft.supervised._named_steps import (
    supervised_evaluation_step,
    supervised_evaluation_step_amp,
    supervised_training_step,
    supervised_training_step_amp,
    supervised_training_step_apex,
    supervised_training_step_tpu,
    supervised_training_step_xla,
)

__all__ = [
    "BackendMissingError",
    "GraphCaptureError",
    "__version__",
    "attach_mean_loss",
    "attach_metrics",
    "batch_size",
    "create_supervised_evaluator",
    "create_supervised_trainer",
    "move_to_device",
    "prepare_batch",
    "supervised_evaluation_step",
    "supervised_evaluation_step_amp",
    "supervised_training_step",
    "supervised_training_step_amp",
    "supervised_training_step_apex",
    "supervised_training_step_tpu",
    "supervised_training_step_xla",
]
