"""`ignite.metrics.precision_recall_curve` under the name that it had before it moved."""

from ignite.metrics.precision_recall_curve import *  # noqa: F403  # all of it, and nothing else
from ignite.metrics.precision_recall_curve import __all__ as __all__
