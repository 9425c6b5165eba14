"""What a Checkpoint takes, and what it hands to its save handler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from checkpoint_parts import SCORE, STEP, Counter, InMemory, engine_at

from camshaft.engine import ArgumentTypeError
from camshaft.handlers import Checkpoint, DiskSaver
from camshaft.handlers.checkpoint.format._verify import read_record

torch = pytest.importorskip("torch")


def test_content_is_bare_for_one_object_and_by_name_for_several() -> None:
    saver = InMemory()
    Checkpoint({"a": Counter(1)}, saver)(engine_at())
    Checkpoint({"a": Counter(1), "b": [Counter(2)]}, saver)(engine_at())

    assert saver.kept == {"a_203.pt": {"count": 1}, "checkpoint_203.pt": {"a": {"count": 1}, "b": [{"count": 2}]}}


def test_with_itself_included_the_list_in_the_file_is_that_after_the_save() -> None:
    saver = InMemory()
    handler = Checkpoint({"a": Counter(1)}, saver, include_self=True, n_saved=2)
    for iteration in (1, 2, 3):
        handler(engine_at(iteration))

    assert saver.kept["a_3.pt"] == {"a": {"count": 1}, "checkpointer": {"_saved": [(2, "a_2.pt"), (3, "a_3.pt")]}}
    assert handler.state_dict() == saver.kept["a_3.pt"]["checkpointer"]


def test_metadata_are_basename_score_name_and_priority() -> None:
    saver = InMemory()
    Checkpoint({"a": Counter()}, saver, "best", score_name="acc", **SCORE)(engine_at())
    Checkpoint({"a": Counter()}, saver)(engine_at())

    assert saver.metadata == [
        {"basename": "best_a", "score_name": "acc", "priority": 0.77},
        {"basename": "a", "score_name": None, "priority": 203},
    ]


def test_functions_are_save_handlers_too() -> None:
    seen: list[Any] = []
    Checkpoint({"a": Counter()}, lambda checkpoint, filename: seen.append(filename))(engine_at())
    Checkpoint({"a": Counter()}, lambda *arguments: seen.append(arguments[1:]), n_saved=None)(engine_at())

    assert seen == ["a_203.pt", ("a_203.pt", {"basename": "a", "score_name": None, "priority": 203})]


def test_a_save_handler_of_ones_own_may_do_without_metadata(tmp_path: Path) -> None:
    class Plain(InMemory):
        def __call__(self, checkpoint: Any, filename: str) -> None:  # type: ignore[override] # as older ones are
            super().__call__(checkpoint, filename)

        def __fspath__(self) -> str:
            return str(tmp_path)

    saver = Plain()
    Checkpoint({"a": Counter()}, saver)(engine_at())

    assert list(saver.kept) == ["a_203.pt"]


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    Checkpoint({"a": Counter()}, tmp_path, "best", score_name="acc", **SCORE, **STEP)(engine_at())
    record = read_record(tmp_path / "best_a_12_acc=0.7700.pt")

    assert record is not None
    assert (record.save_number, record.step, record.exact, record.priority) == (1, 12, True, 0.77)
    assert (record.prefix, record.name, record.keys, record.is_bare) == ("best", "a", ("a",), True)


def wrong_arguments() -> Iterator[tuple[dict[str, Any], type[Exception], str]]:
    model = {"m": Counter()}
    yield {"to_save": 12}, TypeError, "to_save"
    yield {"to_save": [12]}, TypeError, "to_save"
    yield {"to_save": {"m": {"a": 1}}}, TypeError, "state_dict"
    yield {"to_save": {}}, ValueError, "to_save"
    yield {"save_handler": 12}, TypeError, "save_handler"
    yield {"save_handler": lambda: None}, TypeError, "save_handler"
    yield {"filename_prefix": None}, TypeError, "filename_prefix"
    yield {"score_function": 0.5}, TypeError, "score_function"
    yield {"score_name": 5}, TypeError, "score_name"
    yield {"n_saved": 0}, ValueError, "n_saved"
    for wrong in (-1, 1.0, "2", True):
        yield {"n_saved": wrong}, ValueError, "n_saved"
    yield {"global_step_transform": 123}, TypeError, "global_step_transform"
    yield {"filename_pattern": "{random_step}-{name}.pt"}, KeyError, "random_step"
    yield {"filename_pattern": "{name}_{score}.pt"}, ValueError, "score_function"
    yield {"filename_pattern": "{name}_{score:d}.pt", "score_function": lambda e: 1.0}, ValueError, "filename_pattern"
    yield {"filename_pattern": 5}, TypeError, "filename_pattern"
    yield {"to_save": {**model, "checkpointer": Counter()}, "include_self": True}, ValueError, "checkpointer"


@pytest.mark.parametrize(("options", "error", "text"), list(wrong_arguments()))
def test_wrong_arguments_are_refused_at_construction(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Checkpoint(**{"to_save": {"m": Counter()}, "save_handler": InMemory(), **options})


def test_a_path_stands_for_a_directory_that_may_be_in_use(tmp_path: Path) -> None:
    for path in (tmp_path, str(tmp_path)):
        handler = Checkpoint({"m": Counter()}, path)
        handler(engine_at())
        assert handler.last_checkpoint == tmp_path / "m_203.pt"


def test_archived_is_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match="archived"):
        Checkpoint({"m": Counter()}, InMemory(), archived=True)
    with pytest.warns(UserWarning, match="archived"):
        Checkpoint({"m": Counter()}, InMemory(), archived=True)


def test_a_saver_of_ones_own_gets_what_the_disk_saver_gets(tmp_path: Path) -> None:
    class Uploads(DiskSaver):
        uploaded: ClassVar[list[str]] = []

        def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
            super().__call__(checkpoint, filename, metadata)
            self.uploaded.append(filename)

    handler = Checkpoint({"m": Counter()}, Uploads(tmp_path))
    handler(engine_at())

    record = read_record(tmp_path / "m_203.pt")
    assert record is not None
    assert record.step == 203
    assert Uploads.uploaded == ["m_203.pt"]
    with pytest.raises(ArgumentTypeError):
        Uploads(tmp_path, nonsense=1)
