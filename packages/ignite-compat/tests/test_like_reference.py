from __future__ import annotations

import json
from pathlib import Path

import pytest
import reference_cases

EXPECTED = json.loads((Path(reference_cases.__file__).parent / "expected.json").read_text())


@pytest.mark.parametrize("name", reference_cases.CASES)
def test_a_case_gives_what_pytorch_ignite_gave(name):
    assert EXPECTED[name] == reference_cases.run_case(name)


def test_every_recorded_case_is_still_run():
    assert set(EXPECTED) == set(reference_cases.CASES)
