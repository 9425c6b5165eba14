from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine
from camshaft.handlers import (
    Checkpoint,
    CheckpointDamagedError,
    CheckpointUnsafeError,
    DiskSaver,
    FsspecSaver,
    ModelCheckpoint,
    list_checkpoints,
    restore_latest,
    verify_checkpoint,
)
from camshaft.handlers.testing import check_store

torch = pytest.importorskip("torch")
library = pytest.importorskip("safetensors.torch")
nn = torch.nn

if TYPE_CHECKING:
    from pathlib import Path


class Tied(nn.Module):
    """The first and the last layer share their weights, as language models do."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(5, 3), nn.BatchNorm1d(3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight


def saved(directory: Path | str, model: Any, **options: Any) -> Checkpoint:
    """Save a model at step 7."""
    engine: Engine[None, None] = Engine(lambda engine, batch: None)
    engine.state.iteration = 7
    checkpoint = Checkpoint({"model": model}, directory, format="safetensors", **options)
    checkpoint(engine)
    return checkpoint


def is_same(one: Any, two: Any) -> bool:
    states = one.state_dict(), two.state_dict()
    return list(states[0]) == list(states[1]) and all(map(torch.equal, states[0].values(), states[1].values()))


def test_the_library_itself_reads_what_was_saved(tmp_path: Path) -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    path = saved(tmp_path, model).last_checkpoint

    other.load_state_dict(library.load_file(path))
    assert is_same(model, other)
    with library.safe_open(path, "pt") as file:
        assert "pt" == file.metadata()["format"]


def test_a_model_with_tied_weights_is_read_by_the_library_and_by_us(tmp_path: Path) -> None:
    model, one, two = Tied(), Tied(), Tied()
    checkpoint = saved(tmp_path, model)

    assert library.load_model(one, checkpoint.last_checkpoint) == (set(), [])
    checkpoint.restore_latest({"model": two})
    assert is_same(model, one)
    assert is_same(model, two)
    assert two.head.weight is two.embedding.weight
    assert "head.weight" not in library.load_file(checkpoint.last_checkpoint)


@pytest.mark.parametrize(
    "state",
    [
        {
            "whole": "base",
            "start": "base[:2]",
            "end": "base[2:]",
            "transposed": "base.T",
            "row": "base[0].expand(3, 4)",
        },
        {"scalar": "base[0, 0]", "empty": "torch.zeros(0, 3)", "also empty": "torch.zeros(0)", "": "base"},
        {"half": "base.half()", "bf16": "base.bfloat16()", "bool": "base > 3", "int": "base.long()"},
        {
            "complex": "twisted",
            "conjugate": "twisted.conj()",
            "part": "twisted.conj().imag",
            "turned": "twisted.conj().T",
        },
        {"format": "base", "camshaft": "base", 'é "quoted" \\': "base", "again": "base"},
    ],
    ids=["views", "sizes", "types", "conjugates", "names"],
)
def test_tensors_come_back_bit_for_bit(tmp_path: Path, state: dict[str, str]) -> None:
    base = torch.arange(16.0).reshape(4, 4)
    known = {"base": base, "twisted": torch.complex(base, base + 1), "torch": torch}
    tensors = {name: eval(text, known) for name, text in state.items()}  # noqa: S307 - above
    saver = DiskSaver(tmp_path)
    saver(tensors, "some.safetensors")

    back = saver.read("some.safetensors").payload
    assert back.keys() == tensors.keys()
    assert all(tensors[name].dtype == back[name].dtype and torch.equal(tensors[name], back[name]) for name in tensors)


def test_it_is_listed_verified_and_restored_like_others(tmp_path: Path) -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    saved(tmp_path, model, filename_prefix="best", score_name="acc", score_function=lambda engine: 0.5)

    (file,) = list_checkpoints(tmp_path)
    record = verify_checkpoint(file.path)
    assert (file.name, file.step, file.is_legible) == ("best_model_acc=0.5000.safetensors", 7, True)
    assert record == file.record
    assert record is not None
    assert (record.keys, record.score_name, record.priority, record.save_number) == (("model",), "acc", 0.5, 1)
    assert restore_latest(tmp_path, {"model": other}).path == file.path
    assert is_same(model, other)


def test_retention_holds(tmp_path: Path) -> None:
    engine: Engine[None, None] = Engine(lambda engine, batch: None)
    checkpoint = Checkpoint({"m": nn.Linear(1, 1)}, tmp_path, n_saved=2, format="safetensors")
    for engine.state.iteration in (1, 2, 3):
        checkpoint(engine)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["m_2.safetensors", "m_3.safetensors"]


def test_a_model_checkpoint_has_the_format_too(tmp_path: Path) -> None:
    engine: Engine[None, None] = Engine(lambda engine, batch: None)
    model = nn.Linear(1, 1)
    ModelCheckpoint(tmp_path, format="safetensors")(engine, {"m": model})

    assert torch.equal(library.load_file(tmp_path / "m_0.safetensors")["weight"], model.weight)


def test_a_remote_store_has_the_format_too() -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    FsspecSaver("memory://tensors", require_empty=False).close()
    checkpoint = saved("memory://tensors", model)
    checkpoint.restore_latest({"model": other})

    assert is_same(model, other)
    assert ["model_7.safetensors"] == [file.name for file in list_checkpoints("memory://tensors")]


@pytest.mark.parametrize(
    ("objects", "named"),
    [
        ({"o": lambda: torch.optim.Adam(nn.Linear(1, 1).parameters())}, "dict at .'state'"),
        ({"a": lambda: nn.Linear(1, 1), "b": lambda: nn.Linear(1, 1)}, "one object"),
        ({"sparse": lambda: Holder(torch.eye(2).to_sparse())}, "sparse"),
        ({"double": lambda: Holder(torch.ones(2, dtype=torch.complex128))}, "complex128"),
        ({"name": lambda: nn.ParameterDict({"\ud800": torch.ones(2)})}, "rename it"),
        ({"meta": lambda: Holder(torch.ones(2, device="meta"))}, "meta"),
    ],
)
def test_what_is_not_tensors_is_refused_by_name_before_anything_is_saved(
    tmp_path: Path, objects: dict[str, Any], named: str
) -> None:
    with pytest.raises((ArgumentError, ArgumentTypeError), match=named):
        Checkpoint({name: make() for name, make in objects.items()}, tmp_path, format="safetensors")
    assert [] == list(tmp_path.iterdir())


class Holder(nn.Module):
    def __init__(self, tensor: Any) -> None:
        super().__init__()
        self.register_buffer("held", tensor)


class Count:
    def state_dict(self) -> dict[str, int]:
        return {"count": 3}

    def load_state_dict(self, state: dict[str, int]) -> None: ...


def test_what_shows_at_the_save_only_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match=r"int at \['count'\]"):
        saved(tmp_path, Count())
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"format": "pickle"}, {"format": "safetensors", "filename_pattern": "{name}.pt"}])
def test_a_format_that_is_none_or_contradicts_the_names_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="pickle|filename_pattern"):
        Checkpoint({"model": nn.Linear(1, 1)}, tmp_path, **options)


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path, nn.Linear(3, 2)).last_checkpoint
    content, choose = path.read_bytes(), random.Random(0)
    places = [choose.randrange(len(content) * 8) for _ in range(300)]
    damaged = [content[: p // 8] + bytes((content[p // 8] ^ 1 << p % 8,)) + content[p // 8 + 1 :] for p in places]
    damaged += [content[:length] for length in range(0, len(content), 7)]
    damaged.append(content + b"\0")

    for each in damaged:
        path.write_bytes(each)
        with pytest.raises((CheckpointDamagedError, CheckpointUnsafeError)):
            verify_checkpoint(path)


def test_a_file_of_the_library_itself_has_to_be_trusted(tmp_path: Path) -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    library.save_file(model.state_dict(), tmp_path / "model.safetensors")

    with pytest.raises(CheckpointUnsafeError, match="trusted=True"):
        verify_checkpoint(tmp_path / "model.safetensors")
    Checkpoint.load_objects({"model": other}, tmp_path / "model.safetensors", trusted=True)
    assert is_same(model, other)


@pytest.mark.parametrize(
    "header",
    [
        b"{}", b"[]", b"{", b'{"__metadata__":3}', b'{"__metadata__":{"camshaft":3}}', b'{"a":{}}',
        b'{"__metadata__":{"camshaft":"x"}}', b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,400]}}',
        b'{"a":{"data_offsets":[8,4]}}', b'{"a":3}',
        b'{"a":{"data_offsets":"ab"}}', b"[" * 5000,
    ],
    ids=range(12),
)  # fmt: skip
def test_a_header_made_to_do_harm_is_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))

    with pytest.raises((CheckpointDamagedError, CheckpointUnsafeError)):
        Checkpoint.load_objects({"model": nn.Linear(1, 1)}, path)
    assert list_checkpoints(tmp_path)[0].record is None


def test_a_device_map_that_the_format_has_not_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, nn.Linear(1, 1)).last_checkpoint

    with pytest.raises(ArgumentTypeError, match="map_location"):
        Checkpoint.load_objects({"model": nn.Linear(1, 1)}, path, map_location={"cuda": "cpu"})


def test_stores_keep_their_promises_for_other_files_beside_it(tmp_path: Path) -> None:
    saver = DiskSaver(tmp_path)
    check_store(lambda: DiskSaver(tmp_path, require_empty=False))
    saver({"weight": torch.ones(2)}, "model.safetensors")

    assert ["model.safetensors"] == [file.name for file in saver.checkpoints()]
