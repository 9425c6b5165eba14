"""Whole scripts in the manner of Ignite's examples give what they give under pytorch-ignite 0.5.5.

`programs/record_scripts.py` wrote the expected results down, and says by which command.
"""

import json
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
EXPECTED = json.loads((PROGRAMS / "scripts.json").read_text(encoding="utf-8"))


def run(python, name, folder):
    """Run a script as a program of its own: some start processes, all seed the generators."""
    code = (
        f"import json, pathlib, sys; sys.path.insert(0, {str(PROGRAMS)!r}); import {name}\n"
        f"if __name__ == '__main__': print(json.dumps({name}.main(pathlib.Path({str(folder)!r}))))"
    )
    done = python.run("-c", code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def close(value):
    """Return a value that equals those whose numbers are the same but for the order of a sum."""
    if isinstance(value, float):
        return pytest.approx(value, rel=1e-4, abs=1e-6)
    if isinstance(value, list):
        return [close(item) for item in value]
    if isinstance(value, dict):
        return {key: close(item) for key, item in value.items()}
    return value


@pytest.mark.parametrize("name", EXPECTED)
def test_a_script_gives_what_the_reference_gives(name, tmp_path, warm_python):
    assert close(EXPECTED[name]) == run(warm_python, name, tmp_path)


def test_what_was_recorded_trained_something():
    digits, walk = EXPECTED["classify_digits"], EXPECTED["reinforce"]
    assert digits["second"]["history"][-1][3] > 0.6
    assert [5, 5.0] == walk["episodes"][-1][1:]
    history = EXPECTED["cifar_like"]["history"]
    assert history[-1][2] < 0.8 * history[0][2]  # the loss
