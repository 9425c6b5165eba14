from __future__ import annotations

import sys
from contextlib import suppress

import pytest
from audited_trainings import FAULTS, Training, exact, iterable_that_shuffles_secretly

from camshaft.deterministic.testing import AuditedRun, AuditError, audit_resume
from camshaft.engine import Engine


def test_a_training_that_forgets_nothing_is_exact_however_it_is_stopped():
    told = []
    report = audit_resume(exact, stops=3, kills=1, tell=told.append)
    assert report.is_exact, str(report)
    assert str(report).startswith("exact: 12 iterations, stopped 3 times and killed 1 times")
    assert told[-1].total == 48
    assert told[-1].iterations >= 48


@pytest.mark.parametrize("make_run", FAULTS, ids=lambda make_run: make_run.__name__)
def test_what_was_forgotten_is_found_and_named(make_run):
    report = audit_resume(make_run, stops=2, kills=0)
    assert not report.is_exact
    assert report.is_repeatable
    assert FAULTS[make_run] in str(report)


def test_a_training_that_does_not_repeat_itself_is_told_before_any_stop():
    report = audit_resume(iterable_that_shuffles_secretly, stops=2, kills=0)
    assert not report.is_repeatable
    assert "even without a stop" in str(report)


def test_a_training_that_never_ends_is_ended():
    def make_run(folder):
        training = Training()
        return AuditedRun(
            training.engine, lambda: training.engine.run(training.loader, max_epochs=10**9), training.to_save
        )

    report = audit_resume(make_run, iterations=9, stops=2, kills=0)
    assert report.is_exact, str(report)
    assert report.iterations == 9


def test_a_training_that_fails_fails_the_audit():
    def make_run(folder):
        training = Training()
        training.loader = 3
        return training.audited()

    with pytest.raises(TypeError, match="`data` must be iterable"):
        audit_resume(make_run, kills=0)


def test_a_training_that_leaves_the_process_or_refuses_its_folder_cannot_be_audited():
    def leaves(folder):
        run = exact(folder)
        return AuditedRun(run.engine, lambda: [run.start(), sys.exit(0)], run.to_save)

    def refuses(folder):
        (folder / "began").mkdir()
        return exact(folder)

    with pytest.raises(AuditError, match="left the process with SystemExit"):
        audit_resume(leaves, kills=0)
    with pytest.raises(AuditError, match="folder of a run that was stopped, got FileExistsError"):
        audit_resume(refuses, stops=1, kills=0)


def test_a_training_that_tries_again_after_errors_is_stopped_all_the_same():
    def make_run(folder):
        run = Training().audited()

        def start():
            with suppress(Exception):
                run.start()

        return AuditedRun(run.engine, start, run.to_save)

    assert audit_resume(make_run, stops=2, kills=0).is_exact


def test_what_cannot_be_audited_is_refused_by_name():
    engine = Engine(lambda engine, batch: None)
    with pytest.raises(TypeError, match="`make_run` must return an AuditedRun, got 3"):
        audit_resume(lambda folder: 3, kills=0)
    with pytest.raises(ValueError, match="`make_run` must be a function that a module defines"):
        audit_resume(lambda folder: 3)
    with pytest.raises(ValueError, match="`to_save` must have the engine"):
        AuditedRun(engine, print, {})
    with pytest.raises(TypeError, match="state_dict"):
        AuditedRun(engine, print, {"engine": engine, "loss": 3})
    with pytest.raises(TypeError, match="`start` must be callable"):
        AuditedRun(engine, None, {"engine": engine})
    with pytest.raises(AuditError, match="at least 2 iterations"):
        audit_resume(lambda folder: AuditedRun(engine, lambda: engine.run([1]), {"engine": engine}), kills=0)
    with pytest.raises(ValueError, match="`stops`"):
        audit_resume(exact, stops=-1)
