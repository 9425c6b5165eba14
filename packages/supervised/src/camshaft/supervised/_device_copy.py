"""Copies of batches to a GPU, made while it computes: from pinned memory, on a stream of their own."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from camshaft.supervised._batch import map_movable


class Copy(NamedTuple):
    """A batch on its way to the GPU.

    Attributes:
        batch: where what was copied is on the device already, though the copying may still go on.
        copied: what was copied, each with a method `record_stream`.
        done: the end of the copying.
    """

    batch: Any
    copied: list[Any]
    done: torch.cuda.Event


class DeviceCopier:
    """Copies batches to a GPU on a stream of its own.

    There are two batches on the GPU at most: the one that it computes with and the next one. A third is not begun until
    all steps before the present one are done there.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        self._before: torch.cuda.Event | None = None  # the end of all that came before the step of the last batch

    def make_room(self) -> None:
        """Wait until the GPU is done with all batches but the one that was given last.

        The GPU still has the step of that one to do, so it is not idle. The copying of that one has ended, too. So a
        loader that writes all its batches into the same pinned memory may write the next one.
        """
        if self._before is not None:
            self._before.synchronize()

    def start(self, batch: Any) -> Copy:
        """Begin to copy a batch, and do not wait for it.

        Tensors are copied, and objects with the methods `pin_memory`, `to` and `record_stream`; everything else stays
        as it is.

        Args:
            batch: nested to any depth; it is not changed.
        """
        copied: list[Any] = []

        def copy(leaf: Any) -> Any:
            if not can_copy_early(leaf):
                return leaf
            moved = leaf.pin_memory().to(self._device, non_blocking=True)
            copied.append(moved)
            return moved

        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        with torch.cuda.stream(self._stream):
            return Copy(map_movable(copy, batch), copied, self._stream.record_event())

    def finish(self, copy: Copy) -> Any:
        """Return the copied batch, for use on the current stream, which waits for the copying to end."""
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(copy.done)
        before = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # who waits for it sleeps
        self._before = stream.record_event(before)
        for each in copy.copied:
            each.record_stream(stream)  # its memory is not given to the next copy before this stream is done with it
        return copy.batch


def can_copy_early(leaf: Any) -> bool:
    """Return whether a part of a batch can be copied on another stream than the one that uses it.

    So can dense tensors in the memory of the CPU. The parts of other tensors and objects are their own, so they have to
    tell torch themselves on which stream they are used.

    Args:
        leaf: a tensor, or another object with a `to` method.
    """
    if isinstance(leaf, torch.Tensor):
        is_plain = type(leaf) is torch.Tensor and leaf.layout is torch.strided and not leaf.is_nested
        return is_plain and leaf.device.type == "cpu" and not leaf.requires_grad
    return all(callable(getattr(leaf, name, None)) for name in ("pin_memory", "record_stream"))
