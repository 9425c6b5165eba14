"""Compare the metrics of camshaft-ignite-compat with those of pytorch-ignite, over random inputs.

Both have the import name `ignite`, so each runs in an interpreter of its own:

    <python with pytorch-ignite 0.5.5>  benchmarks/compare_ignite_metrics.py --write reference.json --cases 40
    <python with this repository>       benchmarks/compare_ignite_metrics.py --against reference.json

The first one writes what it computes, the second one makes the same inputs again and compares. The tests' fixture,
`packages/ignite-compat/tests/metrics/reference.json`, is written by the first one with `--cases 2`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "packages" / "ignite-compat" / "tests" / "metrics"))

from metric_cases import CASES  # type: ignore[import-not-found]  # a helper of the tests, which are not typed
from metric_runs import run, same  # type: ignore[import-not-found]  # as above


def write(path: Path, cases: int) -> None:
    """Write what all metrics compute for a number of seeds."""
    command = f"benchmarks/compare_ignite_metrics.py --write {path.name} --cases {cases}"
    results = {name: [run(case, seed) for seed in range(cases)] for name, case in CASES.items()}
    document = {"written by": f"{command}, with pytorch-ignite 0.5.5", "cases": cases, "results": results}
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n")


def compare(path: Path, only: str) -> int:
    """Print where this interpreter's metrics compute something else, and return how often."""
    document = json.loads(path.read_text())
    pairs = [(name, seed) for name in CASES if name.startswith(only) for seed in range(document["cases"])]
    differing = [(name, seed) for name, seed in pairs if not same(name, seed, document["results"][name][seed])]
    for name, seed in differing:
        print(f"{name} seed {seed}")
        print(f"  expected {str(document['results'][name][seed])[:600]}")
        print(f"  actual   {str(run(CASES[name], seed))[:600]}")
    print(f"{len(pairs)} compared, {len(differing)} differ")
    return len(differing)


def main() -> None:
    """Write the results, or compare them with written ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="file that gets the results of the `ignite` of this interpreter")
    parser.add_argument("--against", type=Path, help="file to compare with")
    parser.add_argument("--cases", type=int, default=8, help="seeds for each metric")
    parser.add_argument("--only", default="", help="beginning of the metrics' names")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.write:
        write(options.write, options.cases)
    if options.against:
        sys.exit(compare(options.against, options.only) > 0)


if __name__ == "__main__":
    main()
