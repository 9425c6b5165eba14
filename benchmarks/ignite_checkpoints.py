"""Let checkpoints cross over between this repository's `ignite` and pytorch-ignite, both ways.

Each call uses whichever of the two is installed::

    python benchmarks/ignite_checkpoints.py write FOLDER   # train, save, and note the results in FOLDER/results.json
    python benchmarks/ignite_checkpoints.py read FOLDER    # load each checkpoint, go on, compare with these results

The files of the tests were made with pytorch-ignite==0.5.5 and torch==2.13.0::

    python benchmarks/ignite_checkpoints.py write packages/ignite-compat/tests/crossing_files
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "packages" / "ignite-compat" / "tests"
ITERATIONS = (18, 21)


def main(what: str, folder: str) -> int:
    """Write or read; return 1 if a continued training differs from the one that was not stopped."""
    sys.path.insert(0, str(TESTS))
    crossing = importlib.import_module("crossing")
    results = Path(folder) / "results.json"
    if what == "write":
        Path(folder).mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps(crossing.write(folder)) + "\n")
        return 0
    expected = json.loads(results.read_text())
    failures = 0
    for iteration in ITERATIONS:
        found = json.loads(json.dumps(crossing.go_on(folder, iteration)))
        same = {name: found[name] == expected[name] for name in ("average", "iteration", "stopping")}
        same |= {name: found[name] == expected[name][iteration:] for name in ("losses", "rates")}
        failures += not all(same.values())
        print(f"from iteration {iteration}: equal {same}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
