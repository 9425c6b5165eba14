"""Where a payload goes while it is being written: to a file, and into its checksum at the same time."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from camshaft.handlers.checkpoint.format._archive import END_RECORD_BYTES, with_comment_bytes
from camshaft.handlers.checkpoint.format._checksum import BlockChecksum
from camshaft.handlers.checkpoint.format._record import encode_trailer, trailer_size_bytes
from camshaft.handlers.checkpoint.storage._durable import begin_sync

if TYPE_CHECKING:
    from types import TracebackType

_BUFFER_BYTES = 1 << 21
_LEAST_FOR_A_THREAD_BYTES = 1 << 19
_SYNC_BYTES = 1 << 25


class CheckpointWriter:
    """A file, as `torch.save` wants one, that ends with a trailer.

    Small portions are collected. The checksum is summed up by a second thread, while the first one
    writes and collects what comes next; and the disk begins early, so that little is left to wait
    for at the end. An error of the file is kept until `finish`: the writer of archives, told of it in
    the middle, would hide it behind one of its own.

    Examples:
        >>> import os, tempfile
        >>> with tempfile.TemporaryFile() as file, CheckpointWriter(file.fileno()) as sink:
        ...     written = sink.write(b"content")
        ...     sink.finish(b"{}")
        ...     os.pread(file.fileno(), 28, 0)
        b'contentcamshaft-checkpoint/1'
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer, self._spare = bytearray(_BUFFER_BYTES), bytearray()
        self._filled = 0
        self._checksum = BlockChecksum()
        self._thread: ThreadPoolExecutor | None = None
        self._summing: Future[None] | None = None
        self._error: OSError | None = None
        self._begun_bytes = 0  # that the disk was told to begin with
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come yet."""
        return not self.size_bytes and not self._filled and self._error is None

    def write(self, data: bytes | memoryview) -> int:
        """Take the next bytes; the memory is free again when this returns."""
        view = memoryview(data).cast("B")
        if self._filled + len(view) > _BUFFER_BYTES:
            self._put_buffer()
        if len(view) > _BUFFER_BYTES:
            self._put(view)
            self._finish_summing()
        else:
            self._buffer[self._filled : self._filled + len(view)] = view
            self._filled += len(view)
        return len(view)

    def flush(self) -> None:
        """Do nothing: `finish` writes what is left."""

    def finish(self, record_text: bytes) -> None:
        """Write what is left, and the trailer.

        Raises:
            OSError: something could not be written, now or earlier.
        """
        # The record that ends an archive is its last portion and small, hence still in the buffer.
        end = slice(max(0, self._filled - END_RECORD_BYTES), self._filled)
        announcing = with_comment_bytes(bytes(self._buffer[end]), trailer_size_bytes(record_text))
        if announcing is not None:
            self._buffer[end] = announcing
        self._put_buffer()
        self._finish_summing()
        self._write_all(memoryview(encode_trailer(record_text, self._checksum.value())))
        if self._error is not None:
            raise self._error

    def _put_buffer(self) -> None:
        """Sum up and write what was collected; the other buffer is filled meanwhile."""
        self._put(memoryview(self._buffer)[: self._filled])
        self._buffer, self._spare = self._spare or bytearray(_BUFFER_BYTES), self._buffer
        self._filled = 0

    def _put(self, view: memoryview) -> None:
        self._finish_summing()
        if self._error is not None:
            return
        if len(view) < _LEAST_FOR_A_THREAD_BYTES:
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
        if self._error is not None:
            return
        try:
            while view:
                written = os.write(self._descriptor, view)
                self.size_bytes += written
                view = view[written:]
                if self.size_bytes - self._begun_bytes >= _SYNC_BYTES:
                    begin_sync(self._descriptor, self._begun_bytes, self.size_bytes - self._begun_bytes)
                    self._begun_bytes = self.size_bytes
        except OSError as error:
            self._error = error
