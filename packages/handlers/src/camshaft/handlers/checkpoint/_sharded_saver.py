"""Checkpoints of models whose parameters are sharded over processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from camshaft.engine import ArgumentError, Ranks, ranks
from camshaft.handlers.checkpoint._objects import Objects, Payload, collect
from camshaft.handlers.checkpoint._together import RanksOfGroup, tell, together, told_by_all
from camshaft.handlers.checkpoint.format._record import SHARDS, CheckpointRecord, ShardRecord
from camshaft.handlers.checkpoint.storage._background import Saving
from camshaft.handlers.checkpoint.storage._disk_saver import DiskSaver
from camshaft.handlers.checkpoint.storage._durable import sync_directory
from camshaft.handlers.checkpoint.storage._saver import as_write_error
from camshaft.handlers.checkpoint.storage._shard_folder import write_list
from camshaft.handlers.checkpoint.storage._snapshot import Snapshots


class ShardedSaver(DiskSaver):
    """Keeps checkpoints of sharded models in a directory: of FSDP2 and of tensor parallelism.

    A checkpoint is an ordinary file, as `DiskSaver` writes it, and beside it a folder with the sharded tensors, which
    all processes write with `torch.distributed.checkpoint`. Each save has a folder of its own. Every process brings its
    part to the disk and hashes it. The hashes go into a list in the folder. Only then is the file written: it has the
    name of the folder, and the hash of the list. So a checkpoint is complete, or it is not there. When it is removed,
    the file goes first.

    Any number of processes can restore it, one too. Each verifies the files that it reads; nothing in them is run.

    Names, retention, listing and restoring are those of `DiskSaver`. All processes have to see the directory. Start
    them with `camshaft.distributed.start`.

    Args:
        dirname: The directory; ``~`` is your home.
        create_dir: Whether to make a missing directory.
        require_empty: Whether to refuse a directory that holds checkpoints already.
        save_on_rank: The process that decides, and writes the file.
        asynchronous: Whether to write in the background. A save copies the shards of each process, into memory that is
            used again, and returns. How it went is known to all at the next save of the handler, and at the end of
            the run.
        timeout_s: How long to wait for a save in the background, in seconds; then it has failed.

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
        *,
        asynchronous: bool = False,
        timeout_s: float = 600.0,
    ) -> None:
        super().__init__(
            dirname,
            create_dir=create_dir,
            require_empty=require_empty,
            save_on_rank=save_on_rank,
            asynchronous=asynchronous,
            timeout_s=timeout_s,
        )
        self._timeout_s = timeout_s
        self._parts: dict[str, Part] = {}  # by the name of the file that is to be written
        self._copies = Snapshots({})
        self._in_background: RanksOfGroup | None = None

    # ------------------------------------------------------------------ saving

    def keep_shards(self, objects: Objects, filename: str) -> Payload:
        """Write the sharded tensors of objects, or copy them; return the rest of their states.

        All processes have to call this.

        Args:
            objects: The objects.
            filename: Name of the file that is going to hold the rest.

        Raises:
            ArgumentError: the processes have not been started with `camshaft.distributed.start`.
            CheckpointWriteError: a process could not write.
        """
        from camshaft.handlers.checkpoint.storage import _shards

        payload = together("collecting", lambda: collect(objects, whole=False))
        prefix = (payload.keys[0],) if payload.is_bare else ()
        whole, shards = _shards.split(payload.state, prefix)
        self._parts.pop(filename, None)
        if not shards:
            return payload
        _require_agreement()
        folder = self.dirname / tell("where to write shards", lambda: self._make_folder(filename), self.save_on_rank)
        if self._background is None:
            told = _write_part(folder, shards, ranks())
            self._parts[filename] = lambda: told
        else:
            here = self._ranks_in_background()
            copies = together("copying shards", lambda: self._copy(shards))
            _in_use.add(folder)
            self._parts[filename] = lambda: _write_part(folder, shards, here, copies)
        return payload._replace(state=whole)

    def _copy(self, shards: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._background is not None:
            self._background.wait_for_memory()
        mine = {name: _alone(each.to_local()) for name, each in shards.items()}
        copies: Mapping[str, Any] = self._copies.take(mine).payload()
        return copies

    def _ranks_in_background(self) -> Ranks:
        """Return the processes for what they exchange in the background; all of them have to call this.

        A run that fails lets go of the others; what goes on in the background does not.
        """
        if ranks().size == 1:
            return ranks()
        here = self._in_background
        if here is None or here.group is None:
            from torch import distributed

            made = distributed.new_group(backend="gloo", timeout=timedelta(seconds=self._timeout_s))
            here = self._in_background = RanksOfGroup(made)
        return here

    def follow(self, filename: str) -> Saving | None:
        """Return what goes on in the background; in a process that does not write the file, begin with its part."""
        part = None if self.is_writer else self._parts.pop(filename, None)
        if part is not None and self._background is not None:

            def write(_: Any, saving: Saving | None) -> None:
                part()

            self._background.start({}, write, str(self.path_of(filename)), lambda: None)
        return super().follow(filename)

    def save(
        self, checkpoint: Any, filename: str, record: CheckpointRecord, saving: Any = None, *, is_first: bool
    ) -> Mapping[str, str] | None:
        """Write the file, which makes the checkpoint complete, and remove the folders that it replaces."""
        part = self._parts.pop(filename, None)
        try:
            told = None if part is None else part()
            unsafe = super().save(checkpoint, filename, replace(record, shards=told), saving, is_first=is_first)
            self._remove_folders(filename, keep=None if told is None else told.folder)
        finally:
            _in_use.difference_update(self._folders_of(filename))
        return unsafe

    def remove(self, filename: str) -> None:
        """Remove a checkpoint: first the file, then its folder."""
        super().remove(filename)
        if self.is_writer:
            self._remove_folders(filename)

    def _make_folder(self, filename: str) -> str:
        name = f"{filename}.{uuid4().hex}{SHARDS}"
        with as_write_error("made", self.dirname / name):
            with self._turn():  # nobody else may save here, and what was left behind is gone
                self._remove_left_behind()
            (self.dirname / name).mkdir()
            sync_directory(self.dirname)
        return name

    def _folders(self) -> list[Path]:
        return [path for path in self.dirname.iterdir() if path.name.endswith(SHARDS) and path.is_dir()]

    def _folders_of(self, filename: str) -> list[Path]:
        return [path for path in self._folders() if path.name.rsplit(".", 2)[0] == filename]

    def _remove_folders(self, filename: str, keep: str | None = None) -> None:
        for path in self._folders_of(filename):
            if path.name != keep:
                shutil.rmtree(path, ignore_errors=True)  # what stays is removed by a later save

    def _remove_left_behind(self) -> None:
        """Remove folders to which no file belongs: those of saves that were killed."""
        for path in self._folders():
            if path not in _in_use and not (self.dirname / path.name.rsplit(".", 2)[0]).exists():
                shutil.rmtree(path, ignore_errors=True)


Part = Callable[[], ShardRecord]  # writes what this process has to
_in_use: set[Path] = set()  # folders whose file is going to be written in the background


def _write_part(
    folder: Path, shards: Mapping[str, Any], here: Ranks, copies: Mapping[str, Any] | None = None
) -> ShardRecord:
    """Write the shards of this process, and return what the file is to say about the shards of all.

    Args:
        folder: Where to.
        shards: The tensors by name.
        here: This process among the others.
        copies: This process's part of each; None for what it is now.
    """
    from camshaft.handlers.checkpoint.storage import _shards

    group = here.group if isinstance(here, RanksOfGroup) else None

    def list_files(sums: list[Any]) -> Any:
        return write_list(folder, sums) if here.rank == 0 else None

    with as_write_error("written", folder):
        told_by_all("writing shards", lambda: _shards.write(folder, shards, copies, group), here)
        sums = told_by_all("hashing shards", lambda: _shards.own_sums(folder, here.rank), here)
        told: ShardRecord = told_by_all("listing shards", lambda: list_files(sums), here)[0]
    return told


def _alone(tensor: Any) -> Any:
    """Return a tensor whose memory holds nothing else: one may be a view of a larger one."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _require_agreement() -> None:
    from torch import distributed

    if distributed.is_initialized() and distributed.get_world_size() != ranks().size:
        raise ArgumentError(
            f"`save_handler` must not be a ShardedSaver where {distributed.get_world_size()} processes do not agree; "
            "call camshaft.distributed.start() in each of them first"
        )
