"""Weights alone in a safetensors file, with what a checkpoint says about itself in the file's metadata.

The library writes and reads the tensors. Its header has room for texts; one of them is the line that ends other
checkpoint files. The checksum in it is that of the whole file, as it is with a checksum of zero in that line.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from camshaft.engine import ArgumentTypeError
from camshaft.handlers._extra import import_extra
from camshaft.handlers.checkpoint._deferred_signals import deferred_signals
from camshaft.handlers.checkpoint._errors import CheckpointDamagedError
from camshaft.handlers.checkpoint.format._checksum import BlockChecksum, read_at
from camshaft.handlers.checkpoint.format._file_name import extension_of
from camshaft.handlers.checkpoint.format._record import (
    MARK,
    TAIL_BYTES,
    Trailer,
    decode_trailer,
    encode_record,
    encode_trailer,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from camshaft.handlers.checkpoint.format._record import CheckpointRecord

Read = Callable[[int, int], bytes]

SAFETENSORS = extension_of("safetensors")
HEAD_BYTES = 8  # the length of the header
_LONGEST_HEADER_BYTES = 100_000_000  # the library's own limit
_LINE = "camshaft"
_METADATA = "__metadata__"
_RESERVED = {_METADATA, _LINE, "format"}
_PORTION_BYTES = 1 << 26  # a Ctrl-C waits for one of them to be written


class Head(NamedTuple):
    """The header of a file.

    Attributes:
        raw: Its bytes, with those that tell its length.
        names: Of the tensors.
        metadata: The texts in it.
        size_bytes: Of the file, as the header has it.
    """

    raw: bytes
    names: frozenset[str]
    metadata: Mapping[str, str]
    size_bytes: int

    @property
    def trailer(self) -> Trailer | None:
        """What the file says about itself; None for one that we did not write."""
        line = self.metadata.get(_LINE)
        return None if line is None else decode_trailer(line.encode())

    @property
    def aliases(self) -> dict[str, str]:
        """Names of tensors that are in the file under another name, as the library's `save_model` notes them."""
        return {
            name: kept
            for name, kept in self.metadata.items()
            if name not in self.names | _RESERVED and kept in self.names
        }


def has_tensors_name(filename: str) -> bool:
    """Return whether a file of this name is one of tensors alone.

    Examples:
        >>> has_tensors_name("model_1.safetensors"), has_tensors_name("model_1.pt")
        (True, False)
    """
    return filename.endswith(f".{SAFETENSORS}")


def starts_like_tensors(start: bytes, size_bytes: int) -> bool:
    """Return whether a file of this size that starts with these 9 bytes is one of tensors alone."""
    header_bytes = int.from_bytes(start[:HEAD_BYTES], "little")
    return start[HEAD_BYTES : HEAD_BYTES + 1] == b"{" and header_bytes <= size_bytes - HEAD_BYTES


def read_head(read: Read, size_bytes: int) -> Head:
    """Read the header of a file, and no more.

    Args:
        read: ``f(offset, size_bytes)``, gives bytes of the file.
        size_bytes: Size of the file.

    Raises:
        CheckpointDamagedError: it is no such header, or the tensors do not fill the file.
    """
    length = int.from_bytes(read(0, HEAD_BYTES), "little")
    if not 2 <= length <= min(_LONGEST_HEADER_BYTES, size_bytes - HEAD_BYTES):
        raise CheckpointDamagedError("its header does not fit into it; it may be cut off")
    raw = read(0, HEAD_BYTES + length)
    try:
        values = json.loads(raw[HEAD_BYTES:])
        metadata = values.pop(_METADATA, {})
        ends = [_end_of(tensor) for tensor in values.values()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointDamagedError("its header is garbled") from error
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise CheckpointDamagedError("its metadata is garbled")
    if len(raw) + max(ends, default=0) != size_bytes:
        raise CheckpointDamagedError("its tensors do not fill it; it may be cut off")
    return Head(raw, frozenset(values), metadata, size_bytes)


def checksum_of_tensors(read: Read, head: Head) -> int:
    """Return the checksum of a file as it would be with a checksum of zero."""
    trailer = head.trailer
    checksum, raw = BlockChecksum(), head.raw
    if trailer is not None:
        line, zero = head.metadata[_LINE], _with_checksum(head.metadata[_LINE], 0)
        if raw.count(_escaped(line)) != 1:
            raise CheckpointDamagedError("its metadata is garbled")
        raw = raw.replace(_escaped(line), _escaped(zero))
    checksum.update(memoryview(raw))
    for offset in range(len(raw), head.size_bytes, _PORTION_BYTES >> 2):
        checksum.update(memoryview(read(offset, min(_PORTION_BYTES >> 2, head.size_bytes - offset))))
    return checksum.value()


def write_tensors(descriptor: int, payload: Any, record: CheckpointRecord) -> int:
    """Write tensors and a record to an open file, and return how many bytes that were.

    Raises:
        ArgumentTypeError: the payload holds something else than tensors; the text names it.
        ExtraMissingError: the library is not installed.
        OSError: the file could not be written.
    """
    library = import_extra("safetensors.torch", SAFETENSORS, "saving safetensors")
    tensors, aliases = _without_duplicates(require_tensors(payload))
    record_text = encode_record(record)
    zero = encode_trailer(record_text, 0).decode()
    content = memoryview(library.save(tensors, {**aliases, "format": "pt", _LINE: zero}))
    checksum = BlockChecksum()
    checksum.update(content)
    line = encode_trailer(record_text, checksum.value()).decode()
    header_bytes = HEAD_BYTES + int.from_bytes(content[:HEAD_BYTES], "little")
    header = bytes(content[:header_bytes]).replace(_escaped(zero), _escaped(line))
    _write_all(descriptor, memoryview(header))
    _write_all(descriptor, content[header_bytes:])
    return len(content)


def read_tensors(descriptor: int, head: Head, map_location: Any) -> dict[str, Any]:
    """Return the tensors of an open file that has been verified, by name.

    Raises:
        ArgumentTypeError: `map_location` is no device.
        CheckpointDamagedError: the library does not take the file.
        ExtraMissingError: the library is not installed.
    """
    library = import_extra("safetensors.torch", SAFETENSORS, "loading safetensors")
    if map_location is not None and (callable(map_location) or isinstance(map_location, dict)):
        raise ArgumentTypeError(f"`map_location` must be a device for safetensors, got {map_location!r}")
    try:
        path = local_path_to(descriptor)
        if path is None:
            tensors = library.load(_read_all(descriptor, head.size_bytes))
        else:  # it maps the file, and what is mapped would change with it
            tensors = {name: tensor.clone() for name, tensor in library.load_file(path).items()}
    except Exception as error:  # the library's own class is one for everything
        raise CheckpointDamagedError(f"safetensors does not take it: {error}") from error
    if map_location is not None:
        tensors = {name: tensor.to(map_location) for name, tensor in tensors.items()}
    return {**tensors, **{name: tensors[kept] for name, kept in head.aliases.items()}}


def local_path_to(descriptor: int) -> str | None:
    """Return a path to an open file, whatever it is called now; None where the system has no such paths."""
    return next((f"{each}/{descriptor}" for each in ("/proc/self/fd", "/dev/fd") if Path(each).is_dir()), None)


def _read_all(descriptor: int, size_bytes: int) -> bytes:
    portions = range(0, size_bytes, _PORTION_BYTES)
    return b"".join(read_at(descriptor, start, min(_PORTION_BYTES, size_bytes - start)) for start in portions)


def require_tensors(payload: Any) -> Mapping[str, Any]:
    """Return a payload if it is a mapping of names to tensors that the format can hold.

    Raises:
        ArgumentTypeError: it holds something else; the text names it.
    """
    import torch

    if not isinstance(payload, dict):
        raise _refused("the state", payload)
    for name, value in payload.items():
        if not isinstance(name, str) or name == _METADATA or not _is_utf8(name):
            raise ArgumentTypeError(f"`to_save` must have names that safetensors takes, got {name!r}; rename it")
        if not isinstance(value, torch.Tensor):
            raise _refused(f"[{name!r}]", value)
        if value.layout is not torch.strided or value.is_quantized or value.is_meta or not _has_type(value.dtype):
            kind = "on the meta device" if value.is_meta else f"{value.dtype}, {value.layout}"
            raise ArgumentTypeError(
                f"`to_save` must hold dense tensors of a type that safetensors knows, got one of {kind} at [{name!r}]; "
                "save it with format='torch'"
            )
    return payload


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refused(where: str, value: Any) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"`to_save` must hold tensors only for format='safetensors', got {type(value).__name__} at {where}; save the "
        "weights of one module this way, and the rest with another Checkpoint"
    )


@functools.cache
def _has_type(dtype: Any) -> bool:
    import torch

    library = import_extra("safetensors.torch", SAFETENSORS, "saving safetensors")
    try:
        library.save({"tried": torch.empty(0, dtype=dtype)})
    except (KeyError, ValueError, RuntimeError):
        return False
    return True


def _without_duplicates(tensors: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return tensors that share no memory, and the names of those left out because another one is the same.

    Tied weights are one tensor with two names, and stay one. Tensors that overlap otherwise are copied.
    """
    kept: dict[str, Any] = {}
    aliases: dict[str, str] = {}
    names_by_view: dict[Any, str] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        if tensor.is_conj() or tensor.is_neg():  # its memory holds something else than its values
            kept[name] = tensor.resolve_conj().resolve_neg().contiguous()
            continue
        storage = tensor.untyped_storage()
        view = (storage.data_ptr(), tensor.device, tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride())
        first = names_by_view.setdefault(view, name)
        if first != name and tensor.numel() and name not in _RESERVED:
            aliases[name] = first
            continue
        is_whole = storage.nbytes() == tensor.nbytes and tensor.is_contiguous() and storage.data_ptr() not in storages
        storages.add(storage.data_ptr())
        kept[name] = tensor if is_whole else tensor.clone(memory_format=_contiguous())
    return kept, aliases


def _contiguous() -> Any:
    import torch

    return torch.contiguous_format


def _end_of(tensor: Mapping[str, Any]) -> int:
    start, end = tensor["data_offsets"]
    if not 0 <= start <= end:
        raise ValueError("a tensor ends before it starts")
    return int(end)


def _with_checksum(line: str, checksum: int) -> str:
    """Return a line with another checksum; what it says stays."""
    return encode_trailer(line.encode()[len(MARK) : -TAIL_BYTES], checksum).decode()


def _escaped(line: str) -> bytes:
    return json.dumps(line)[1:-1].encode()


def _write_all(descriptor: int, view: memoryview) -> None:
    while view:
        deferred_signals().handle()
        view = view[os.write(descriptor, view[:_PORTION_BYTES]) :]
