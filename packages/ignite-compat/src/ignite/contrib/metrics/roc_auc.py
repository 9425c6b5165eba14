"""`ignite.metrics.roc_auc` under the name that it had before it moved."""

from ignite.metrics.roc_auc import (
    ROC_AUC,
    RocCurve,
)

__all__ = [
    "ROC_AUC",
    "RocCurve",
]
