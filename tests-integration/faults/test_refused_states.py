from __future__ import annotations

from refused_states import run


def test_malformed_states_and_partial_loads_change_nothing() -> None:
    outcome = run(full=False)

    assert (outcome.losses, outcome.cases >= 60, outcome.detail) == (0, True, outcome.detail)
