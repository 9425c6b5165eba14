from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from camshaft.engine import ArgumentTypeError, Engine
from camshaft.handlers import BaseSaveHandler, Checkpoint, DiskSaver
from camshaft.handlers.checkpoint._sharded import require_whole_tensors

torch = pytest.importorskip("torch")
distributed = pytest.importorskip("torch.distributed.tensor")
if not torch.distributed.is_available():
    pytest.skip("this torch cannot work with several processes", allow_module_level=True)


def shard(mesh: Any, tensor: Any) -> Any:
    return distributed.distribute_tensor(tensor, mesh, [distributed.Shard(0)])


def sharded_model(mesh: Any) -> Any:
    """A model as FSDP2 leaves it: its parameters are DTensors."""
    from torch.distributed.fsdp import fully_shard

    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    fully_shard(model, mesh=mesh)
    return model


class Holder:
    """Has any state."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


def engine() -> Engine[Any, Any]:
    return Engine(lambda engine, batch: None)


def test_a_sharded_model_is_refused_at_construction(mesh: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match=r"a DTensor at \['model'\]\['0\.weight'\].*distributed\.checkpoint"):
        Checkpoint({"model": sharded_model(mesh)}, tmp_path / "checkpoints")

    assert not (tmp_path / "checkpoints").exists()


def test_an_optimizer_of_sharded_parameters_is_refused_at_construction(mesh: Any, tmp_path: Path) -> None:
    optimizer = torch.optim.SGD(sharded_model(mesh).parameters(), lr=0.1)

    with pytest.raises(ArgumentTypeError, match=r"a DTensor at \['all'\]\['optimizer'\]"):
        Checkpoint({"all": {"optimizer": optimizer}}, tmp_path / "checkpoints")


def test_a_model_that_is_sharded_later_is_refused_at_the_save(mesh: Any, tmp_path: Path) -> None:
    from torch.distributed.fsdp import fully_shard

    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    handler = Checkpoint({"model": model}, tmp_path / "checkpoints", n_saved=1)
    handler(engine())
    fully_shard(model, mesh=mesh)
    trainer = engine()
    trainer.state.iteration = 5

    with pytest.raises(ArgumentTypeError, match="DTensor"):
        handler(trainer)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["model_0.pt"]
    assert handler.last_checkpoint == tmp_path / "checkpoints" / "model_0.pt"


NESTS: dict[str, Callable[[Any], Any]] = {
    "bare": lambda tensor: tensor,
    "list": lambda tensor: {"a": [1, (tensor,)]},
    "deep": lambda tensor: {"deep": {"deeper": [{"x": tensor}]}},
}


@pytest.mark.parametrize("nest", NESTS)
def test_a_sharded_tensor_anywhere_in_a_state_is_refused_before_anything_is_written(
    mesh: Any, tmp_path: Path, nest: str
) -> None:
    state = NESTS[nest](shard(mesh, torch.ones(4)))
    handler = Checkpoint({"holder": Holder(state), "other": Holder(1)}, tmp_path / "checkpoints")

    with pytest.raises(ArgumentTypeError, match=r"a DTensor at \['holder'\]"):
        handler(engine())
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert handler.last_checkpoint is None


def test_a_saver_that_is_called_by_hand_refuses_them_too(mesh: Any, tmp_path: Path) -> None:
    saver = DiskSaver(tmp_path / "checkpoints")

    with pytest.raises(ArgumentTypeError, match="DTensor"):
        saver({"weight": shard(mesh, torch.ones(4))}, "model.pt")
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_save_handler_of_the_users_own_never_sees_them(mesh: Any) -> None:
    class Seen(BaseSaveHandler):
        calls = 0

        def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
            self.calls += 1

        def remove(self, filename: str) -> None:
            self.calls += 1

    handler = Seen()
    with pytest.raises(ArgumentTypeError, match="DTensor"):
        Checkpoint({"holder": Holder(shard(mesh, torch.ones(4)))}, handler)(engine())
    assert handler.calls == 0


@pytest.mark.filterwarnings("ignore:Please use DTensor:FutureWarning")
def test_the_older_kind_is_refused_too(mesh: Any, tmp_path: Path) -> None:
    sharded_tensor = pytest.importorskip("torch.distributed._shard.sharded_tensor")
    spec = torch.distributed._shard.sharding_spec.ChunkShardingSpec(dim=0, placements=["rank:0/cpu"])
    tensor = sharded_tensor.zeros(spec, 4)

    with pytest.raises(ArgumentTypeError, match="ShardedTensor"):
        Checkpoint({"holder": Holder({"weight": tensor})}, tmp_path / "checkpoints")(engine())


def test_gathered_states_are_saved(mesh: Any, tmp_path: Path) -> None:
    weight = shard(mesh, torch.ones(4)).full_tensor()
    handler = Checkpoint({"holder": Holder({"weight": weight})}, tmp_path / "checkpoints")
    handler(engine())

    assert handler.last_checkpoint is not None


def test_a_state_that_holds_itself_is_looked_through_once() -> None:
    state: dict[str, Any] = {"weights": [1.0]}
    state["itself"] = state
    require_whole_tensors(state)

    assert state["itself"] is state  # looked through, and left as it was
