"""`ignite.metrics.cohen_kappa` under the name that it had before it moved."""

from ignite.metrics.cohen_kappa import *  # noqa: F403  # all of it, and nothing else
from ignite.metrics.cohen_kappa import __all__ as __all__
