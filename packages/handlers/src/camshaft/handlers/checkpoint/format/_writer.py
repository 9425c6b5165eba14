"""Writing a checkpoint file: its bytes go to the disk and into its checksum at the same time."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from camshaft.handlers.checkpoint._deferred_signals import deferred_signals
from camshaft.handlers.checkpoint.format._archive import END_RECORD_BYTES, with_comment_bytes
from camshaft.handlers.checkpoint.format._checksum import BlockChecksum
from camshaft.handlers.checkpoint.format._record import encode_trailer, trailer_size_bytes

if TYPE_CHECKING:
    from types import TracebackType

_BUFFER_BYTES = 1 << 21
_LEAST_FOR_A_THREAD_BYTES = 1 << 19
_SYNC_BYTES = 1 << 25
_LARGEST_PORTION_BYTES = 1 << 26  # a Ctrl-C waits for one of them to be written


class CheckpointWriter:
    """A file, as `torch.save` wants one, that ends with a trailer.

    Small portions are collected. A second thread sums up the checksum while the first one writes and collects what
    comes next. The disk begins early, so that little is left to wait for at the end.

    Nothing is raised before `finish`: in the middle of an archive `torch.save` would put an error of its own in the
    place of ours. So signals wait, and their handlers are called between two portions; after the first error, or the
    first handler that raises, nothing is written any more.

    Args:
        descriptor: The file, open for writing.
        one_thread: Whether to do without the second thread.

    Examples:
        >>> import os, tempfile
        >>> with tempfile.TemporaryFile() as file, CheckpointWriter(file.fileno()) as writer:
        ...     written = writer.write(b"content")
        ...     writer.finish(b"{}")
        ...     os.pread(file.fileno(), 28, 0)
        b'contentcamshaft-checkpoint/1'
    """

    def __init__(self, descriptor: int, *, one_thread: bool = False) -> None:
        self._descriptor = descriptor
        self._signals = deferred_signals()
        self._buffer, self._spare = _new_buffer(), memoryview(b"")
        self._filled = 0
        self._checksum = BlockChecksum()
        self._one_thread = one_thread
        self._thread: ThreadPoolExecutor | None = None
        self._summing: Future[None] | None = None
        self._error: BaseException | None = None
        self._begun_bytes = 0  # that the disk was told to begin with
        self.size_bytes = 0

    def __enter__(self) -> Self:
        self._signals.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._thread is not None:
                self._thread.shutdown()
        finally:
            self._signals.__exit__(kind, error, traceback)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come yet."""
        return not self.size_bytes and not self._filled and self._error is None

    def raise_error(self) -> None:
        """Raise what has come up while writing, if anything has."""
        if self._error is not None:
            raise self._error

    def write(self, data: bytes | memoryview) -> int:
        """Take the next bytes; the memory is free again when this returns."""
        view = memoryview(data).cast("B")
        size, end = len(view), self._filled + len(view)
        if end <= _BUFFER_BYTES and self._error is None and not self._signals.arrived:
            self._buffer[self._filled : end] = view  # the way of almost all of many small tensors
            self._filled = end
        elif self._error is None:
            try:
                self._signals.handle()
                self._take(view)
            except BaseException as error:  # noqa: BLE001 - kept until `finish`
                self._error = error
        return size

    def flush(self) -> None:
        """Do nothing: `finish` writes what is left."""

    def finish(self, record_text: bytes) -> None:
        """Write what is left, and the trailer.

        Raises:
            BaseException: what came up now or earlier; mostly an `OSError` of the file, or a KeyboardInterrupt.
        """
        self.raise_error()
        # The record that ends an archive is its last portion and small, hence still in the buffer.
        end = slice(max(0, self._filled - END_RECORD_BYTES), self._filled)
        announcing = with_comment_bytes(bytes(self._buffer[end]), trailer_size_bytes(record_text))
        if announcing is not None:
            self._buffer[end] = announcing
        self._put_buffer()
        self._finish_summing()
        self._write_all(memoryview(encode_trailer(record_text, self._checksum.value())))

    def _take(self, view: memoryview) -> None:
        if self._filled + len(view) > _BUFFER_BYTES:
            self._put_buffer()
        if len(view) > _BUFFER_BYTES:
            for start in range(0, len(view), _LARGEST_PORTION_BYTES):
                self._put(view[start : start + _LARGEST_PORTION_BYTES])
                self._signals.handle()
            self._finish_summing()
        else:
            self._buffer[self._filled : self._filled + len(view)] = view
            self._filled += len(view)

    def _put_buffer(self) -> None:
        """Sum up and write what was collected; the other buffer is filled meanwhile."""
        self._put(self._buffer[: self._filled])
        self._buffer, self._spare = self._spare or _new_buffer(), self._buffer
        self._filled = 0

    def _put(self, view: memoryview) -> None:
        self._finish_summing()
        if self._one_thread or len(view) < _LEAST_FOR_A_THREAD_BYTES:
            self._checksum.update(view)
        else:
            self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="camshaft-checksum")
            self._summing = self._thread.submit(self._checksum.update, view)
        self._write_all(view)

    def _finish_summing(self) -> None:
        if self._summing is not None:
            self._summing.result()
            self._summing = None

    def _write_all(self, view: memoryview) -> None:
        while view:
            written = os.write(self._descriptor, view)
            self.size_bytes += written
            view = view[written:]
            if self.size_bytes - self._begun_bytes >= _SYNC_BYTES:
                _begin_sync(self._descriptor, self._begun_bytes, self.size_bytes - self._begun_bytes)
                self._begun_bytes = self.size_bytes


def _new_buffer() -> memoryview:
    return memoryview(bytearray(_BUFFER_BYTES))  # taking bytes in this way costs half


def _begin_sync(descriptor: int, offset: int, size_bytes: int) -> None:
    """Let the disk begin with what has just been written to a part of an open file; do not wait for it."""
    if hasattr(os, "posix_fadvise"):
        # It asks the kernel to forget these pages, and what is not on the disk yet has to go there first. They
        # stay in memory: at this moment none of them can be forgotten. A hint: where it fails, syncing takes longer.
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, offset, size_bytes, os.POSIX_FADV_DONTNEED)
