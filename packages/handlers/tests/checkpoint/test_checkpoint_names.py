"""What a Checkpoint calls its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoint_parts import SCORE, STEP, Counter, InMemory, engine_at, names

from camshaft.engine import ArgumentError, Events
from camshaft.handlers import Checkpoint, DiskSaver, global_step_from_engine

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "model_203.pt"),
        ({"filename_prefix": "best"}, "best_model_203.pt"),
        (SCORE, "model_0.7700.pt"),
        ({**SCORE, "score_name": "acc"}, "model_acc=0.7700.pt"),
        (STEP, "model_12.pt"),
        ({**SCORE, **STEP}, "model_12_0.7700.pt"),
        ({**SCORE, **STEP, "score_name": "acc", "filename_prefix": "best"}, "best_model_12_acc=0.7700.pt"),
        ({"score_function": lambda engine: 94}, "model_94.pt"),
        ({"filename_pattern": "chk-{name}--{global_step}.{ext}"}, "chk-model--203.pt"),
        ({**SCORE, "filename_pattern": "{global_step}-{name}-{score}.chk.{ext}"}, "203-model-0.7700.chk.pt"),
        ({**SCORE, **STEP, "filename_pattern": "{filename_prefix}{name}-{score:.1f}"}, "model-0.8"),
        ({"filename_pattern": "last.pt"}, "last.pt"),
    ],
)
def test_a_file_is_called_after_what_is_known(options: dict[str, Any], expected: str) -> None:
    saver = InMemory()
    Checkpoint({"model": Counter()}, saver, **options)(engine_at())

    assert [expected] == list(saver.kept)


def test_several_objects_are_called_checkpoint() -> None:
    saver = InMemory()
    Checkpoint({"a": Counter(), "b": Counter()}, saver)(engine_at())

    assert list(saver.kept) == ["checkpoint_203.pt"]


def test_a_score_name_alone_is_a_metric() -> None:
    saver, engine = InMemory(), engine_at()
    handler = Checkpoint({"model": Counter()}, saver, score_name="acc")
    engine.state.metrics["acc"] = torch.tensor(0.5)
    handler(engine)

    assert list(saver.kept) == ["model_acc=0.5000.pt"]
    engine.state.metrics = {"loss": 1}
    with pytest.raises(ArgumentError, match=r"'acc'.*\['loss'\]"):
        handler(engine)


def test_the_default_score_function_takes_a_sign() -> None:
    engine = engine_at()
    engine.state.metrics["loss"] = 0.25

    assert Checkpoint.get_default_score_fn("loss")(engine) == 0.25
    assert Checkpoint.get_default_score_fn("loss", -1.0)(engine) == -0.25
    with pytest.raises(ValueError, match="score_sign"):
        Checkpoint.get_default_score_fn("loss", 2.0)


def test_the_step_may_be_that_of_another_engine() -> None:
    saver = InMemory()
    handler = Checkpoint({"m": Counter()}, saver, global_step_transform=global_step_from_engine(engine_at(7, 3)))
    evaluator = engine_at(99, 1)
    evaluator.last_event_name = Events.COMPLETED
    handler(evaluator)

    assert list(saver.kept) == ["m_3.pt"]


@pytest.mark.parametrize(
    "options",
    [
        {"filename_prefix": "../evil"},
        {"filename_prefix": ".."},
        {"filename_prefix": "a/b"},
        {"filename_prefix": "a\0b"},
        {"filename_prefix": "p" * 300},
        {"filename_prefix": "\udcff"},
        {"score_name": "val/acc"},
        {"to_save": {"../m": Counter()}},
        {"filename_pattern": "../{name}.pt"},
        {"filename_pattern": "/{name}.pt"},
    ],
)
def test_names_that_leave_the_directory_are_refused_at_construction(tmp_path: Path, options: dict[str, Any]) -> None:
    directory = tmp_path / "models"
    for save_handler in (directory, DiskSaver(directory)):
        with pytest.raises(ValueError, match="filename"):
            Checkpoint(**{"to_save": {"m": Counter()}, "save_handler": save_handler, **options})
    assert names(tmp_path) == ["models"]
    assert names(directory) == []


def test_other_save_handlers_may_have_folders() -> None:
    saver = InMemory()
    Checkpoint({"m": Counter()}, saver, "runs/1/best")(engine_at())

    assert list(saver.kept) == ["runs/1/best_m_203.pt"]


def test_patterns_are_put_together() -> None:
    assert Checkpoint.setup_filename_pattern(with_prefix=False) == "{name}_{global_step}_{score_name}={score}.{ext}"
    with pytest.raises(ArgumentError):
        Checkpoint.setup_filename_pattern(with_score=False)
