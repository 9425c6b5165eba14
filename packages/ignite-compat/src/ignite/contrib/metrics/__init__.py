"""Metrics under the names that they had before they moved to `ignite.metrics`."""

from ignite.metrics import ROC_AUC, AveragePrecision, CohenKappa, GpuInfo, PrecisionRecallCurve, RocCurve

__all__ = ["ROC_AUC", "AveragePrecision", "CohenKappa", "GpuInfo", "PrecisionRecallCurve", "RocCurve"]
