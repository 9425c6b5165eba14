"""Runs an example whose loader writes down each batch that it gives; SIGKILL ends it behind one of them.

    python watched_loop.py EXAMPLE FOLDER LOG KILL_AFTER

KILL_AFTER counts the batches of this process; 0 lets it run to its end.
"""

from __future__ import annotations

import hashlib
import os
import runpy
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import camshaft.deterministic


def digest(batch: Any) -> str:
    tensors = batch.values() if isinstance(batch, dict) else batch
    return hashlib.sha256(b"".join(each.numpy().tobytes() for each in tensors)).hexdigest()


def main(example: str, folder: str, log: Path, kill_after: int) -> None:
    class WatchedLoader(camshaft.deterministic.ResumableLoader):
        count = 0

        def __iter__(self) -> Iterator[Any]:
            for batch in super().__iter__():
                with log.open("a") as lines:
                    lines.write(f"{self.epoch} {self.index - 1} {digest(batch)}\n")
                self.count += 1
                if self.count == kill_after:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield batch

    camshaft.deterministic.ResumableLoader = WatchedLoader  # type: ignore[misc]  # the example is to use this one
    sys.argv = [example, folder]
    runpy.run_path(example, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
