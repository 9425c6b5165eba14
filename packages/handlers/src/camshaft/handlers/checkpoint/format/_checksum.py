"""The checksum of a file's content: a hash of the CRC-32s of its blocks.

Blocks of one size can be summed by several threads (`zlib.crc32` lets go of the interpreter lock),
and while the next one is being written or read. A CRC of the CRCs would be linear, and changes in
two blocks could cancel out; a hash of them is not.
"""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

BLOCK_BYTES = 1 << 24
_READ_BYTES = 1 << 20
_MOST_THREADS = 4
_seeking = threading.Lock()


class BlockChecksum:
    """Sums up bytes as they come, whatever their portions.

    Examples:
        >>> one, two = BlockChecksum(), BlockChecksum()
        >>> one.update(memoryview(b"abcdef"))
        >>> for part in (b"ab", b"cde", b"f"):
        ...     two.update(memoryview(part))
        >>> one.value() == two.value()
        True
    """

    def __init__(self) -> None:
        self._done: list[int] = []
        self._block, self._block_bytes = 0, 0

    def update(self, data: memoryview) -> None:
        """Add bytes to the end."""
        while data:
            part = data[: BLOCK_BYTES - self._block_bytes]
            self._block = zlib.crc32(part, self._block)
            self._block_bytes += len(part)
            data = data[len(part) :]
            if self._block_bytes == BLOCK_BYTES:
                self._done.append(self._block)
                self._block, self._block_bytes = 0, 0

    def value(self) -> int:
        """Return the checksum of everything so far."""
        blocks = [*self._done, self._block] if self._block_bytes else self._done
        return _of_blocks(blocks)


def checksum_of(descriptor: int, end: int) -> int:
    """Return the checksum of the first `end` bytes of an open file; of a shorter file, of all of it."""
    starts = range(0, end, BLOCK_BYTES)
    if len(starts) <= 1:
        return _of_blocks([crc_of(descriptor, start, end) for start in starts])
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as threads:
        return _of_blocks(
            list(threads.map(lambda start: crc_of(descriptor, start, min(start + BLOCK_BYTES, end)), starts))
        )


def crc_of(descriptor: int, start: int, end: int) -> int:
    """Return the plain CRC-32 of the bytes from `start` to `end` of an open file, as far as it goes."""
    crc = 0
    while start < end:
        data = read_at(descriptor, start, min(_READ_BYTES, end - start))
        if not data:
            break
        crc = zlib.crc32(data, crc)
        start += len(data)
    return crc


def read_at(descriptor: int, offset: int, size_bytes: int) -> bytes:
    """Return up to `size_bytes` bytes from `offset` on; several threads may read at once."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size_bytes, offset)
    with _seeking:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size_bytes)


def _of_blocks(crcs: list[int]) -> int:
    digest = hashlib.blake2b(b"".join(crc.to_bytes(4, "little") for crc in crcs), digest_size=4)
    return int.from_bytes(digest.digest(), "little")
