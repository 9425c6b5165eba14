from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camshaft.handlers.checkpoint._errors import CheckpointDamagedError
from camshaft.handlers.checkpoint.format._record import (
    LONGEST_TRAILER_BYTES,
    TAIL_BYTES,
    CheckpointRecord,
    ShardRecord,
    announced_trailer_bytes,
    decode_trailer,
    encode_record,
    encode_trailer,
    trailer_size_bytes,
)

texts = st.text(max_size=20)
numbers = st.one_of(st.none(), st.integers(), st.floats(allow_nan=False))
records = st.builds(
    CheckpointRecord,
    save_number=st.integers(0, 2**63 - 1),
    step=numbers,
    exact=st.booleans(),
    prefix=texts,
    name=texts,
    keys=st.one_of(st.none(), st.lists(texts, max_size=4).map(tuple)),
    is_bare=st.booleans(),
    score_name=st.one_of(st.none(), texts),
    priority=numbers,
    shards=st.one_of(st.none(), st.just(ShardRecord("model_1.pt.0a.shards", 4096, "0b1c"))),
)


@given(records, st.integers(0, 2**32 - 1))
def test_what_is_written_is_read_back(record: CheckpointRecord, checksum: int) -> None:
    text = encode_record(record)
    line = encode_trailer(text, checksum)

    assert trailer_size_bytes(text) == len(line)
    assert announced_trailer_bytes(b"anything" + line) == len(line)
    assert (record, checksum, len(line)) == decode_trailer(line)


def test_nan_and_infinite_priorities_are_read_back() -> None:
    line = encode_trailer(encode_record(CheckpointRecord(priority=math.nan, step=5)), 0)
    assert math.isnan(decode_trailer(line).record.priority or 0.0)
    line = encode_trailer(encode_record(CheckpointRecord(priority=-math.inf)), 0)
    assert decode_trailer(line).record.priority == -math.inf


def test_the_line_is_plain_text_in_which_no_archive_can_begin_or_end() -> None:
    line = encode_trailer(encode_record(CheckpointRecord(prefix="PK\x05\x06", name="é\ud800")), 0)

    assert line.isascii()
    assert b"PK\x05\x06" not in line


def test_too_many_names_are_left_out() -> None:
    record = CheckpointRecord(name="checkpoint", keys=tuple(f"object number {index}" for index in range(10_000)))
    line = encode_trailer(encode_record(record), 0)

    assert len(line) < LONGEST_TRAILER_BYTES
    assert decode_trailer(line).record.keys is None


def test_every_changed_bit_is_noticed() -> None:
    line = encode_trailer(encode_record(CheckpointRecord(save_number=3, step=7, keys=("model",))), 0xC0FFEE)
    for position in range(len(line) * 8):
        changed = bytearray(line)
        changed[position // 8] ^= 1 << position % 8
        announced = announced_trailer_bytes(bytes(changed))
        if announced is None:
            continue  # without its end it is no trailer: the archive ends in the wrong place then
        with pytest.raises(CheckpointDamagedError):
            decode_trailer(bytes(changed)[-announced:] if announced else b"")


def test_no_trailer_is_announced_by_other_bytes() -> None:
    assert announced_trailer_bytes(b"") is None
    assert announced_trailer_bytes(b"x" * TAIL_BYTES) is None


@pytest.mark.parametrize(
    "text",
    [
        b"no json",
        b"[1]",
        b'{"save_number":"3"}',
        b'{"save_number":true}',
        b'{"save_number":-1}',
        b'{"save_number":1e3}',
        b'{"save_number":99999999999999999999}',
        b'{"keys":[1]}',
        b'{"keys":"model"}',
        b'{"step":"x"}',
        b'{"exact":1}',
        b'{"shards":["a.shards",1]}',
        b'{"shards":["a.shards",true,"0b"]}',
        b'{"shards":["../a.shards",1,"0b"]}',
        b'{"shards":["a",1,"0b"]}',
        b"[" * 20_000,
    ],
)
def test_a_line_with_a_sound_checksum_and_nonsense_is_refused(text: bytes) -> None:
    with pytest.raises(CheckpointDamagedError):
        decode_trailer(encode_trailer(text, 0))


def test_unknown_entries_of_later_versions_are_passed_over() -> None:
    record: Any = decode_trailer(encode_trailer(b'{"save_number":4,"weather":"fine"}', 0)).record

    assert record == CheckpointRecord(save_number=4)
