"""Try every fault of saving and loading in full, and count what was lost.

python tests-integration/faults/all_faults.py           all of them, some minutes
python tests-integration/faults/all_faults.py g8 g9     those that are named
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

for folder in ("tools", "tests-integration/ranks"):  # which the tests have on their path
    sys.path.append(str(Path(__file__).parents[2] / folder))

HARNESSES = {
    "g6": "killed_saves",
    "g7": "power_loss",
    "g8": "failing_calls",
    "g9": "damaged_files",
    "g10": "hostile_files",
    "g11": "refused_states",
    "g12": "stopped_runs",
    "g13": "changed_states",
    "g17-runs": "interrupted_runs",
    "g17-saves": "interrupted_saves",
    "g20": "failing_requests",
    "g18": "ranks_faults",
    "g18-torchrun": "torchrun_kills",
    "g19": "sharded_kills",
}


def main(names: list[str]) -> int:
    """Run the named harnesses, or all; return 1 if anything was lost."""
    unknown = [name for name in names if name not in HARNESSES]
    if unknown:
        print(f"no harness is called {unknown}; there are {list(HARNESSES)}")
        return 2
    total = 0
    for name in names or HARNESSES:
        begun = time.perf_counter()
        outcome = importlib.import_module(HARNESSES[name]).run(full=True)
        seconds = time.perf_counter() - begun
        print(
            f"{outcome.name:<28}{outcome.cases:>7} cases{outcome.losses:>5} losses{seconds:>7.0f} s  {outcome.detail}"
        )
        sys.stdout.flush()
        total += outcome.losses
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
