from __future__ import annotations

from typing import Any

import pytest

from camshaft.handlers import BaseSaveHandler
from camshaft.handlers.checkpoint.format._record import CheckpointRecord
from camshaft.handlers.checkpoint.storage._save_handler import SaveMetadata, as_save_handler

METADATA = SaveMetadata(CheckpointRecord(prefix="best", name="model", score_name="acc", priority=0.5, step=3))


def test_metadata_are_exactly_these() -> None:
    assert METADATA == {"basename": "best_model", "score_name": "acc", "priority": 0.5}
    assert SaveMetadata(CheckpointRecord(name="checkpoint"))["basename"] == "checkpoint"
    assert METADATA.record.step == 3


def test_handlers_get_the_arguments_that_they_take() -> None:
    seen: list[Any] = []

    def three(checkpoint: Any, filename: str, metadata: Any) -> None:
        seen.append((checkpoint, filename, metadata))

    def two(checkpoint: Any, filename: str) -> None:
        seen.append((checkpoint, filename))

    def by_name(checkpoint: Any, filename: str, *, metadata: Any = None) -> None:
        seen.append((checkpoint, filename, metadata))

    def any_number(*arguments: Any) -> None:
        seen.append(arguments)

    for function in (three, two, by_name, any_number):
        as_save_handler(function)("state", "name", METADATA)

    assert seen == [
        ("state", "name", METADATA),
        ("state", "name"),
        ("state", "name", METADATA),
        ("state", "name", METADATA),
    ]


def test_a_type_error_of_a_handler_is_its_own() -> None:
    calls: list[str] = []

    def fails(checkpoint: Any, filename: str, metadata: Any = None) -> None:
        calls.append(filename)
        raise TypeError("inside")

    with pytest.raises(TypeError, match="inside"):
        as_save_handler(fails)("state", "name", METADATA)
    assert calls == ["name"]


@pytest.mark.parametrize(
    "function", [lambda: None, lambda state: None, lambda a, b, c, d: None], ids=["none", "one", "four"]
)
def test_a_handler_that_cannot_be_called_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="save_handler"):
        as_save_handler(function)


def test_a_handler_that_does_not_tell_what_it_takes_is_trusted() -> None:
    kept: dict[str, str] = {}

    assert as_save_handler(kept.update) == kept.update


def test_the_base_class_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        BaseSaveHandler()  # type: ignore[abstract] # that it cannot be made is the point
