"""`ignite.metrics.precision_recall_curve` under the name that it had before it moved."""

from ignite.metrics.precision_recall_curve import PrecisionRecallCurve

__all__ = ["PrecisionRecallCurve"]
