"""`ignite.metrics.roc_auc` under the name that it had before it moved."""

from ignite.metrics.roc_auc import *  # noqa: F403  # all of it, and nothing else
from ignite.metrics.roc_auc import __all__ as __all__
