"""`ignite.metrics.cohen_kappa` under the name that it had before it moved."""

from ignite.metrics.cohen_kappa import CohenKappa

__all__ = ["CohenKappa"]
