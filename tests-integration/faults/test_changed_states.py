from __future__ import annotations

from changed_states import run


def test_a_state_that_is_changed_right_after_is_saved_as_it_was() -> None:
    outcome = run(full=False)

    assert (outcome.losses, outcome.cases, outcome.detail) == (0, 48, outcome.detail)
