"""The errors of this package; all others are those of `camshaft.engine`."""

from __future__ import annotations

from camshaft.engine import EngineError


class BackendMissingError(EngineError, ModuleNotFoundError, RuntimeError):
    """Something that was asked for is not installed, or not in a form that can be used.

    Attributes:
        extra: the extra of the distribution that brings it, or documents how to get it.

    Args:
        extra: as the attribute.
        text: what was asked for, and what is missing.

    Examples:
        >>> error = BackendMissingError("xla", "`device` 'xla' needs torch_xla, which is not installed")
        >>> print(error)
        `device` 'xla' needs torch_xla, which is not installed; see the extra camshaft-supervised[xla]
    """

    def __init__(self, extra: str, text: str) -> None:
        super().__init__(f"{text}; see the extra camshaft-supervised[{extra}]")
        self.extra = extra


class GraphCaptureError(EngineError, RuntimeError):
    """A training step could not be captured as a CUDA graph.

    Args:
        cause: what torch said.

    Examples:
        >>> str(GraphCaptureError(RuntimeError("operation not permitted when stream is capturing")))[:75]
        '`cuda_graph` could not capture the step: operation not permitted when strea'
    """

    def __init__(self, cause: Exception) -> None:
        reason = str(cause).strip().split("\n", 1)[0].rstrip(".")
        super().__init__(
            f"`cuda_graph` could not capture the step: {reason}. Nothing in the model, the loss function and the "
            "optimizer may wait for the GPU (`.item()`, printing a tensor, indexing with a mask) or use tensors of the "
            "CPU; change that, or leave `cuda_graph` out"
        )
