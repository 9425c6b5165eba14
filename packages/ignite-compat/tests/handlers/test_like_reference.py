from __future__ import annotations

import json
from pathlib import Path

import handler_cases
import pytest

EXPECTED = json.loads((Path(handler_cases.__file__).parent / "expected.json").read_text())


@pytest.mark.parametrize("name", handler_cases.CASES)
def test_a_case_gives_what_pytorch_ignite_gave(name):
    assert EXPECTED[name] == handler_cases.run_case(name)


def test_every_recorded_case_is_still_run():
    assert set(EXPECTED) == set(handler_cases.CASES)
