from __future__ import annotations

import collections
import datetime as dt
import pickle
import types
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from camshaft.handlers.checkpoint.format import _unsafe_content
from camshaft.handlers.checkpoint.format._unsafe_content import unsafe_keys

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from types import ModuleType


def test_what_does_not_load_safely_is_named(tmp_path: Path) -> None:
    payload = {"model": {"weight": torch.zeros(3)}, "odd": types.SimpleNamespace(), "set": {1, 2}}
    torch.save(payload, tmp_path / "file.pt")

    reasons = unsafe_keys(tmp_path / "file.pt", payload)

    assert reasons is not None
    assert list(reasons) == ["odd"]
    assert "SimpleNamespace" in reasons["odd"]


def test_what_loads_safely_is_not_named(own_file: Path, content: Any) -> None:
    assert unsafe_keys(own_file, content) is None


def test_a_file_that_cannot_be_read_back_is_not_judged(tmp_path: Path) -> None:
    assert unsafe_keys(tmp_path / "unmounted.pt", {}) is None


def test_a_bare_state_that_does_not_load_safely_is_noticed(tmp_path: Path) -> None:
    payload = types.SimpleNamespace()
    torch.save(payload, tmp_path / "file.pt")

    assert list(unsafe_keys(tmp_path / "file.pt", payload) or {}) == [""]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was loaded to find out what is unsafe."""
    seen: list[Any] = []
    real = _unsafe_content.load_quietly

    def load_quietly(torch: ModuleType, source: Any, **options: Any) -> Any:
        seen.append(source)
        return real(torch, source, **options)

    monkeypatch.setattr(_unsafe_content, "load_quietly", load_quietly)
    return seen


SAFE: dict[str, Any] = {
    "tensors": {f"layer{index}": torch.ones(2) for index in range(300)},
    "parameters": torch.nn.Linear(3, 3).state_dict(),
    "optimizer": torch.optim.Adam(torch.nn.Linear(3, 3).parameters()).state_dict(),
    "kinds": [torch.zeros(2, dtype=dtype) for dtype in (torch.bfloat16, torch.int8, torch.bool, torch.complex64)],
    "parts": [torch.zeros(2, 2).to_sparse(), torch.zeros(3).as_strided((2,), (1,)), torch.Size([1, 2]), torch.float16],
    "plain": [1, 2.5, "text", b"bytes", None, True, {1, 2}, (3,), 1 << 80, collections.OrderedDict(a=1)],
}


@pytest.mark.parametrize("name", SAFE)
def test_ordinary_states_are_known_as_safe_without_being_loaded(tmp_path: Path, loads: list[Any], name: str) -> None:
    torch.save(SAFE[name], tmp_path / "file.pt")
    torch.load(tmp_path / "file.pt", weights_only=True)

    assert unsafe_keys(tmp_path / "file.pt", SAFE[name]) is None
    assert loads == []


class Custom:
    """An object of a class that nobody knows."""


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (dt.date(2026, 1, 1), "datetime.date"),
        (Custom(), "Custom"),
        (collections.defaultdict(int), "defaultdict"),
        (Path("here"), "Path"),
        ({Custom: 1}, "Custom"),
        (torch.nn.Linear(1, 1), "Linear"),
    ],
)
def test_what_does_not_load_safely_is_told_by_its_class(tmp_path: Path, value: Any, told: str) -> None:
    payload = {"good": torch.ones(1), "bad": value}
    torch.save(payload, tmp_path / "file.pt")
    with pytest.raises(Exception, match=told):
        torch.load(tmp_path / "file.pt", weights_only=True)

    assert told in (unsafe_keys(tmp_path / "file.pt", payload) or {})["bad"]


def test_a_class_that_the_user_has_declared_safe_is(tmp_path: Path) -> None:
    torch.save({"custom": Custom()}, tmp_path / "file.pt")
    with torch.serialization.safe_globals([Custom]):
        assert unsafe_keys(tmp_path / "file.pt", {"custom": Custom()}) is None


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_other_protocols_are_looked_through_too(tmp_path: Path, protocol: int) -> None:
    for name, payload in {"good": {"a": 1}, "bad": {"a": Custom()}}.items():
        torch.save(payload, tmp_path / f"{name}.pt", pickle_protocol=protocol)

    assert unsafe_keys(tmp_path / "bad.pt", {"a": Custom()})


class PickledOnce:
    """Raises when it is pickled for the second time."""

    def __init__(self) -> None:
        self.times = 0

    def __reduce__(self) -> tuple[Any, ...]:
        self.times += 1
        if self.times > 1:
            raise RuntimeError("pickled a second time")
        return types.SimpleNamespace, ()


def test_what_cannot_be_saved_by_itself_is_told_without_its_key(tmp_path: Path) -> None:
    payload = {"step": 3, "odd": PickledOnce()}
    torch.save(payload, tmp_path / "file.pt")

    assert list(unsafe_keys(tmp_path / "file.pt", payload) or {}) == [""]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "payload",
    [
        {"a": 1, "b": [True, None, 2.5, 70_000, "text"]}, {"a": 2**2040}, {"a": b"bytes"}, {"a": torch.ones(2)},
        {"a": "text" * 100, "b": -(2**1000)}, {"a": collections.OrderedDict(b=1)}, {"a": {1, 2}}, {"a": dt.date.max},
        {"a": torch.float16}, {"a": bytearray(b"few")}, {"a": torch.Size([1])}, {"a": ((), (1,), (1, 2, 3, 4))},
    ],
)  # fmt: skip
def test_something_is_named_if_and_only_if_loading_is_refused(tmp_path: Path, payload: Any, protocol: int) -> None:
    path = tmp_path / "file.pt"
    torch.save(payload, path, pickle_protocol=protocol)
    with warnings.catch_warnings(action="ignore"):  # torch warns of other protocols than 2
        try:
            torch.load(path, weights_only=True)
        except pickle.UnpicklingError:
            is_refused = True
        else:
            is_refused = False

    assert bool(unsafe_keys(path, payload)) == is_refused


def test_the_reason_is_what_torch_does_not_carry_out(tmp_path: Path) -> None:
    payload = {"number": 2**2040}
    torch.save(payload, tmp_path / "file.pt")

    assert (unsafe_keys(tmp_path / "file.pt", payload) or {})["number"].startswith("Unsupported operand")
