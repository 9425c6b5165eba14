from __future__ import annotations

import os

import pytest
import torch

from camshaft.deterministic._random._kernels import deterministic_kernels


def switches():
    cudnn = torch.backends.cudnn
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    return cudnn.deterministic, cudnn.benchmark, *algorithms, os.environ.get("CUBLAS_WORKSPACE_CONFIG")


@pytest.mark.parametrize("before", [(False, True), (True, False), (False, False)])
def test_cudnn_is_deterministic_in_the_block_and_put_back(before):
    cudnn = torch.backends.cudnn
    kept = cudnn.deterministic, cudnn.benchmark
    try:
        cudnn.deterministic, cudnn.benchmark = before
        outside = switches()
        with deterministic_kernels():
            assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
        assert outside == switches()
        with pytest.raises(KeyError), deterministic_kernels():
            raise KeyError
        assert outside == switches()
    finally:
        cudnn.deterministic, cudnn.benchmark = kept


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs an accelerator")
def test_deterministic_algorithms_are_asked_for_with_an_accelerator():
    outside = switches()
    with deterministic_kernels():
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert outside == switches()


def test_a_stricter_setting_stays():
    torch.use_deterministic_algorithms(True)
    try:
        with deterministic_kernels():
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
