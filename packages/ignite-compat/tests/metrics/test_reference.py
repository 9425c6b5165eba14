"""Every metric against what pytorch-ignite 0.5.5 computed of the same random inputs; `reference.json` says how."""

import json
from pathlib import Path

import pytest
from metric_cases import CASES
from metric_runs import run, same

REFERENCE = json.loads((Path(__file__).parent / "reference.json").read_text())
FAMILIES = sorted({name.partition("/")[0] for name in CASES})


def test_the_reference_has_all_cases():
    assert set(CASES) == set(REFERENCE["results"])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_metric_gives_what_the_reference_gives(family):
    for name in CASES:
        if name.partition("/")[0] == family:
            for seed in range(REFERENCE["cases"]):
                expected = REFERENCE["results"][name][seed]
                assert same(name, seed, expected), (name, seed, expected, run(CASES[name], seed))
