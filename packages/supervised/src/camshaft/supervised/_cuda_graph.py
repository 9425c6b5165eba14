"""CUDA graphs as torch has them: kernels on one stream, launched by Python or recorded and launched all at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from camshaft.engine import ArgumentError
from camshaft.supervised._errors import GraphCaptureError
from camshaft.supervised._precision import is_scaling

if TYPE_CHECKING:
    from torch.amp.grad_scaler import GradScaler

    from camshaft.supervised._backends import BackendName
    from camshaft.supervised._forward import Compile

OWN_GRAPHS = ("reduce-overhead", "max-autotune")  # modes in which torch.compile makes graphs itself
Result = TypeVar("Result")


class Recorder(Protocol):
    """Runs a function, or records what it does on the device.

    Attributes:
        is_recording: whether a function is being recorded.
    """

    is_recording: bool

    def run(self, function: Callable[[], Result]) -> Result:
        """Call the function."""

    def record(self, function: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
        """Call the function without computing anything; return what computes it again and again, and its result."""


class CudaRecorder:
    """Runs and records on a stream of its own.

    Everything runs on this stream, recorded or not: torch keeps with each parameter on which stream its gradient is
    made, and libraries keep their work memory by stream. The streams wait for each other around each call, so to
    everybody else it looks as if the current stream did the work.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.is_recording = False
        self._device = device
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._nothing = torch.zeros((), device=device)
        self._pool = torch.cuda.graph_pool_handle()  # all graphs of one step share their memory

    def run(self, function: Callable[[], Result]) -> Result:
        """Call the function on the stream."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = function()
        current.wait_stream(self._stream)
        return result

    def record(self, function: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
        """Record what the function launches; nothing is computed.

        Returns:
            What launches all of it again on the current stream, and the function's result: tensors that each of these
            launches fills.

        Raises:
            GraphCaptureError: the function did something that cannot be recorded.
        """
        graph = torch.cuda.CUDAGraph()
        failure: Exception | None = None
        result: list[Result] = []
        # "thread_local": what other threads do meanwhile, pinning batches or writing a checkpoint, does not end it.
        record = torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local")
        self.is_recording = True
        forget_workspaces()
        try:
            # The stream on the outside, too: where a recording breaks off, torch does not put the current one back.
            with torch.cuda.device(self._device), torch.cuda.stream(self._stream), record, waiting_refused():
                try:
                    result.append(function())
                except Exception as error:
                    failure = error  # the end of the recording then raises an error of its own
                    raise
        except Exception as error:  # noqa: BLE001  # raised again, as itself or as what it means
            cause = failure or error
            self._free_generators(cause)
            if isinstance(cause, RuntimeError) and not isinstance(cause, torch.cuda.OutOfMemoryError):
                raise GraphCaptureError(cause) from cause
            raise cause from None
        finally:
            self.is_recording = False
            forget_workspaces()
        return graph.replay, result[0]

    def _free_generators(self, cause: Exception) -> None:
        """Let the GPU's random generator work again: a recording that broke off leaves it waiting for the end."""
        try:
            with torch.cuda.device(self._device), torch.cuda.graph(torch.cuda.CUDAGraph(), stream=self._stream):
                self._nothing.zero_()
        except RuntimeError as broken:
            cause.add_note(f"The GPU cannot be used any more in this process: {broken}")


@contextmanager
def waiting_refused() -> Iterator[None]:
    """Let what waits for the GPU raise an error in this block, before it breaks a recording off."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says once that it does not notice everything
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def forget_workspaces() -> None:
    """Let cuBLAS make new work memory at its next call.

    It keeps that memory from call to call, and anybody in the process may free it. So a graph must not have any that
    was there before, and what comes after must not use the graph's.
    """
    torch._C._cuda_clearCublasWorkspaces()  # noqa: SLF001  # torch has no public name for it


def require_graphable(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    backend: BackendName,
    scaler: GradScaler | None,
    compile: Compile,  # noqa: A002  # the factories' name
) -> torch.device:
    """Return the GPU of the model, after refusing what is known not to work as a CUDA graph.

    Args:
        model, optimizer, scaler, compile: as the factory takes them.
        device: what computes.
        backend: what `select_backend` returned.

    Raises:
        ArgumentError: the text names the argument that does not go with `cuda_graph`.
    """
    if device.type != "cuda":
        raise ArgumentError(
            f"`cuda_graph` must be False unless the step runs on a CUDA device, got '{device}'; leave it out"
        )
    if backend != "plain":
        raise ArgumentError(f"`cuda_graph` must be False with {backend}, got True; use amp_mode None or 'amp'")
    if isinstance(compile, Mapping) and (compile.get("mode") in OWN_GRAPHS or compile.get("options")):
        raise ArgumentError(f"`compile` must leave graphs to `cuda_graph`, got {dict(compile)!r}; drop one of the two")
    device = next((parameter.device for parameter in model.parameters()), device)  # with the number of the GPU
    for parameter in model.parameters():
        if hasattr(parameter, "placements") or parameter.device != device or device.type != "cuda":
            raise ArgumentError(
                f"`model` must be whole and on one CUDA device for `cuda_graph`, got a {type(parameter).__name__} on "
                f"'{parameter.device}'; move the model there, or leave `cuda_graph` out"
            )
    if isinstance(model, torch.nn.parallel.DistributedDataParallel | torch.nn.DataParallel):
        raise ArgumentError(
            f"`cuda_graph` must be False for a model that is replicated, got a {type(model).__name__}: its exchange of "
            "gradients is not captured; leave `cuda_graph` out"
        )
    _require_capturable(optimizer, is_scaling(scaler))
    return device


def _require_capturable(optimizer: torch.optim.Optimizer, is_scaled: bool) -> None:
    """Refuse an optimizer that waits for the GPU, or counts its steps in Python."""
    name = type(optimizer).__name__
    for group in optimizer.param_groups:
        if not group.get("capturable", group.get("fused")):
            option = "capturable=True" if "capturable" in group else "fused=True"
            known = "capturable" in group or "fused" in group
            remedy = f"make it with {name}(..., {option})" if known else "use one of torch.optim that can be captured"
            raise ArgumentError(f"`optimizer` must be able to step in a CUDA graph, got {name}; {remedy}")
        if is_scaled and not group.get("fused"):
            raise ArgumentError(
                f"`optimizer` must be fused for `cuda_graph` with a scaler, got {name} without fused=True; "
                "use SGD, Adam or AdamW with fused=True, or bfloat16 without a scaler"
            )
    # It would warn that it can be captured and is not; the first iterations are not.
    vars(optimizer)["_warned_capturable_if_run_uncaptured"] = True
