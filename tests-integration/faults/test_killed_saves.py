from __future__ import annotations

import os

import pytest
from killed_saves import run


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_while_saving_loses_nothing_on_any_file_system() -> None:
    outcome = run(full=False)

    assert (outcome.losses, outcome.detail) == (0, outcome.detail)
