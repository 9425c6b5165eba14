"""Run every benchmark in turn, or those whose names contain one of the given words; fail if any fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "benchmarks"


def main(words: list[str]) -> str | None:
    """Return a message that names the benchmarks that failed, or None."""
    files = sorted(FOLDER.glob("bench_*.py"))
    chosen = [file for file in files if not words or any(word in file.stem for word in words)]
    if not chosen:
        return f"no benchmark matches {words}; there are {[file.stem for file in files]}"
    failed = []
    for file in chosen:
        print(f"\n== {file.stem}", flush=True)
        if subprocess.run([sys.executable, str(file)], check=False).returncode:
            failed.append(file.stem)
    return f"failed: {', '.join(failed)}" if failed else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
