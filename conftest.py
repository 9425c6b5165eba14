"""Every test run: one thread, and the Python blocks of the Markdown files as tests."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from warm_python import WarmPython

if TYPE_CHECKING:
    from collections.abc import Iterator

# The order of a sum depends on the number of threads: one makes every figure the same on every machine, and tests that
# start processes of their own do not fight for cores. Set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a script has started in the background ignores Ctrl-C, and so does all that it starts. The tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Property tests try the same examples in every run, however slow the machine is: a failure is never a matter of luck.
# `--hypothesis-profile=explore` tries others.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
settings.load_profile("same")


# Programs are started by the tests, in processes of their own: to be asked for examples they would be run here.
collect_ignore_glob = ["*/programs/*"]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse a test named after an address: processes that share the tests know them by their names."""
    if " at 0x" in item.nodeid:
        raise pytest.UsageError(f"{item.nodeid} has another name in every process; name its parameters with `ids`")


def pytest_collection_finish() -> None:
    """Leave what is there by now to itself: looking through it takes each garbage collection half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """Seed the global generators of what is imported, so that no test passes or fails by luck."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)  # the global one is what is meant
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(0)


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """Return what runs programs without importing torch for each of them anew."""
    python = WarmPython()
    yield python
    python.close()


@pytest.fixture(scope="module")
def folder_of_document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the examples of a Markdown file write into a folder of their own."""
    with contextlib.chdir(tmp_path_factory.mktemp("document")):
        yield


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["*.md"],
    fixtures=["folder_of_document"],
).pytest()
