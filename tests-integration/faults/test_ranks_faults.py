from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from ranks_faults import Case, few_cases, problems_of
from ranks_started import Launcher, result_of

if TYPE_CHECKING:
    from pathlib import Path

    from warm_python import WarmPython

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def undisturbed(warm_python: WarmPython, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[object]]:
    """Return the parameters and metrics of a run to which nothing happens."""
    return result_of(Launcher(warm_python, 2).run(tmp_path_factory.mktemp("undisturbed")))


@pytest.mark.parametrize("case", few_cases(), ids=str)
def test_a_fault_of_one_process_ends_both_and_the_run_goes_on_to_the_same_end(
    case: Case, warm_python: WarmPython, tmp_path: Path, undisturbed: tuple[str, list[object]]
) -> None:
    assert problems_of(case, warm_python, tmp_path, undisturbed) == []
