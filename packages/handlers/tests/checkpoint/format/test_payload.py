from __future__ import annotations

import io
import os
import pickle
import sys
import threading
import types
import zipfile
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from camshaft.handlers import CheckpointDamagedError, CheckpointError, CheckpointUnsafeError, DiskSaver
from camshaft.handlers.checkpoint.format import _payload
from camshaft.handlers.checkpoint.format._payload import holds_xla_tensors, read_payload, write_payload
from camshaft.handlers.checkpoint.format._record import CheckpointRecord

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MARKER = "executed.txt"


class Runs:
    """Pickles to a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def attacks() -> dict[str, bytes]:
    """Pickles that run something when they are loaded carelessly."""
    import functools
    import importlib
    import operator
    import runpy
    import shutil
    import subprocess
    import timeit
    import webbrowser

    touch = f"open({MARKER!r}, 'w').close()"
    calls = {
        "os.system": Runs(os.system, f"touch {MARKER}"),
        "os.popen": Runs(os.popen, f"touch {MARKER}"),
        "os.mkdir": Runs(os.mkdir, MARKER),
        "os.symlink": Runs(os.symlink, "/", MARKER),
        "exec": Runs(exec, touch),
        "eval": Runs(eval, touch),
        "open": Runs(open, MARKER, "w"),
        "__import__": Runs(__import__, "antigravity"),
        "import_module": Runs(importlib.import_module, "antigravity"),
        "partial": Runs(functools.partial(os.mkdir, MARKER)),
        "subprocess": Runs(subprocess.check_call, ["touch", MARKER]),
        "runpy": Runs(runpy.run_path, "evil.py"),
        "timeit": Runs(timeit.timeit, "1", touch),
        "getattr": Runs(getattr, "", "join"),
        "methodcaller": Runs(operator.methodcaller("__call__", MARKER), os.mkdir),
        "copy": Runs(shutil.copy, "evil.py", MARKER),
        "webbrowser": Runs(webbrowser.open, "http://localhost/"),
        "torch.hub": Runs(torch.hub.load, ".", "evil"),
        "torch.load": Runs(torch.load, "evil.pt"),
        "torch.save": Runs(torch.save, 1, MARKER),
        "pickle.loads": Runs(pickle.loads, pickle.dumps(Runs(os.mkdir, MARKER))),
    }
    pickled = {name: pickle.dumps({"model": call}, protocol=2) for name, call in calls.items()}
    pickled["opcode inst"] = f"(S'{MARKER}'\nios\nmkdir\n.".encode()
    pickled["opcode obj"] = f"(cos\nmkdir\nS'{MARKER}'\no.".encode()
    pickled["protocol 4"] = pickle.dumps({"model": Runs(os.mkdir, MARKER)}, protocol=4)
    pickled["build"] = b"\x80\x02ccollections\nOrderedDict\n)R}X\x07\x00\x00\x00__class__cos\nsystem\nsb."
    return pickled


def disguised(pickled: bytes) -> bytes:
    """Return a sound archive, as torch writes it, with another pickle inside."""
    honest, evil = io.BytesIO(), io.BytesIO()
    torch.save({"model": {"weight": torch.zeros(3)}}, honest)
    with zipfile.ZipFile(honest) as source, zipfile.ZipFile(evil, "w") as target:
        for entry in source.infolist():
            target.writestr(entry.filename, pickled if entry.filename.endswith("data.pkl") else source.read(entry))
    return evil.getvalue()


@pytest.mark.parametrize("name", attacks())
def test_nothing_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(f"open({MARKER!r}, 'w').close()")
    path = tmp_path / "model.pt"
    path.write_bytes(disguised(attacks()[name]))

    with pytest.raises(CheckpointError):
        read_payload(path)
    assert not os.path.lexists(MARKER)


def test_a_disguised_archive_is_otherwise_sound(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(disguised(pickle.dumps({"step": 5}, protocol=2)))

    assert read_payload(path)[0] == {"step": 5}


def test_what_is_refused_says_how_to_load_it(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"model": types.SimpleNamespace(weight=1)}, path)

    with pytest.raises(CheckpointUnsafeError, match=r"model\.pt: .*SimpleNamespace.*trusted=True") as caught:
        read_payload(path)
    assert isinstance(caught.value, pickle.UnpicklingError)
    assert read_payload(path, trusted=True)[0]["model"].weight == 1


@pytest.mark.parametrize("numel", [b"K\x05", b"K\x02", b"\x8a\x06\0\0\0\0\0\x01", b"J\xff\xff\xff\xff"])
def test_tensors_that_are_not_as_large_as_they_say_are_refused(tmp_path: Path, numel: bytes) -> None:
    honest = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, honest)
    with zipfile.ZipFile(honest) as archive:
        pickled = archive.read("archive/data.pkl")
    assert pickled.count(b"K\x03tq") == 1
    path = tmp_path / "model.pt"
    path.write_bytes(disguised(pickled.replace(b"K\x03tq", numel + b"tq")))

    with pytest.raises(CheckpointDamagedError):
        read_payload(path)


def test_a_bytearray_as_long_as_memory_is_refused_before_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(disguised(b"\x80\x02}X\x01\0\0\0ac__builtin__\nbytearray\n\x8a\x06\0\0\0\0\0\x01\x85Rs."))

    with pytest.raises(CheckpointUnsafeError, match="bytearray"):
        read_payload(path)


@pytest.mark.parametrize(
    "pickled", [b"", b"\x80\x02", b".", b"\x80\x02K\x01", b"\x80\x02h\x07.", b"\x80\x02}t.", b"\xff"]
)
def test_garbled_pickles_are_refused(tmp_path: Path, pickled: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(disguised(pickled))

    with pytest.raises(CheckpointError):
        read_payload(path)


def test_tensors_come_back_where_they_are_wanted(own_file: Path) -> None:
    payload, _ = read_payload(own_file, map_location="meta")

    assert payload["model"]["weight"].is_meta


@pytest.mark.parametrize("was_on", [True, False])
def test_saving_leaves_the_options_of_torch_as_they_were(tmp_path: Path, content: Any, was_on: bool) -> None:
    torch.serialization.set_crc32_options(was_on)
    try:
        DiskSaver(tmp_path)(content, "model.pt")
        assert was_on is torch.serialization.get_crc32_options()
    finally:
        torch.serialization.set_crc32_options(True)


def test_an_old_torch_is_warned_of(own_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")

    with pytest.warns(UserWarning, match="CVE-2026-24747"):
        read_payload(own_file)


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(ModuleNotFoundError, match=r"camshaft-handlers\[torch\]"):
        _payload.require_torch()


def test_xla_tensors_are_saved_through_xla(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: Callable[[Any, Any], bool]
) -> None:
    """torch_xla itself takes 4 GB; what is checked here is that its function gets the payload and our file."""

    class Tensor:
        device = types.SimpleNamespace(type="xla")

    def save(payload: Any, file: Any, *, master_only: bool, global_master: bool) -> None:
        assert master_only
        assert global_master
        torch.save({"weight": [torch.ones(2)]}, file)

    model = types.ModuleType("torch_xla.core.xla_model")
    model.save = save  # type: ignore[attr-defined] # a stand-in for a module
    packages = {"torch_xla": types.ModuleType("torch_xla"), "torch_xla.core": types.ModuleType("torch_xla.core")}
    for name, module in {**packages, "torch_xla.core.xla_model": model}.items():
        monkeypatch.setitem(sys.modules, name, module)
    packages["torch_xla.core"].xla_model = model  # type: ignore[attr-defined] # a stand-in for a package
    payload = {"weight": [Tensor()]}

    assert holds_xla_tensors(payload)
    with (tmp_path / "file.pt").open("w+b") as file:
        write_payload(file.fileno(), payload, CheckpointRecord(save_number=1), {})
    assert same({"weight": [torch.ones(2)]}, read_payload(tmp_path / "file.pt")[0])


class LooksAround:
    """Notes while it is saved what another thread sees of PyTorch's options."""

    seen: ClassVar[list[bool]] = []

    def __reduce__(self) -> Any:
        thread = threading.Thread(target=lambda: self.seen.append(torch.serialization.get_crc32_options()))
        thread.start()
        thread.join()
        return dict, ()


def test_nobody_else_sees_the_option_that_a_save_uses(tmp_path: Path) -> None:
    with (tmp_path / "file.pt").open("w+b") as file:
        write_payload(file.fileno(), {"odd": LooksAround()}, CheckpointRecord(), {})

    assert LooksAround.seen == [True]
    assert torch.serialization.get_crc32_options()


def test_an_option_of_the_whole_process_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"crc32": True}
    calls: list[bool] = []

    def switch(value: bool) -> None:
        calls.append(value)
        options["crc32"] = value

    monkeypatch.setattr(torch.serialization, "get_crc32_options", lambda: options["crc32"])
    monkeypatch.setattr(torch.serialization, "set_crc32_options", switch)
    _payload._has_options_by_context.cache_clear()
    try:
        with (tmp_path / "file.pt").open("w+b") as file:
            write_payload(file.fileno(), {"weight": torch.ones(2)}, CheckpointRecord(), {})
    finally:
        _payload._has_options_by_context.cache_clear()

    assert options == {"crc32": True}
    assert calls == [False, True]  # the question, and no more
    assert read_payload(tmp_path / "file.pt")[0]["weight"].tolist() == [1, 1]
