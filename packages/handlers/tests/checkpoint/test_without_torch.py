from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
for name in ("torch", "numpy"):
    sys.modules[name] = None
from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, DiskSaver, list_checkpoints, restore_latest, verify_checkpoint

class Counter:
    count = 0
    def state_dict(self):
        return {"count": self.count}
    def load_state_dict(self, state):
        self.count = state["count"]

kept, counter = {}, Counter()
trainer = Engine(lambda engine, batch: None)
handler = Checkpoint({"counter": counter, "trainer": trainer}, lambda state, name: kept.update({name: state}))
trainer.add_event_handler(Events.EPOCH_COMPLETED, handler)
counter.count = 5
trainer.run([1, 2])
counter.count = 0
Checkpoint.load_objects({"counter": counter}, kept["checkpoint_2.pt"])
assert counter.count == 5

directory = sys.argv[1]
saver = DiskSaver(directory)
assert list_checkpoints(directory) == []
attempts = [lambda: saver({"a": 1}, "model.pt"), lambda: Checkpoint({"c": counter}, saver)(trainer)]
if len(sys.argv) > 2:
    path = sys.argv[2]
    assert verify_checkpoint(path).save_number == 1
    assert list_checkpoints(os.path.dirname(path))[0].record.save_number == 1
    attempts.append(lambda: Checkpoint.load_objects({"a": counter}, path))
for attempt in attempts:
    try:
        attempt()
    except ModuleNotFoundError as error:
        assert "camshaft-handlers[torch]" in str(error), error
    else:
        raise AssertionError("it needs torch")
assert os.listdir(directory) == []
"""


def errors_of(*arguments: Path) -> str:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_all_but_writing_and_reading_files_works(tmp_path: Path) -> None:
    assert errors_of(tmp_path) == ""


def test_files_are_listed_and_verified(tmp_path: Path, own_file: Path) -> None:
    assert errors_of(tmp_path / "empty", own_file) == ""
