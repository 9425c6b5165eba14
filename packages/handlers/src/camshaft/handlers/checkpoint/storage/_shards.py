"""The shards of a checkpoint: tensors of which each process has a part, kept by `torch.distributed.checkpoint`."""

from __future__ import annotations

import errno
import io
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor
from torch.futures import Future

from camshaft.handlers.checkpoint._errors import CheckpointMismatchError, CheckpointUnsafeError, CheckpointWriteError
from camshaft.handlers.checkpoint.format._record import CheckpointRecord
from camshaft.handlers.checkpoint.storage._shard_folder import Sum, read_list, require_files, sum_of

MARK = "camshaft.shard"  # stands in a state where a tensor is kept apart
DESCRIPTION = ".metadata"
_SAFE = {
    ("pathlib", "PosixPath"), ("pathlib", "WindowsPath"), ("torch", "Size"), ("torch.serialization", "_get_layout"),
    ("torch.distributed.checkpoint.metadata", "Metadata"),
    ("torch.distributed.checkpoint.metadata", "TensorStorageMetadata"),
    ("torch.distributed.checkpoint.metadata", "ChunkStorageMetadata"),
    ("torch.distributed.checkpoint.metadata", "TensorProperties"),
    ("torch.distributed.checkpoint.metadata", "_MEM_FORMAT_ENCODING"),
    ("torch.distributed.checkpoint.metadata", "MetadataIndex"),
    ("torch.distributed.checkpoint.metadata", "StorageMeta"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
}  # fmt: skip


def split(state: Any, path: tuple[Any, ...] = ()) -> tuple[Any, dict[str, DTensor]]:
    """Return a state with marks in the place of its sharded tensors, and these by name."""
    if isinstance(state, DTensor):
        return {MARK: list(path)}, {name_of(path): state}
    if isinstance(state, Mapping):
        items: Any = state.items()
    elif isinstance(state, list | tuple):
        items = enumerate(state)
    else:
        return state, {}
    parts = {key: split(value, (*path, key)) for key, value in items}
    shards = {name: tensor for _, found in parts.values() for name, tensor in found.items()}
    if not shards:
        return state, {}
    whole = {key: part for key, (part, _) in parts.items()}
    return (whole if isinstance(state, Mapping) else type(state)(whole.values())), shards


def marks(state: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every mark in a state."""
    if isinstance(state, Mapping):
        if set(state) == {MARK}:
            yield tuple(state[MARK])
            return
        state = list(state.values())
    if isinstance(state, list | tuple):
        for value in state:
            yield from marks(value)


def join(state: Any, shards: Mapping[str, Any]) -> Any:
    """Return a state with the tensors in the places of their marks; marks of others stay."""
    if isinstance(state, Mapping):
        if set(state) == {MARK}:
            return shards.get(name_of(tuple(state[MARK])), state)
        return {key: join(value, shards) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(join(value, shards) for value in state)
    return state


def room_for(path: tuple[Any, ...], to_load: Mapping[str, Any]) -> torch.Tensor:
    """Return an empty tensor, laid out as the object that is to load it has its own.

    Args:
        path: of a mark; begins with the name of an object.
        to_load: the objects by name.

    Raises:
        CheckpointMismatchError: the object has no such tensor.
    """
    target: Any = to_load
    rest = list(path)
    while rest and not hasattr(target, "state_dict"):
        target = target[rest.pop(0)]
    try:
        if isinstance(target, torch.optim.Optimizer) and rest[:1] == ["state"]:
            parameters = [each for group in target.param_groups for each in group["params"]]
            return torch.empty_like(parameters[rest[1]].detach())
        found: Any = target.state_dict()
        for key in rest:
            found = found[key]
        return torch.empty_like(found.detach())
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise CheckpointMismatchError(f"there is no tensor at {list(path)} to load a shard into") from error


def write(
    folder: Path, shards: Mapping[str, DTensor], copies: Mapping[str, torch.Tensor] | None = None, group: Any = None
) -> None:
    """Write the shards of this process. All processes have to call this.

    Args:
        folder: Where to.
        shards: The tensors by name.
        copies: This process's part of each, to be written in its place; None for what it is now.
        group: The processes, None for all.

    Raises:
        CheckpointWriteError: a process could not write.
    """
    planner = DefaultSavePlanner() if copies is None else _PlannerOfCopies(copies)
    try:
        save(dict(shards), storage_writer=FileSystemWriter(folder), planner=planner, process_group=group)
    except CheckpointException as error:
        failed = [(rank, reason) for rank, (reason, _) in sorted(error.failures.items())]
        told = "; ".join(f"rank {rank}: {reason} ({type(reason).__name__})" for rank, reason in failed)
        raise CheckpointWriteError(errno.EIO, f"could not be written: {told}", str(folder)) from error


def fill(
    payload: Any, directory: Path, record: CheckpointRecord, to_load: Mapping[str, Any], *, trusted: bool = False
) -> Any:
    """Return a payload with the shards in their places that the objects are going to load.

    Args:
        payload: What the file holds.
        directory: Where file and folder lie.
        record: What the file says about itself.
        to_load: The objects.
        trusted: Whether to follow links.

    Raises:
        CheckpointDamagedError: a file that is needed is not what was written.
        CheckpointUnsafeError: the description of the folder would run code.
        CheckpointMismatchError: an object has no such tensor, or one of another shape.
    """
    paths = {name_of(path): path for path in marks(payload)}
    if record.is_bare and len(to_load) == 1:  # of a single object it does not matter what it is called
        paths = {name: (*to_load, *path[1:]) for name, path in paths.items()}
    rooms = {name: room_for(path, to_load) for name, path in paths.items() if path[0] in to_load}
    if rooms and record.shards is not None:
        folder = directory / record.shards.folder
        _read(_SafeReader(folder, read_list(folder, record.shards, trusted=trusted), trusted=trusted), rooms)
    return join(payload, rooms)


def _read(reader: _SafeReader, into: dict[str, torch.Tensor]) -> None:
    """Fill tensors with this process's parts. It does so by itself: others need not read at the same time."""
    description = reader.read_metadata()
    for name, tensor in into.items():
        kept = description.state_dict_metadata.get(name)
        if not isinstance(kept, TensorStorageMetadata) or kept.size != tensor.shape:
            shape = getattr(kept, "size", None)
            raise CheckpointMismatchError(f"{name!r} must have the shape {shape}, got {tensor.shape}")
    planner = DefaultLoadPlanner(flatten_state_dict=False)
    planner.set_up_planner(into, description, is_coordinator=True)
    reader.set_up_storage_reader(description, is_coordinator=True)
    plan = reader.prepare_local_plan(planner.create_local_plan())
    reader.read_data(planner.finish_plan(plan), planner).wait()


def own_sums(folder: Path, rank: int) -> dict[str, Sum]:
    """Return size and hash of the files that a process has written, brought to the disk; of rank 0, the rest too."""
    sums = {}
    for path in sorted(folder.iterdir()):
        owner = path.name.partition("_")[2].lstrip("_").partition("_")[0]
        if owner == str(rank) or (rank == 0 and not owner.isdecimal()):
            sums[path.name] = sum_of(path, sync=True)
    return sums


def name_of(path: tuple[Any, ...]) -> str:
    """Return the name of the tensor at a path."""
    return "/".join(map(str, path))


class _PlannerOfCopies(DefaultSavePlanner):
    """Plans as for the tensors themselves, and writes copies of them."""

    def __init__(self, copies: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self._copies = copies

    def lookup_object(self, index: MetadataIndex) -> torch.Tensor:
        """Return the copy of this process's part of a tensor."""
        return self._copies[index.fqn]


class _SafeReader(FileSystemReader):
    """Reads a folder: each file is verified first, and nothing in the description, which is a pickle, is run."""

    def __init__(self, folder: Path, files: Mapping[str, Sum], *, trusted: bool) -> None:
        super().__init__(folder)
        self._folder, self._files, self._trusted = folder, files, trusted

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return the description.

        Raises:
            CheckpointDamagedError: it is not what was written.
            CheckpointUnsafeError: it needs more than the classes of such a description.
        """
        require_files(self._folder, [DESCRIPTION], self._files, trusted=self._trusted)
        found = _SafeUnpickler(io.BytesIO((self._folder / DESCRIPTION).read_bytes())).load()
        if not isinstance(found, Metadata):
            raise CheckpointUnsafeError(f"{self._folder}: its description is a {type(found).__name__}")
        return found

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Verify the files that a plan needs, and read them."""
        names = {self.storage_data[item.storage_index].relative_path for item in plan.items}
        require_files(self._folder, names, self._files, trusted=self._trusted)
        return super().read_data(plan, planner)


class _SafeUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return a class that a description may have."""
        if (module, name) in _SAFE or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)):
            return super().find_class(module, name)
        raise CheckpointUnsafeError(f"the description of shards must not use {module}.{name}")
