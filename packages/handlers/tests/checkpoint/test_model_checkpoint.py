from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, ModelCheckpoint

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from pathlib import Path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_objects_are_given_when_it_is_attached(tmp_path: Path) -> None:
    trainer = Engine(lambda engine, batch: None)
    handler = ModelCheckpoint(tmp_path, "myprefix", n_saved=2)
    model = torch.nn.Linear(3, 3)
    trainer.add_event_handler(Events.EPOCH_COMPLETED(every=2), handler, {"mymodel": model})
    trainer.run([0, 1, 2, 3, 4], max_epochs=6)

    assert names(tmp_path) == ["myprefix_mymodel_20.pt", "myprefix_mymodel_30.pt"]
    assert handler.last_checkpoint == tmp_path / "myprefix_mymodel_30.pt"
    assert list(torch.load(tmp_path / "myprefix_mymodel_30.pt")) == ["weight", "bias"]


def test_it_can_be_called_by_hand(tmp_path: Path) -> None:
    handler, engine = ModelCheckpoint(tmp_path), Engine(lambda engine, batch: None)
    engine.state.iteration = 7
    handler(engine, {"model": torch.nn.Linear(1, 1)})

    assert names(tmp_path) == ["model_7.pt"]


def test_it_sits_on_events_that_bring_more(tmp_path: Path) -> None:
    def step(engine: Engine[Any, Any], batch: int) -> None:
        raise ValueError("stop")

    trainer = Engine(step)
    handler = ModelCheckpoint(tmp_path)
    trainer.add_event_handler(Events.EXCEPTION_RAISED, handler, {"trainer": trainer})
    trainer.add_event_handler(Events.TERMINATE_SINGLE_EPOCH, handler, {"trainer": trainer})
    with pytest.raises(ValueError, match="stop"):
        trainer.run([1])

    assert names(tmp_path) == ["trainer_1.pt"]
    assert handler.restore_latest({"trainer": trainer}).inexact


def test_the_best_are_kept_and_restored(tmp_path: Path) -> None:
    options: dict[str, Any] = {"score_name": "acc", "n_saved": 2, "require_empty": False}
    handler, engine = ModelCheckpoint(tmp_path, "best", **options), Engine(lambda engine, batch: None)
    model = torch.nn.Linear(1, 1, bias=False)
    for acc in (0.5, 0.9, 0.7):
        engine.state.metrics["acc"] = acc
        torch.nn.init.constant_(model.weight, acc)
        handler(engine, {"model": model})

    assert names(tmp_path) == ["best_model_acc=0.7000.pt", "best_model_acc=0.9000.pt"]
    restarted = ModelCheckpoint(tmp_path, "best", **options)
    restarted.restore_latest({"model": model})
    assert model.weight.item() == pytest.approx(0.7)
    assert restarted.last_checkpoint == tmp_path / "best_model_acc=0.9000.pt"
    restarted.reload_objects({"model": model}, score=0.9)
    assert model.weight.item() == pytest.approx(0.9)


@pytest.mark.parametrize("to_save", [12, {}, {"m": 1}, {"checkpointer": None}])
def test_what_cannot_be_saved_is_refused_at_the_call(tmp_path: Path, to_save: Any) -> None:
    handler = ModelCheckpoint(tmp_path, include_self=True)
    with pytest.raises((TypeError, ValueError), match="to_save"):
        handler(Engine(lambda engine, batch: None), to_save)
    with pytest.raises(TypeError, match="add_event_handler"):
        handler(Engine(lambda engine, batch: None))


def test_names_that_leave_the_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="filename"):
        ModelCheckpoint(tmp_path / "models", "../evil")
    handler = ModelCheckpoint(tmp_path / "models")
    with pytest.raises(ValueError, match="filename"):
        handler(Engine(lambda engine, batch: None), {"../evil": torch.nn.Linear(1, 1)})
    assert names(tmp_path) == ["models"]
    assert names(tmp_path / "models") == []


def test_arguments_of_the_directory_are_passed_on(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="create_dir"):
        ModelCheckpoint(tmp_path / "none", create_dir=False)
    (tmp_path / "model.pt").touch()
    with pytest.raises(ValueError, match="require_empty"):
        ModelCheckpoint(tmp_path)
    with pytest.raises(TypeError, match="nonsense"):
        ModelCheckpoint(tmp_path, require_empty=False, nonsense=1)


@pytest.mark.parametrize("option", [{"save_interval": 5}, {"save_as_state_dict": False}, {"archived": True}])
def test_deprecated_arguments_warn(tmp_path: Path, option: dict[str, Any]) -> None:
    with pytest.warns(DeprecationWarning, match=next(iter(option))) as caught:
        ModelCheckpoint(tmp_path, **option)
    assert [warning.filename for warning in caught] == [__file__]


def test_it_is_a_checkpoint(tmp_path: Path) -> None:
    assert isinstance(ModelCheckpoint(tmp_path), Checkpoint)
    assert ModelCheckpoint.SAVED_CHECKPOINT is Checkpoint.SAVED_CHECKPOINT
