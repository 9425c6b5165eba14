"""The main job under audit: it forgets nothing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from camshaft.deterministic.testing import AuditedRun, audit_resume
from camshaft.distributed import start

EXAMPLES = Path(__file__).parent.parent / "examples"


def make_run(folder: Path, left_out: str | None = None) -> AuditedRun:
    sys.path.insert(0, str(EXAMPLES))
    from digits_job import Job

    sys.path.remove(str(EXAMPLES))
    options = argparse.Namespace(seed=0, batch_size=128, workers=0, lr=3e-3, amp=False, epochs=3)
    with start(device="cpu") as process:
        job = Job(options, folder, process)
    to_save = {name: part for name, part in job.latest.to_save.items() if name != left_out}
    return AuditedRun(job.trainer, job.run, to_save, left_out=[job.latest])


def test_the_digits_job_resumes_exactly() -> None:
    report = audit_resume(make_run, iterations=26, stops=2, kills=0)
    assert report.is_exact, str(report)


@pytest.mark.parametrize(
    ("left_out", "iterations", "named"),
    [
        ("schedule", 26, "`LRScheduler` attached to `trainer`: add it to `to_save`"),  # it steps after each epoch
        ("optimizer", 6, "optimizer` (`AdamW`): add it to `to_save`"),
    ],
)
def test_a_part_that_the_digits_job_does_not_save_is_named(left_out: str, iterations: int, named: str) -> None:
    report = audit_resume(lambda folder: make_run(folder, left_out), iterations=iterations, stops=1, kills=0)
    assert not report.is_exact
    assert named in str(report.unsaved[0])
    assert len(report.unsaved) == 1
