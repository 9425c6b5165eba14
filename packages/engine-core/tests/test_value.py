from __future__ import annotations

import importlib
import mmap
import sys
import threading
from collections import UserList, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from camshaft.engine import ArgumentError, as_integer, has_state, imported, is_integer, is_sequence, length_of


class Index:
    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize("value", [0, -3, 10**30, Index()])
def test_whatever_can_be_an_index_is_an_integer(value: Any) -> None:
    assert is_integer(value)
    assert type(as_integer("count", value)) is int


@pytest.mark.parametrize("value", [True, False, 3.0, float("nan"), "3", None, [3]])
def test_nothing_else_is_an_integer(value: Any) -> None:
    assert not is_integer(value)
    with pytest.raises(ArgumentError, match="`count` must be an integer, got"):
        as_integer("count", value)


def test_an_integer_may_be_too_small() -> None:
    assert as_integer("count", 1, least=1) == 1
    with pytest.raises(ArgumentError, match="`count` must be an integer of at least 1, got 0"):
        as_integer("count", 0, least=1)


def test_numbers_of_numpy_are_integers_and_its_bools_are_none() -> None:
    numpy = pytest.importorskip("numpy")

    assert is_integer(numpy.int64(3))
    assert not is_integer(numpy.bool_(True))
    assert not is_integer(numpy.array(True))
    assert not is_integer(numpy.float64(3))


def test_tensors_of_one_integer_are_integers_and_bools_are_none() -> None:
    torch = pytest.importorskip("torch")

    assert is_integer(torch.tensor(3))
    assert not is_integer(torch.tensor(True))
    assert not is_integer(torch.tensor([3, 4]))
    assert not is_integer(torch.tensor(3.0))


class Saving:
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: Any) -> None: ...


def test_a_state_is_saved_and_loaded_by_objects_with_both_methods() -> None:
    half = type("Half", (), {"state_dict": lambda self: {}})()

    assert has_state(Saving())
    assert not has_state(Saving)
    assert not has_state(half)
    assert not has_state(None)


class Indexed:
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> str:
        return "ab"[index]


class Shuffling(Indexed):
    def __iter__(self) -> Iterator[str]:
        return iter("ba")


class ShufflingList(list[str]):
    def __iter__(self) -> Iterator[str]:
        return iter("ba")


class Kept(Sequence[str]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        return "ab"[index]


@pytest.mark.parametrize(
    "data",
    ["ab", [1], (1,), range(2), deque([1]), UserList([1]), Indexed(), Kept()],
    ids=lambda data: type(data).__name__,
)
def test_data_that_is_iterated_by_index_is_a_sequence(data: Any) -> None:
    assert is_sequence(data)


@pytest.mark.parametrize(
    "data",
    [{0: 1}, {1}, iter("a"), Shuffling(), ShufflingList("ab"), mmap.mmap(-1, 4), None, 3],
    ids=lambda data: type(data).__name__,
)
def test_data_with_an_iteration_of_its_own_is_no_sequence(data: Any) -> None:
    assert not is_sequence(data)


def test_arrays_are_sequences() -> None:
    numpy = pytest.importorskip("numpy")

    assert is_sequence(numpy.zeros((3, 2)))


def test_a_length_is_none_where_it_is_not_known_whatever_error_says_so() -> None:
    class Untold:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def __len__(self) -> int:
            raise self.error

    errors = [Untold(error) for error in (TypeError(), NotImplementedError(), RuntimeError("iterate first"))]
    assert [length_of(data) for data in ("abc", [], None, iter("abc"), *errors)] == [3, 0, None, None] + [None] * 3


def test_a_module_is_imported_once_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys\nsys.begun.set()\nassert sys.goes_on.wait(60)\n"
    (tmp_path / "slow_to_import.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    begun, goes_on = threading.Event(), threading.Event()
    monkeypatch.setattr(sys, "begun", begun, raising=False)
    monkeypatch.setattr(sys, "goes_on", goes_on, raising=False)
    thread = threading.Thread(target=importlib.import_module, args=("slow_to_import",))

    assert imported("slow_to_import") is None
    thread.start()
    assert begun.wait(60)
    assert imported("slow_to_import") is None  # another thread is at it
    goes_on.set()
    thread.join()
    assert imported("slow_to_import") is sys.modules["slow_to_import"]
