from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from camshaft.handlers import DiskSaver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


# Programs, which import torch: --doctest-modules would import it too.
collect_ignore = ["exits.py", "interrupt_saves.py", "kill_saves.py"]


@pytest.fixture
def content() -> Any:
    """A small payload with everything that states are made of."""
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    return {
        "model": {"weight": torch.rand(5, 3, generator=generator), "empty": torch.zeros(0)},
        "trainer": {"iteration": 12, "epoch_length": None, "name": "é", "losses": [0.5, 1.5], "done": True},
    }


@pytest.fixture
def own_file(tmp_path: Path, content: Any) -> Path:
    """A file that we wrote."""
    DiskSaver(tmp_path / "own")(content, "own.pt")
    return tmp_path / "own" / "own.pt"


@pytest.fixture
def plain_file(tmp_path: Path, content: Any) -> Path:
    """A file that plain `torch.save` wrote."""
    import torch

    torch.save(content, tmp_path / "plain.pt")
    return tmp_path / "plain.pt"


@pytest.fixture
def same() -> Callable[[Any, Any], bool]:
    """Whether two nested payloads are bitwise the same."""
    torch = pytest.importorskip("torch")

    def is_same(one: Any, two: Any) -> bool:
        if type(one) is not type(two):
            return False
        if isinstance(one, torch.Tensor):
            return bool(one.dtype == two.dtype and torch.equal(one.nan_to_num(), two.nan_to_num()))
        if isinstance(one, dict):
            return list(one) == list(two) and all(is_same(one[key], two[key]) for key in one)
        if isinstance(one, list | tuple):
            return len(one) == len(two) and all(map(is_same, one, two))
        return bool(one == two)

    return is_same


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Any]:
    """The only device of a group of one process."""
    import torch.distributed

    rendezvous = tmp_path / "rendezvous"
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=0, world_size=1)
    yield torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()
