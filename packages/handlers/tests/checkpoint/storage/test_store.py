from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from camshaft.handlers import (
    BaseSaveHandler,
    CheckpointDamagedError,
    CheckpointFile,
    CheckpointRecord,
    CheckpointStore,
    CheckpointUrl,
    DiskSaver,
    SaveMetadata,
    StoredPayload,
    sorted_by_age,
)
from camshaft.handlers.checkpoint.format._file_name import require_bare_name
from camshaft.handlers.testing import check_store

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Kept = dict[str, tuple[Any, CheckpointRecord]]


class InMemory(CheckpointStore, BaseSaveHandler):
    """A store as a user would write one; the controls below break it."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept

    @property
    def location(self) -> str:
        return "memory"

    def path_of(self, filename: str) -> CheckpointUrl:
        return CheckpointUrl(f"memory/{filename}")

    def __call__(self, checkpoint: Any, filename: str, metadata: Mapping[str, Any] | None = None) -> None:
        require_bare_name(filename)
        record = metadata.record if isinstance(metadata, SaveMetadata) else CheckpointRecord()
        number = max((record.save_number for _, record in self.kept.values()), default=0) + 1
        self.kept[filename] = copy.deepcopy(checkpoint), dataclasses.replace(record, save_number=number)

    def remove(self, filename: str) -> None:
        self.kept.pop(filename, None)

    def checkpoints(self) -> list[CheckpointFile]:
        return sorted_by_age(
            CheckpointFile(self.path_of(name), record, is_legible=True, size_bytes=1, modified_ns=0)
            for name, (_, record) in self.kept.items()
        )

    def verify(self, filename: str, *, trusted: bool = False) -> CheckpointRecord:
        return self.read(filename).record

    def read(self, filename: str, *arguments: Any, **options: Any) -> Any:
        if filename not in self.kept:
            raise FileNotFoundError(filename)
        payload, record = self.kept[filename]
        if payload == "damaged":
            raise CheckpointDamagedError(filename)
        return StoredPayload(payload, record)


class Unnumbered(InMemory):
    def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
        super().__call__(checkpoint, filename, metadata)
        self.kept[filename] = self.kept[filename][0], dataclasses.replace(self.kept[filename][1], save_number=0)


class TakesPatterns(InMemory):
    def remove(self, filename: str) -> None:
        import fnmatch

        for name in fnmatch.filter(list(self.kept), filename):
            del self.kept[name]


class TakesPrefixes(InMemory):
    def remove(self, filename: str) -> None:
        for name in [name for name in self.kept if name.startswith(filename.removesuffix(".pt"))]:
            del self.kept[name]


class Overwrites(InMemory):
    def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
        self.kept.pop(filename, None)
        super().__call__(checkpoint, filename, metadata)


class FirstWins(InMemory):
    def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
        if filename not in self.kept:
            super().__call__(checkpoint, filename, metadata)


class Forgetful(InMemory):
    def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
        super().__call__(checkpoint, filename, None)


class Oldest(InMemory):
    def checkpoints(self) -> list[CheckpointFile]:
        return super().checkpoints()[::-1]


class TakesAnyName(InMemory):
    def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
        super().__call__(checkpoint, "known.pt", metadata)
        self.kept[filename] = self.kept.pop("known.pt")


class Rounds(InMemory):
    def read(self, filename: str, *arguments: Any, **options: Any) -> Any:
        stored = super().read(filename)
        return stored._replace(payload={**stored.payload, "losses": [0.5, 2.0]})


class Silent(InMemory):
    def verify(self, filename: str, *, trusted: bool = False) -> CheckpointRecord:
        if filename not in self.kept:
            raise FileNotFoundError(filename)
        return self.kept[filename][1]


class FindsAnything(InMemory):
    def verify(self, filename: str, *, trusted: bool = False) -> CheckpointRecord:
        return CheckpointRecord() if filename not in self.kept else super().verify(filename)


CONTROLS = {
    Unnumbered: "number the saves",
    TakesPatterns: "names as they are",
    TakesPrefixes: "nothing else",
    Overwrites: "keep the earlier file|list after a failed save",
    FirstWins: "last save of a name",
    Forgetful: "what a save says about itself",
    Oldest: "newest first",
    TakesAnyName: "leads out",
    Rounds: "bit for bit",
    Silent: "notice",
    FindsAnything: "what is missing",
}


@pytest.mark.parametrize("options", [{}, {"durable": False}], ids=str)
def test_a_directory_keeps_what_is_promised_of_stores(tmp_path: Path, options: dict[str, Any]) -> None:
    def damage(filename: str) -> None:
        content = (tmp_path / filename).read_bytes()
        (tmp_path / filename).write_bytes(content[:200] + b"x" + content[201:])

    check_store(lambda: DiskSaver(tmp_path, require_empty=False, **options), damage)
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_ones_own_can_keep_it() -> None:
    kept: Kept = {}

    def damage(filename: str) -> None:
        kept[filename] = "damaged", kept[filename][1]

    check_store(lambda: InMemory(kept), damage)


@pytest.mark.parametrize(("store", "promise"), CONTROLS.items())
def test_one_that_breaks_a_promise_is_noticed(store: type[InMemory], promise: str) -> None:
    kept: Kept = {}

    def damage(filename: str) -> None:
        kept[filename] = "damaged", kept[filename][1]

    with pytest.raises(AssertionError, match=promise):
        check_store(lambda: store(kept), damage)
