"""Kernels that give the same bits each time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# cuBLAS gives the same bits each time only with workspaces of a fixed size; read when it is first used.
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
_CUBLAS_FIXED = ":4096:8"


@contextmanager
def deterministic_kernels() -> Iterator[None]:
    """Ask for deterministic kernels within a block, and put every switch back afterwards.

    cuDNN neither tries out kernels nor uses those that vary. Where there is an accelerator, torch
    uses deterministic algorithms where it has them and warns where it has none; stricter settings stay.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    asks = torch.accelerator.is_available() and not algorithms
    workspace = os.environ.get(_CUBLAS)
    cudnn.deterministic, cudnn.benchmark = True, False
    if asks:
        os.environ.setdefault(_CUBLAS, _CUBLAS_FIXED)
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
        if asks:
            torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
            if workspace is None:
                os.environ.pop(_CUBLAS, None)
