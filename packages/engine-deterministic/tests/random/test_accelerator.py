from __future__ import annotations

import pytest
import torch

from camshaft.deterministic import keep_random_state, manual_seed
from camshaft.deterministic._random._accelerator import (
    accelerator_module,
    accelerator_name,
    missing_accelerators,
    read_accelerators,
    seed_accelerators,
    write_accelerators,
)

needs_accelerator = pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs an accelerator")
without_accelerator = pytest.mark.skipif(torch.accelerator.is_available(), reason="needs a machine without accelerator")


@without_accelerator
def test_without_an_accelerator_there_is_nothing_to_save():
    assert accelerator_module() is None
    assert accelerator_name() == "none"
    assert read_accelerators() == {}
    seed_accelerators(1)
    write_accelerators({})


@without_accelerator
@pytest.mark.parametrize("name", ["cuda:0", "cuda:7", "xla:0", "nonsense:0"])
def test_devices_that_are_not_there_are_named(name):
    assert missing_accelerators({name: torch.zeros(16, dtype=torch.uint8)}) == [name]


@needs_accelerator
def test_the_generator_of_a_device_in_use_is_saved_and_put_back():
    device = torch.accelerator.current_accelerator()
    torch.rand(1, device=device)
    saved = read_accelerators()
    assert saved
    assert missing_accelerators(saved) == []
    expected = torch.rand(3, device=device)
    write_accelerators(saved)
    assert torch.equal(expected, torch.rand(3, device=device))
    assert accelerator_name().startswith(device.type)


@needs_accelerator
def test_keeping_the_random_state_covers_the_device():
    device = torch.accelerator.current_accelerator()
    manual_seed(1)
    expected = torch.rand(3, device=device)
    manual_seed(1)
    with keep_random_state():
        manual_seed(2)
        torch.rand(3, device=device)
    assert torch.equal(expected, torch.rand(3, device=device))


@needs_accelerator
def test_seeding_reaches_a_device_in_use():
    device = torch.accelerator.current_accelerator()
    torch.rand(1, device=device)
    seed_accelerators(5)
    expected = torch.rand(3, device=device)
    seed_accelerators(5)
    assert torch.equal(expected, torch.rand(3, device=device))
