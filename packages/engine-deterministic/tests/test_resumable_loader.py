"""A loader that resumes exactly in any loop."""

from __future__ import annotations

import pytest
from every_kind import DATA
from looping import resume_everywhere

from camshaft.deterministic import ResumableLoader


def resumable(make):
    return lambda **options: ResumableLoader(make(), 7, seed_steps=True, **options)


@pytest.mark.parametrize("name", DATA)
def test_every_kind_of_data_resumes_from_everywhere(name):
    assert resume_everywhere(resumable(DATA[name])) > 6


@pytest.mark.parametrize("name", DATA)
def test_every_kind_of_data_resumes_in_loops_that_break(name):
    assert resume_everywhere(resumable(DATA[name]), 3, most=2) > 6
