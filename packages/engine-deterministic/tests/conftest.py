from __future__ import annotations

import warnings

import pytest
import torch


@pytest.fixture(autouse=True)
def allow_more_workers_than_cores():
    # Torch's own remark about small machines; the tests start two or three workers on purpose.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        yield


@pytest.fixture(autouse=True)
def start_anywhere():
    # No test may depend on where the one before has left the generators.
    torch.seed()
