"""`ignite.metrics.average_precision` under the name that it had before it moved."""

from ignite.metrics.average_precision import *  # noqa: F403  # all of it, and nothing else
from ignite.metrics.average_precision import __all__ as __all__
