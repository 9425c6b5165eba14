"""Write down what the scripts beside this file print under pytorch-ignite 0.5.5.

hatch run bench:python packages/ignite-compat/tests/programs/record_scripts.py
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

SCRIPTS = ("cifar_like", "classify_digits", "reinforce", "siamese", "train_gan")
FILE = Path(__file__).with_name("scripts.json")

if __name__ == "__main__":
    assert version("pytorch-ignite") == "0.5.5"
    sys.path.insert(0, str(Path(__file__).parent))
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name in SCRIPTS:
            place = Path(folder, name)
            place.mkdir()
            found[name] = import_module(name).main(place)
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
