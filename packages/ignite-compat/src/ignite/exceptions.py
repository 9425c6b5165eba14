"""The exception of metrics."""

__all__ = ["NotComputableError"]


class NotComputableError(RuntimeError):
    """A metric is asked for a result that it does not have yet."""
