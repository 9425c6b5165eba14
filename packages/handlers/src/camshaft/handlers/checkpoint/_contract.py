"""The promises of stores that a `Checkpoint` relies on, as a check that any store can be put through."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning
from camshaft.handlers.checkpoint._checkpoint import Checkpoint
from camshaft.handlers.checkpoint._errors import CheckpointDamagedError
from camshaft.handlers.checkpoint._restore import restore_latest
from camshaft.handlers.checkpoint.format._record import CheckpointRecord
from camshaft.handlers.checkpoint.storage._save_handler import SaveMetadata

MakeStore = Callable[[], Any]
Damage = Callable[[str], None]

_ODD_NAMES = ("Modell ä 模型_1.pt", "best_[12]_*.pt", "a model_1%20+&=#'.pt", ".hidden_1.pt")
_NAMES_LEADING_OUT = ("../evil.pt", "/evil.pt", "a/b.pt", "..", "", "m" * 300, "a\0b.pt")


def check_store(make: MakeStore, damage: Damage | None = None) -> None:
    """Check that a save handler that is a `CheckpointStore` keeps what is promised of stores.

    Saves, lists, verifies, reads, replaces and removes small checkpoints, by itself and through a `Checkpoint`. At the
    end the place is as empty as before.

    Args:
        make: Makes a new save handler, each time for the same place, which has to be empty at first.
        damage: ``f(filename)``, changes a checkpoint where it lies, as a broken disk would; None leaves the fact out
            that damage is noticed.

    Raises:
        AssertionError: a promise is broken; the text says which.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from camshaft.handlers import DiskSaver
        >>> from camshaft.handlers.testing import check_store
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     def damage(filename):
        ...         path = Path(directory, filename)
        ...         path.write_bytes(path.read_bytes().replace(b"weight", b"height"))
        ...     check_store(lambda: DiskSaver(directory, require_empty=False), damage)
    """
    for fact in _FACTS:
        _require(not _names_in(make()), "must be empty before and after each check")
        fact(make)
        for filename in _names_in(make()):
            make().remove(filename)
    if damage is not None:
        _damaged(make, damage)


def _what_is_saved(make: MakeStore) -> None:
    facts = CheckpointRecord(
        step=7, exact=False, prefix="p", name="m", keys=("m",), is_bare=True, score_name="acc", priority=0.5
    )
    state = {"weight": _tensor(3), "epoch": 2, "note": "é", "losses": [0.5, 1.5]}
    make()(state, "p_m_7.pt", SaveMetadata(facts))
    for store in (make(), make()):  # whoever looks
        (file,) = store.checkpoints()
        _require(file.name == "p_m_7.pt" and file.path == store.path_of("p_m_7.pt"), "must list what is saved by name")
        _require(file.is_legible and file.size_bytes > 0, "must list what is saved as legible, with its size")
        for record in (file.record, store.verify(file.name), store.read(file.name).record):
            _require(record is not None and record.save_number > 0, "must number the saves, from 1")
            _require(dataclasses.replace(record, save_number=0) == facts, "must keep what a save says about itself")
        _require(_is_same(store.read(file.name).payload, state), "must give back what was saved, bit for bit")
        _require(store.has(file.name) and not store.has("p_m_8.pt"), "must know what is there")


def _newest_first(make: MakeStore) -> None:
    one, two = make(), make()
    for store, filename in ((one, "b_9.pt"), (two, "a_2.pt"), (one, "c_5.pt"), (make(), "a_1.pt")):
        store({"weight": _tensor(1)}, filename)
    files = make().checkpoints()
    numbers = [file.record.save_number for file in files if file.record]
    _require([file.name for file in files] == ["a_1.pt", "c_5.pt", "a_2.pt", "b_9.pt"], "must list the newest first")
    _require(numbers == sorted(set(numbers), reverse=True) and len(numbers) == 4, "must number each save anew")


def _same_name(make: MakeStore) -> None:
    for value in (1.0, 2.0):
        make()({"weight": _tensor(value)}, "same.pt")
    _require(_names_in(make()) == ["same.pt"], "must list a name once")
    _require(
        _is_same(make().read("same.pt").payload, {"weight": _tensor(2.0)}), "must give back the last save of a name"
    )


def _removal(make: MakeStore) -> None:
    store = make()
    for filename in ("m_1.pt", "m_2.pt", "m_12.pt"):
        store({"weight": _tensor(1)}, filename)
    store.remove("m_1.pt")
    _require(_names_in(make()) == ["m_12.pt", "m_2.pt"], "must remove what it is told to, and nothing else")
    with warnings.catch_warnings(), contextlib.suppress(FileNotFoundError):
        warnings.simplefilter("ignore", EngineWarning)
        store.remove("m_1.pt")


def _what_is_missing(make: MakeStore) -> None:
    store = make()
    store({"weight": _tensor(1)}, "m_1.pt")
    _require(
        _raises(FileNotFoundError, lambda: store.read("m_2.pt")), "must raise FileNotFoundError for what is missing"
    )
    _require(_raises(FileNotFoundError, lambda: store.verify("m_2.pt")), "must not verify what is missing")


def _failed_save(make: MakeStore) -> None:
    store = make()
    store({"weight": _tensor(1)}, "m_1.pt")
    for filename in ("m_1.pt", "m_2.pt"):
        if _raises(Exception, partial(store, {"weight": _tensor(2), "odd": _Unsavable()}, filename)):
            _require(_names_in(make()) == ["m_1.pt"], "must list after a failed save what was there before")
            was = make().read("m_1.pt").payload
            _require(_is_same(was, {"weight": _tensor(1)}), "must keep the earlier file when a save fails")
    store({"weight": _tensor(3)}, "m_3.pt")
    _require(_names_in(make())[0] == "m_3.pt", "must save again after a failed save")


def _names(make: MakeStore) -> None:
    store = make()
    for filename in _NAMES_LEADING_OUT:
        _require(
            _raises((ArgumentError, ArgumentTypeError), partial(store, {"weight": _tensor(1)}, filename)),
            f"must refuse a name that leads out, such as {filename[:20]!r}",
        )
    for number, filename in enumerate(("best_1_.pt", *_ODD_NAMES)):
        store({"weight": _tensor(number)}, filename)
    for number, filename in reversed(list(enumerate(_ODD_NAMES, 1))):
        _require(_is_same(store.read(filename).payload, {"weight": _tensor(number)}), f"must find {filename!r} again")
        store.remove(filename)
    _require(_names_in(store) == ["best_1_.pt"], "must take names as they are, not as patterns")


def _checkpoint(make: MakeStore) -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    counter = _Counter()
    latest = Checkpoint({"engine": engine, "counter": counter}, make(), n_saved=2, include_self=True)
    for engine.state.iteration in (10, 20, 30):
        counter.count = engine.state.iteration
        latest(engine)
    _require(_names_in(make()) == ["checkpoint_30.pt", "checkpoint_20.pt"], "must keep as many as the Checkpoint says")
    resumed = Checkpoint({"engine": engine, "counter": counter}, make(), n_saved=2)
    for restore in (partial(restore_latest, make()), resumed.restore_latest):
        counter.count = 0
        report = restore({"counter": counter})
        _require((report.step, counter.count) == (30, 30), "must restore the newest checkpoint")
    resumed.reset()
    resumed.load_state_dict(latest.state_dict())
    _require(resumed.last_checkpoint == make().path_of("checkpoint_30.pt"), "must find the files of a saved list again")


def _damaged(make: MakeStore, damage: Damage) -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    counter = _Counter()
    save = Checkpoint({"weight": counter}, make(), n_saved=None)
    for engine.state.iteration in (1, 2):
        counter.count = engine.state.iteration
        save(engine)
    damage("weight_2.pt")
    _require(
        _raises(CheckpointDamagedError, lambda: make().verify("weight_2.pt")),
        "must notice that a checkpoint is damaged",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EngineWarning)
        report = restore_latest(make(), {"weight": counter})
    _require((report.step, counter.count) == (1, 1), "must fall back to the newest sound checkpoint")
    _require(
        [path for path, _ in report.skipped] == [make().path_of("weight_2.pt")], "must name the damaged checkpoint"
    )
    for filename in _names_in(make()):
        make().remove(filename)


_FACTS: tuple[Callable[[MakeStore], None], ...] = (
    _what_is_saved,
    _newest_first,
    _same_name,
    _removal,
    _what_is_missing,
    _failed_save,
    _names,
    _checkpoint,
)


class _Counter:
    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, int]:
        return {"weight": self.count}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.count = state["weight"]


class _Unsavable:
    def __reduce__(self) -> Any:
        raise pickle.PicklingError("this is meant to fail")


def _require(is_kept: bool, promise: str) -> None:
    if not is_kept:
        raise AssertionError(f"a store {promise}")


def _raises(error: type[Exception] | tuple[type[Exception], ...], call: Callable[[], object]) -> bool:
    try:
        call()
    except error:
        return True
    return False


def _names_in(store: Any) -> list[str]:
    try:
        return [file.name for file in store.checkpoints()]
    except FileNotFoundError:  # of a place that does not exist before the first save
        return []


def _tensor(value: float) -> Any:
    import torch

    return torch.full((40,), float(value))


def _is_same(one: Any, two: Any) -> bool:
    import torch

    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_is_same(one[key], two[key]) for key in one)
    return bool(one == two)
