from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camshaft.deterministic._random import _seeds
from camshaft.deterministic._random._seeds import ChildSeeds, derive_seed

WHOLE = st.integers(-(2**63), 2**64 - 1)
PARTS = st.recursive(WHOLE | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)

# A change of these numbers changes every run that was ever saved.
GOLDEN = {
    (0, (0, "order")): 10382097688068917989,
    (0, (1, "order")): 14151741851796906406,
    (1, (0, "order")): 10547344921159793824,
    (-1, ("main", 2**64)): 3856284816160654043,
    (56, (3, "batch", 7, 0)): 15625335373104856894,
    (2**64 - 1, ((1, ("a", -2)), "")): 14163559298334050712,
}


@pytest.mark.parametrize(("seed", "path"), GOLDEN)
def test_seeds_are_the_same_for_ever(seed, path):
    assert GOLDEN[seed, path] == derive_seed(seed, *path)


def test_seeds_do_not_depend_on_the_hash_seed_of_the_process():
    path = Path(_seeds.__file__)
    code = f"import runpy; print(runpy.run_path({str(path)!r})['derive_seed'](3, 'order', ('a', 5)))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert {f"{derive_seed(3, 'order', ('a', 5))}\n"} == printed


@given(WHOLE, st.lists(PARTS, max_size=3))
def test_a_seed_has_64_bits(seed, path):
    assert 0 <= derive_seed(seed, *path) < 2**64


@given(WHOLE, st.lists(PARTS, max_size=3), WHOLE, st.lists(PARTS, max_size=3))
def test_different_consumers_have_different_seeds(seed, path, other_seed, other_path):
    same = (seed, path) == (other_seed, other_path)
    assert same == (derive_seed(seed, *path) == derive_seed(other_seed, *other_path))


@given(WHOLE, PARTS)
def test_child_seeds_are_the_derived_ones(parent, child):
    assert derive_seed(parent, child) == ChildSeeds(parent)(child)


def test_neighbouring_runs_and_passes_share_no_seed():
    seeds = {
        derive_seed(seed, data_pass, index) for seed in range(20) for data_pass in range(20) for index in range(20)
    }
    assert len(seeds) == 20**3


def test_every_bit_of_a_seed_is_used():
    seeds = [derive_seed(seed, "main") for seed in range(2000)]
    shares = [sum(seed >> bit & 1 for seed in seeds) / len(seeds) for bit in range(64)]
    assert all(0.44 < share < 0.56 for share in shares)
