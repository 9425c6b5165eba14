"""What a payload is at one moment: a copy in memory that is used again and again.

A payload is pickled as `torch.save` does it, but for the memory of its tensors, which is copied into one block. So a
snapshot holds what would have been saved at that moment, whatever the payload is made of, and tensors that share memory
share it in the snapshot. Tensors of other devices are copied to the memory of the machine.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from camshaft.handlers.checkpoint.format._payload import require_torch

if TYPE_CHECKING:
    from types import ModuleType

_ALIGNMENT = 64


class Snapshot:
    """A payload as it was; reading it makes no copy of its tensors.

    Args:
        pickled: The payload without the memory of its tensors.
        storages: That memory, in the order in which the pickle names it.
        pickler: The module that has pickled it.
    """

    def __init__(self, pickled: io.BytesIO, storages: Sequence[Any], pickler: Any) -> None:
        self._pickled = pickled
        self._storages = storages
        self._pickler = pickler

    def payload(self) -> Any:
        """Return the payload; its tensors lie in the memory of the snapshot."""
        torch, storages = require_torch(), self._storages

        class Unpickler(self._pickler.Unpickler):  # type: ignore[misc, name-defined]
            def persistent_load(self, pid: tuple[int, Any]) -> Any:
                number, dtype = pid
                storage = storages[number]
                # As in `torch.load`, one without a type is of bytes. Tensors of newer types are made of such ones.
                # Without `_internal` it warns that it will go away, which concerns its users and not its makers.
                return torch.storage.TypedStorage(wrap_storage=storage, dtype=dtype or torch.uint8, _internal=True)

        self._pickled.seek(0)
        return Unpickler(self._pickled).load()


class Snapshots:
    """Takes snapshots, one at a time: the next one takes the memory of the last.

    Args:
        options: For `torch.save`: the module that pickles.

    Examples:
        >>> import torch
        >>> weight, snapshots = torch.ones(2), Snapshots({})
        >>> snapshot = snapshots.take({"weight": weight, "step": 1})
        >>> weight.zero_()
        tensor([0., 0.])
        >>> snapshot.payload()
        {'weight': tensor([1., 1.]), 'step': 1}
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._pickler = options.get("pickle_module", pickle)
        self._memory = _Memory()

    def take(self, payload: Any) -> Snapshot:
        """Return a snapshot of a payload; the one that was taken before is overwritten.

        Raises:
            Exception: what pickling raises.
        """
        torch = require_torch()
        pickled, storages = _pickle(torch, payload, self._pickler)
        on_gpu = {storage.device for storage in storages if storage.device.type == "cuda"}
        copies = self._memory.parts(torch, [storage.nbytes() for storage in storages], for_gpu=bool(on_gpu))
        for storage, copy in zip(storages, copies, strict=True):
            copy.copy_(storage, non_blocking=storage.device.type == "cuda")
        for device in on_gpu:
            torch.cuda.current_stream(device).synchronize()
        return Snapshot(pickled, copies, self._pickler)


def _pickle(torch: ModuleType, payload: Any, pickler: Any) -> tuple[io.BytesIO, list[Any]]:
    """Pickle a payload without the memory of its tensors; return what was pickled, and that memory."""
    storages: list[Any] = []
    numbers: dict[int, int] = {}
    typed, untyped = torch.storage.TypedStorage, torch.UntypedStorage

    class Pickler(pickler.Pickler):  # type: ignore[misc]
        def persistent_id(self, each: Any) -> tuple[int, Any] | None:
            if not isinstance(each, typed | untyped):
                return None
            # As torch does: a storage is known by the address of what it wraps.
            storage = each._untyped_storage if isinstance(each, typed) else each  # noqa: SLF001 - the public way warns
            number = numbers.setdefault(storage._cdata, len(storages))  # noqa: SLF001
            if number == len(storages):
                storages.append(storage)
            return number, each.dtype if isinstance(each, typed) else None

    pickled = io.BytesIO()
    Pickler(pickled, protocol=pickle.HIGHEST_PROTOCOL).dump(payload)
    return pickled, storages


class _Memory:
    """A block of memory, as large as what was last wanted of it.

    It is shared with forked processes. Private memory would be copied, page by page, when it is written to while one of
    them lives: the workers of a data loader, say.
    """

    def __init__(self) -> None:
        self._block: mmap.mmap | None = None
        self._is_for_gpu = False
        self._unpin: weakref.finalize[..., Any] | None = None

    def parts(self, torch: ModuleType, sizes: Sequence[int], *, for_gpu: bool) -> list[Any]:
        """Return storages of these sizes in bytes. Those that were returned before must not be in use any more.

        Args:
            torch: The module.
            sizes: The sizes.
            for_gpu: Whether something is copied from a GPU, for which memory is pinned.
        """
        starts, end = [], 0
        for size in sizes:
            starts.append(end)
            end += -(-size // _ALIGNMENT) * _ALIGNMENT
        block = self._block
        if block is None or not len(block) // 2 <= end <= len(block) or for_gpu != self._is_for_gpu:
            block = self._renew(torch, max(end, mmap.PAGESIZE), for_gpu=for_gpu)
        return [
            torch.frombuffer(block, dtype=torch.uint8, count=size, offset=start).untyped_storage()
            if size
            else torch.UntypedStorage(0)
            for start, size in zip(starts, sizes, strict=True)
        ]

    def _renew(self, torch: ModuleType, size_bytes: int, *, for_gpu: bool) -> mmap.mmap:
        if self._unpin is not None:
            self._unpin()
        self._block = None  # first, so that there are never two of them
        self._block = block = mmap.mmap(-1, size_bytes)
        self._is_for_gpu = for_gpu
        if for_gpu:
            address = torch.frombuffer(block, dtype=torch.uint8).data_ptr()
            # Memory that torch pins itself is as large as the next power of two. Where this fails, copying is slower.
            if int(torch.cuda.cudart().cudaHostRegister(address, size_bytes, 0)) == 0:
                self._unpin = weakref.finalize(self, _unpin, torch, block, address, os.getpid())
            else:
                _forget_error(torch)
        return block


def _forget_error(torch: ModuleType) -> None:
    """Let a kernel of ours raise the error that CUDA remembers, before the next one of the user's does."""
    with suppress(RuntimeError):
        torch.ones(1, device="cuda")


def _unpin(torch: ModuleType, block: mmap.mmap, address: int, process: int) -> None:
    """Unpin memory, which is there for as long as `block` is; not in a forked process, which has no GPU."""
    if os.getpid() == process:
        torch.cuda.cudart().cudaHostUnregister(address)
