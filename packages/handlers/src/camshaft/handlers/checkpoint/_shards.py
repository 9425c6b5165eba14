"""The shards of a checkpoint: tensors of which each process has a part, kept by `torch.distributed.checkpoint`."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from camshaft.engine import ranks
from camshaft.handlers.checkpoint._errors import CheckpointDamagedError, CheckpointMismatchError, CheckpointUnsafeError
from camshaft.handlers.checkpoint.storage._durable import sync_directory

MARK = "camshaft.shard"  # stands in a state where a tensor is kept apart
_BLOCK = 1 << 20
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


def rooms_for(paths: Iterable[tuple[Any, ...]], to_load: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return an empty tensor for each mark, by name; see `room_for`."""
    return {name_of(path): room_for(path, to_load) for path in paths}


def write(folder: Path, shards: Mapping[str, DTensor]) -> None:
    """Write the shards of this process, and bring them to the disk. All processes have to call this."""
    save(dict(shards), storage_writer=FileSystemWriter(folder, sync_files=True))


def read(folder: Path, into: dict[str, torch.Tensor]) -> None:
    """Fill tensors with what a folder holds. All processes have to call this.

    Raises:
        CheckpointUnsafeError: its description would run code.
        CheckpointMismatchError: a tensor has another shape.
    """
    reader = _SafeReader(folder)
    known = reader.read_metadata().state_dict_metadata
    for name, tensor in into.items():
        kept = known.get(name)
        if not isinstance(kept, TensorStorageMetadata) or kept.size != tensor.shape:
            shape = getattr(kept, "size", None)
            raise CheckpointMismatchError(f"{name!r} must have the shape {shape}, got {tensor.shape}")
    planner = DefaultLoadPlanner(flatten_state_dict=False)
    load(into, storage_reader=reader, planner=planner, no_dist=ranks().size == 1)


def own_sums(folder: Path) -> dict[str, tuple[int, str]]:
    """Return size and hash of the files that this process has written, brought to the disk; of rank 0, the rest too."""
    me, sums = ranks().rank, {}
    for path in sorted(folder.iterdir()):
        owner = path.name.partition("_")[2].lstrip("_").partition("_")[0]
        if owner == str(me) or (me == 0 and not owner.isdecimal()):
            sums[path.name] = _sum(path, sync=True)
    return sums


def require_sums(folder: Path, sums: Mapping[str, Any], share: int, of: int) -> None:
    """Raise unless files are what was written; this process looks at its share of them.

    Raises:
        CheckpointDamagedError: one is not, or is missing.
    """
    for name in sorted(sums)[share::of]:
        try:
            found = _sum(folder / name, sync=False)
        except FileNotFoundError:
            raise CheckpointDamagedError(f"{folder / name}: it is missing") from None
        if list(found) != list(sums[name]):
            raise CheckpointDamagedError(f"{folder / name}: its content is not what was written")


def name_of(path: tuple[Any, ...]) -> str:
    """Return the name of the tensor at a path."""
    return "/".join(map(str, path))


def _sum(path: Path, *, sync: bool) -> tuple[int, str]:
    digest, size = blake2b(digest_size=32), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
        if sync:
            os.fsync(file.fileno())
    if sync:
        sync_directory(path.parent)
    return size, digest.hexdigest()


class _SafeReader(FileSystemReader):
    """Reads the description of a folder, which is a pickle, without running anything in it."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return the description.

        Raises:
            CheckpointUnsafeError: it needs more than the classes of such a description.
        """
        content = (Path(self.path) / ".metadata").read_bytes()
        found = _SafeUnpickler(io.BytesIO(content)).load()
        if not isinstance(found, Metadata):
            raise CheckpointUnsafeError(f"{self.path}: its description is a {type(found).__name__}")
        return found


class _SafeUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return a class that a description may have."""
        if (module, name) in _SAFE or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)):
            return super().find_class(module, name)
        raise CheckpointUnsafeError(f"the description of shards must not use {module}.{name}")
