from __future__ import annotations

import io
from collections import OrderedDict
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from camshaft.handlers.checkpoint.storage._snapshot import Snapshots  # noqa: E402


def saved(payload: Any) -> Any:
    """Return what `torch.save` makes of a payload, loaded again."""
    file = io.BytesIO()
    torch.save(payload, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def is_same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        same = type(one) is type(other) and one.dtype == other.dtype and one.stride() == other.stride()
        return same and one.requires_grad == other.requires_grad and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


def trained() -> tuple[Any, Any]:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_it_holds_what_would_have_been_saved_at_the_moment() -> None:
    model, optimizer = trained()
    payload = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 7, "names": ["a", ("b", None)]}
    before = saved(payload)
    snapshot = Snapshots({}).take(payload)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    optimizer.state.clear()
    payload["names"].append("later")

    assert is_same(before, snapshot.payload())


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12).reshape(3, 4).T,
        torch.arange(12)[2:9:3],
        torch.tensor(3.5),
        torch.empty(0, 4),
        torch.tensor([True, False]),
        torch.randn(3, dtype=torch.bfloat16),
        torch.randn(2, dtype=torch.complex64),
        torch.nn.Parameter(torch.randn(2)),
        torch.randn(2, requires_grad=True) * 2,
        torch.eye(3).to_sparse(),
    ],
    ids=[
        "transposed",
        "strided",
        "a number",
        "empty",
        "bool",
        "bfloat16",
        "complex",
        "parameter",
        "in a graph",
        "sparse",
    ],
)
def test_it_holds_tensors_of_any_kind(tensor: Any) -> None:
    held = Snapshots({}).take({"tensor": tensor}).payload()["tensor"]

    assert (type(held), held.dtype, held.requires_grad) == (type(tensor), tensor.dtype, tensor.requires_grad)
    assert torch.equal(held.to_dense() if held.is_sparse else held, tensor.to_dense() if tensor.is_sparse else tensor)


NEW_TYPES = ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float4_e2m1fn_x2"]


@pytest.mark.parametrize("name", [name for name in NEW_TYPES if hasattr(torch, name)])
def test_it_holds_tensors_of_types_that_have_no_storage_of_their_own(name: str) -> None:
    tensor = torch.arange(6, dtype=torch.uint8).repeat(8).view(getattr(torch, name))

    held = Snapshots({}).take({"tensor": tensor}).payload()["tensor"]

    assert held.dtype == tensor.dtype
    assert torch.equal(held.view(torch.uint8), tensor.view(torch.uint8))


def test_a_storage_is_held_as_torch_loads_it() -> None:
    storage = torch.arange(6.0).untyped_storage()

    held = Snapshots({}).take({"storage": storage}).payload()["storage"]

    assert (type(held), held.dtype) == (type(saved(storage)), saved(storage).dtype)


def test_tensors_that_share_memory_share_it_in_the_snapshot() -> None:
    whole = torch.arange(6.0)

    held = Snapshots({}).take({"whole": whole, "part": whole[2:4], "other": torch.zeros(6)}).payload()

    held["part"].fill_(9)
    assert held["whole"].tolist() == [0, 1, 9, 9, 4, 5]
    assert held["other"].tolist() == [0] * 6


def test_the_next_snapshot_takes_the_same_memory() -> None:
    snapshots, weight = Snapshots({}), torch.zeros(1000)
    places = []
    for step in range(3):
        held = snapshots.take({"weight": weight.fill_(step)}).payload()["weight"]
        places.append(held.data_ptr())
        assert held.unique().tolist() == [step]

    assert len(set(places)) == 1


def test_memory_grows_and_shrinks_with_what_is_saved() -> None:
    snapshots = Snapshots({})

    for size in (10, 100_000, 3, 50_000, 0):
        assert torch.equal(snapshots.take([torch.arange(size)]).payload()[0], torch.arange(size))


def test_what_cannot_be_pickled_is_an_error_of_the_moment() -> None:
    with pytest.raises(Exception, match="pickle"):
        Snapshots({}).take({"function": lambda: None})


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.lists(st.floats(width=32, allow_nan=False), max_size=5).map(torch.tensor),
)
PAYLOADS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(), inner, max_size=3),
        st.dictionaries(st.text(), inner, max_size=3).map(OrderedDict),
    ),
    max_leaves=8,
)


@given(PAYLOADS)
def test_any_payload_is_held_as_torch_would_save_it(payload: Any) -> None:
    assert is_same(saved(payload), Snapshots({}).take(payload).payload())
