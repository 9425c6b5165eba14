"""Run the reference cases of the tests of ignite-compat with whichever package is installed as `ignite`.

Without a file it prints which cases differ from what pytorch-ignite 0.5.5 gave; with one it writes its results there::

    python benchmarks/ignite_cases.py                # compare this repository's package with the recorded results
    python benchmarks/ignite_cases.py results.json   # record: with pytorch-ignite, to make expected.json anew

`expected.json` was made in an environment with pytorch-ignite==0.5.5, torch==2.13.0, tensorboard, tqdm and pandas::

    python benchmarks/ignite_cases.py packages/ignite-compat/tests/reference_cases/expected.json
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent / "packages" / "ignite-compat" / "tests"


def main(arguments: list[str]) -> int:
    """Run all cases; return 1 if any differs from what is recorded."""
    sys.path.insert(0, str(TESTS))
    cases = importlib.import_module("reference_cases")

    logging.disable(logging.CRITICAL)
    results = {name: run(cases, name) for name in cases.CASES}
    if arguments:
        text = ",\n".join(f"{json.dumps(name)}: {json.dumps(result)}" for name, result in results.items())
        Path(arguments[0]).write_text(f"{{\n{text}\n}}\n")
        return 0
    expected = json.loads((TESTS / "reference_cases" / "expected.json").read_text())
    different = [name for name, result in results.items() if expected.get(name) != result]
    for name in different:
        for path, recorded, now in differences(expected.get(name), results[name]):
            print(f"{name}{path}: recorded {recorded!r:.200}, now {now!r:.200}")
    print(f"{len(results) - len(different)} of {len(results)} cases are equal")
    return 1 if different else 0


def differences(recorded: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield where two results differ."""
    if isinstance(recorded, dict) and isinstance(now, dict) and list(recorded) == list(now):
        for key in recorded:
            yield from differences(recorded[key], now[key], f"{path}[{key!r}]")
    elif isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        for index, pair in enumerate(zip(recorded, now, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif recorded != now:
        yield path, recorded, now


def run(cases: Any, name: str) -> Any:
    """Return the result of a case, or its error as text."""
    try:
        return cases.run_case(name)
    except Exception as error:  # noqa: BLE001  # a case that fails must not keep the others from being shown
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
