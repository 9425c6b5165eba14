from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from stopped_runs import Case, few_cases, problems_of

if TYPE_CHECKING:
    from pathlib import Path

    from warm_python import WarmPython


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("case", few_cases(), ids=str)
def test_a_run_that_is_sent_a_signal_has_stopped_as_it_should(
    case: Case, warm_python: WarmPython, tmp_path: Path
) -> None:
    assert problems_of(case, warm_python, tmp_path / "checkpoints") == []
