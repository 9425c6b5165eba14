"""Checkpoints of models whose parameters are sharded over processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from camshaft.engine import ranks
from camshaft.handlers.checkpoint._errors import CheckpointDamagedError, CheckpointUnsafeError
from camshaft.handlers.checkpoint._objects import Objects, Payload, collect, with_entry
from camshaft.handlers.checkpoint._together import OtherRankError, tell, together, told_by_all
from camshaft.handlers.checkpoint.format._record import CheckpointRecord
from camshaft.handlers.checkpoint.storage._directory import DirectoryStore
from camshaft.handlers.checkpoint.storage._disk_saver import DiskSaver
from camshaft.handlers.checkpoint.storage._durable import sync_directory
from camshaft.handlers.checkpoint.storage._saver import as_write_error
from camshaft.handlers.checkpoint.storage._store import StoredPayload

SHARDS_KEY = "shards"  # of what a checkpoint file says about its shards
SUFFIX = ".shards"


class ShardedSaver(DiskSaver):
    """Keeps checkpoints of sharded models in a directory: of FSDP2 and of tensor parallelism.

    A checkpoint is an ordinary file, as `DiskSaver` writes it, and beside it a folder with the sharded tensors, which
    all processes write with `torch.distributed.checkpoint`. Each save has a folder of its own. Every process brings its
    part to the disk and hashes it. Only then is the file written: it has the name of the folder, and size and hash of
    each file in it. So a checkpoint is complete, or it is not there. When it is removed, the file goes first.

    Any number of processes can restore it, one too. They compare the folder with the hashes; nothing in it is run.

    Names, retention, listing and restoring are those of `DiskSaver`. All processes have to see the directory. Start
    them with `camshaft.distributed.start`.

    Args:
        dirname: The directory; ``~`` is your home.
        create_dir: Whether to make a missing directory.
        require_empty: Whether to refuse a directory that holds checkpoints already.
        save_on_rank: The process that decides, and writes the file.

    Raises:
        ArgumentError: the directory is missing, or holds checkpoints; how to go on is in the text.
        CheckpointWriteError: the directory cannot be written to.

    Examples:
        >>> import tempfile, torch
        >>> from camshaft.engine import Engine, Events
        >>> from camshaft.handlers import Checkpoint
        >>> trainer, model = Engine(lambda engine, batch: None), torch.nn.Linear(2, 1)
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     latest = Checkpoint({"model": model, "trainer": trainer}, ShardedSaver(directory))
        ...     handle = trainer.add_event_handler(Events.COMPLETED, latest)
        ...     state = trainer.run([1, 2])
        ...     latest.restore_latest().step
        2

    Sources:
        PyTorch, Distributed Checkpoint (torch.distributed.checkpoint).
    """

    def __init__(
        self,
        dirname: str | os.PathLike[str],
        create_dir: bool = True,
        require_empty: bool = False,
        save_on_rank: int = 0,
    ) -> None:
        super().__init__(dirname, create_dir=create_dir, require_empty=require_empty, save_on_rank=save_on_rank)

    # ------------------------------------------------------------------ saving

    def keep_shards(self, objects: Objects, filename: str) -> Payload:
        """Write the sharded tensors of objects; return the rest of their states. All processes have to call this.

        Args:
            objects: The objects.
            filename: Name of the file that is going to hold the rest.

        Raises:
            CheckpointWriteError: a process could not write.
        """
        from camshaft.handlers.checkpoint import _shards

        payload = together("collecting", lambda: collect(objects, whole=False))
        prefix = (payload.keys[0],) if payload.is_bare else ()
        whole, shards = _shards.split(payload.state, prefix)
        if not shards:
            return payload
        folder = self.dirname / tell("where to write shards", lambda: self._make_folder(filename), self.save_on_rank)
        with as_write_error("written", folder):
            together("writing shards", lambda: _shards.write(folder, shards))
            sums = told_by_all("hashing shards", lambda: _shards.own_sums(folder))
        told = {
            "folder": folder.name,
            "ranks": ranks().size,
            "files": {name: list(size_and_hash) for each in sums for name, size_and_hash in each.items()},
        }
        return with_entry(payload._replace(state=whole), SHARDS_KEY, told)

    def save(
        self, checkpoint: Any, filename: str, record: CheckpointRecord, saving: Any = None, *, is_first: bool
    ) -> Mapping[str, str] | None:
        """Write the file, which makes the checkpoint complete, and remove the folders that it replaces."""
        unsafe = super().save(checkpoint, filename, record, saving, is_first=is_first)
        kept = checkpoint.get(SHARDS_KEY, {}).get("folder") if isinstance(checkpoint, Mapping) else None
        self._remove_folders(filename, keep=kept)
        return unsafe

    def remove(self, filename: str) -> None:
        """Remove a checkpoint: first the file, then its folder."""
        super().remove(filename)
        if self.is_writer:
            self._remove_folders(filename)

    def _make_folder(self, filename: str) -> str:
        name = f"{filename}.{uuid4().hex}{SUFFIX}"
        with as_write_error("made", self.dirname / name):
            with self._turn():  # nobody else may save here, and what was left behind is gone
                self._remove_left_behind()
            (self.dirname / name).mkdir()
            sync_directory(self.dirname)
        return name

    def _folders(self) -> list[Path]:
        return [path for path in self.dirname.iterdir() if path.name.endswith(SUFFIX) and path.is_dir()]

    def _remove_folders(self, filename: str, keep: str | None = None) -> None:
        for path in self._folders():
            if path.name.rsplit(".", 2)[0] == filename and path.name != keep:
                shutil.rmtree(path, ignore_errors=True)  # what stays is removed by a later save

    def _remove_left_behind(self) -> None:
        """Remove folders to which no file belongs: those of saves that were killed."""
        for path in self._folders():
            if not (self.dirname / path.name.rsplit(".", 2)[0]).exists():
                shutil.rmtree(path, ignore_errors=True)

    # ------------------------------------------------------------------ reading

    def verify(self, filename: str, *, trusted: bool = False) -> CheckpointRecord | None:
        """Check a file, and the folder with its shards."""
        from camshaft.handlers.checkpoint import _shards

        stored = DirectoryStore.read(self, filename, trusted=trusted)
        if (told := _told(stored.payload)) is not None:
            _shards.require_sums(self._folder(told), told["files"], 0, 1)
        return stored.record

    def read(
        self,
        filename: str,
        to_load: Mapping[str, Any] | None = None,
        *,
        trusted: bool = False,
        map_location: Any = "cpu",
    ) -> StoredPayload:
        """Verify a checkpoint, and return what it holds; all processes have to call this together.

        Sharded tensors come as `to_load` has them laid out. Without `to_load` they are left out.
        """
        from camshaft.handlers.checkpoint import _shards

        stored = self._read_file(filename, to_load, trusted=trusted, map_location=map_location)
        told = _told(stored.payload)
        if told is None:
            return stored
        folder, here = self._folder(told), ranks()
        together("hashes of shards", lambda: _shards.require_sums(folder, told["files"], here.rank, here.size))
        wanted = [path for path in _shards.marks(stored.payload) if path[0] in (to_load or {})]
        rooms = together("rooms for shards", lambda: _shards.rooms_for(wanted, to_load or {}))
        if rooms:
            together("reading shards", lambda: _shards.read(folder, rooms))
        payload = {key: value for key, value in _shards.join(stored.payload, rooms).items() if key != SHARDS_KEY}
        return stored._replace(payload=payload)

    def _read_file(self, filename: str, to_load: Mapping[str, Any] | None, **options: Any) -> StoredPayload:
        """Read the file in every process; where one cannot, all raise the same, and go on in the same way."""
        try:
            return together("reading the file", lambda: DirectoryStore.read(self, filename, to_load, **options))
        except (OSError, OtherRankError) as error:
            if ranks().size == 1:
                raise
            raise CheckpointDamagedError(f"{filename}: not every process can read it: {error}") from error

    def _folder(self, told: Mapping[str, Any]) -> Path:
        name = told["folder"]
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(SUFFIX):
            raise CheckpointUnsafeError(f"{self.dirname}: {name!r} is no folder of shards")
        return self.dirname / name


def _told(payload: Any) -> Mapping[str, Any] | None:
    """Return what a checkpoint says about its shards, None if it has none."""
    told = payload.get(SHARDS_KEY) if isinstance(payload, Mapping) else None
    return told if isinstance(told, Mapping) and {"folder", "files"} <= set(told) else None
