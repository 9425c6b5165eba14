"""One directory of an fsspec file system, and the requests to it. Each is tried again when the network fails."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from camshaft.engine import ArgumentError, ArgumentTypeError
from camshaft.handlers._errors import ExtraMissingError
from camshaft.handlers._extra import import_extra
from camshaft.handlers._local_path import is_url
from camshaft.handlers.checkpoint._deferred_signals import deferred_signals
from camshaft.handlers.checkpoint.storage._retry import Retry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PATTERN_CHARACTERS = "*?["
# There a file that is put appears as a whole when all of it has arrived, and moving is copying.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"}
_BLOCK_BYTES = 1 << 24
_BLOCKS_AT_ONCE = 4
_RANGES_AT_ONCE = 256


class Entry(NamedTuple):
    """What is known of a file without reading it; two are equal as long as nobody has replaced it."""

    name: str
    size_bytes: int
    modified_ns: int
    version: str
    is_file: bool


class RemoteDirectory:
    """Makes requests to one directory of a file system.

    Args:
        url: Of the directory.
        storage_options: For the file system.
        retry: How often a request is made.

    Raises:
        ArgumentError: the URL is none of a directory of one file system that is installed.
        ExtraMissingError: fsspec is not installed.
        OSError: the file system cannot be connected to.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any], retry: Retry) -> None:
        if not isinstance(storage_options, Mapping):
            raise ArgumentTypeError(f"`storage_options` must be a mapping of names to values, got {storage_options!r}")
        self.url = _checked_url(url)
        self.retry = retry
        self._options = dict(storage_options)
        system, self._root = retry.call(self._first_connect, self.url)
        protocols = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
        self.is_object_store = bool(protocols & _OBJECT_STORES)
        if not self._root.strip("/") and self.is_object_store:
            raise ArgumentError(f"`url` must name a bucket, got {url!r}; write it as s3://bucket/directory")
        self.identity = (*sorted(protocols), self._root, repr(sorted(self._options.items())))

    def with_one_attempt(self) -> RemoteDirectory:
        """Return the same directory, with requests that are made once: for what may fail."""
        return RemoteDirectory(self.url, self._options, Retry(1))

    def entries(self) -> list[Entry]:
        """Return what is in the directory.

        Raises:
            FileNotFoundError: it is not there; object stores do not tell that from an empty one.
            OSError: it cannot be looked into.
        """
        listed = self._request("ls", self._root, detail=True)
        return [_entry_of(item) for item in listed if item["name"].rstrip("/") != self._root]

    def find(self, name: str) -> Entry | None:
        """Return what is known of a file, None if there is none."""
        try:
            return _entry_of(self._request("info", self._path(name)))._replace(name=name)
        except FileNotFoundError:
            return None

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        """Return bytes of a file, fewer where it ends."""
        if size_bytes == 0:
            return b""
        return bytes(self._request("cat_file", self._path(name), start=offset, end=offset + size_bytes))

    def ends(self, entries: Sequence[Entry], size_bytes: int) -> Iterator[tuple[Entry, bytes | Exception]]:
        """Yield each file with its last bytes, or with what came up when they were asked for."""
        for first in range(0, len(entries), _RANGES_AT_ONCE):
            some = entries[first : first + _RANGES_AT_ONCE]
            paths = [self._path(entry.name) for entry in some]
            starts = [max(0, entry.size_bytes - size_bytes) for entry in some]
            yield from zip(some, self._ranges(paths, starts, [entry.size_bytes for entry in some]), strict=True)

    def blocks(self, entry: Entry) -> Iterator[bytes]:
        """Yield the content of a file, several blocks of it being fetched at once.

        Raises:
            ConnectionError: it ended early.
            OSError: it cannot be read.
        """
        step = _BLOCK_BYTES * _BLOCKS_AT_ONCE
        path = self._path(entry.name)
        for first in range(0, entry.size_bytes, step):
            starts = list(range(first, min(first + step, entry.size_bytes), _BLOCK_BYTES))
            ends = [min(start + _BLOCK_BYTES, entry.size_bytes) for start in starts]
            for start, end, block in zip(starts, ends, self._ranges([path] * len(starts), starts, ends), strict=True):
                content = self.read(entry.name, start, end - start) if isinstance(block, Exception) else block
                if len(content) != end - start:
                    raise ConnectionError(None, f"{len(content)} bytes came instead of {end - start}", path)
                yield content
            deferred_signals().handle()

    def put(self, local: str, name: str) -> None:
        """Copy a local file there, over an earlier one of that name."""
        self._request("put_file", local, self._path(name))

    def put_bytes(self, content: bytes, name: str) -> None:
        """Make a small file."""
        self._request("pipe_file", self._path(name), content)

    def move(self, old: str, new: str) -> None:
        """Give a file another name, in the place of an earlier one of that name."""
        try:
            if self.is_object_store:
                self._request("cp_file", self._path(old), self._path(new))
                self._request("rm_file", self._path(old))
            else:
                self._request("mv", self._path(old), self._path(new))
        except FileNotFoundError:  # an attempt of which no answer came may have done it
            if self.find(new) is None:
                raise

    def remove(self, name: str) -> None:
        """Remove a file.

        Raises:
            FileNotFoundError: there is none; object stores do not tell.
        """
        # Not `rm`, which takes a name for a pattern.
        self._request("rm_file", self._path(name))

    def make(self) -> None:
        """Make the directory, where there are such."""
        if not self.is_object_store:
            self._request("makedirs", self._root, exist_ok=True)

    def _ranges(self, paths: list[str], starts: list[int], ends: list[int]) -> list[bytes | Exception]:
        return list(self._request("cat_ranges", paths, starts, ends, on_error="return"))

    def _request(self, function: str, *arguments: Any, **options: Any) -> Any:
        def request() -> Any:
            system, root = self._connect()
            system.invalidate_cache(root)  # others change the directory too
            return getattr(system, function)(*arguments, **options)

        return self.retry.call(request, self.url)

    def _connect(self) -> tuple[Any, str]:
        """Return the file system; fsspec keeps one for each process and thread."""
        url_to_fs = import_extra("fsspec.core", "fsspec", "a directory with a URL").url_to_fs
        system, root = url_to_fs(self.url, **self._options)
        return system, str(root)

    def _first_connect(self) -> tuple[Any, str]:
        try:
            return self._connect()
        except ExtraMissingError:
            raise
        except (ImportError, ValueError, TypeError, AttributeError) as error:
            raise ArgumentError(
                f"`url` must be of a file system that is installed, got {self.url!r}: {error}"
            ) from error

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _checked_url(url: object) -> str:
    if not isinstance(url, str):
        raise ArgumentTypeError(f"`url` must be a string, got {url!r}; write it as memory://directory")
    if not is_url(url):
        raise ArgumentError(f"`url` must be a URL, got {url!r}; write it as s3://bucket/directory")
    if "::" in url:
        raise ArgumentError(f"`url` must be of one file system, got {url!r}; a cache would hide what is there")
    if any(character in url for character in _PATTERN_CHARACTERS):
        raise ArgumentError(f"`url` must hold none of {' '.join(_PATTERN_CHARACTERS)}, got {url!r}; they make patterns")
    kind, _, path = url.partition("://")
    if any(ord(character) < 32 for character in url) or ".." in path.split("/") or "//" in path:
        raise ArgumentError(f"`url` must be a plain path to a directory, got {url!r}; write it without '..' and '//'")
    if _has_password(url):
        shown = url.partition("@")[2]
        raise ArgumentError(f"`url` must hold no password, got one for {shown!r}; give it in `storage_options`")
    return f"{kind}://{path.removesuffix('/') or path}"


def _has_password(url: str) -> bool:
    try:
        return urlsplit(url).password is not None
    except ValueError:
        return False


def _entry_of(info: Mapping[str, Any]) -> Entry:
    name = str(info["name"]).rstrip("/").rpartition("/")[2]
    times = [info[key] for key in ("mtime", "LastModified", "last_modified", "updated", "created") if info.get(key)]
    return Entry(
        name,
        int(info.get("size") or 0),
        _nanoseconds(times[0]) if times else 0,
        str(info.get("ETag") or info.get("etag") or ""),
        info.get("type") != "directory",
    )


def _nanoseconds(moment: Any) -> int:
    if isinstance(moment, dt.datetime):
        moment = moment.timestamp()
    return int(moment * 1e9) if isinstance(moment, int | float) else 0
