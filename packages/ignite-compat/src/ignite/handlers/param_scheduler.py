"""Schedulers of an optimizer's parameters."""

from ignite.handlers._batch_size import BatchSizeScheduler
from ignite.handlers._combined import ConcatScheduler, ParamGroupScheduler
from ignite.handlers._cyclical import CosineAnnealingScheduler, CyclicalScheduler, LinearCyclicalScheduler
from ignite.handlers._piecewise import PiecewiseLinear
from ignite.handlers._scheduler import BaseParamScheduler, ParamScheduler
from ignite.handlers._torch_scheduler import (
    LRScheduler,
    ReduceLROnPlateauScheduler,
    create_lr_scheduler_with_warmup,
)

__all__ = [
    "BaseParamScheduler",
    "BatchSizeScheduler",
    "ConcatScheduler",
    "CosineAnnealingScheduler",
    "CyclicalScheduler",
    "LRScheduler",
    "LinearCyclicalScheduler",
    "ParamGroupScheduler",
    "ParamScheduler",
    "PiecewiseLinear",
    "ReduceLROnPlateauScheduler",
    "create_lr_scheduler_with_warmup",
]
