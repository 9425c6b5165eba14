from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from camshaft.handlers import FsspecSaver
from camshaft.handlers.testing import check_store

torch = pytest.importorskip("torch")
fsspec = pytest.importorskip("fsspec")

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty directory."""
    if request.param == "file":
        yield f"file://{tmp_path}/run"
        return
    yield "memory://of-a-test/run"
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pseudo_dirs[:] = [""]


def save_to(url: str, **options: Any) -> FsspecSaver:
    return FsspecSaver(url, require_empty=False, first_pause_s=0, **options)


def test_it_keeps_what_is_promised_of_stores(url: str) -> None:
    def damage(filename: str) -> None:
        system, root = fsspec.core.url_to_fs(url)
        content = system.cat_file(f"{root}/{filename}")
        system.pipe_file(f"{root}/{filename}", content[:200] + b"x" + content[201:])

    check_store(lambda: save_to(url), damage)
