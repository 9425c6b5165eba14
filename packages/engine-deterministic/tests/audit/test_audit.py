from __future__ import annotations

import itertools
import re
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from audited_trainings import (
    FAULTS,
    SIZE,
    Rows,
    Training,
    collate_with_generator,
    exact,
    iterable_that_shuffles_secretly,
)
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import TensorDataset

from camshaft.deterministic import DeterministicEngine, manual_seed
from camshaft.deterministic.testing import AuditedRun, AuditError, audit_resume
from camshaft.engine import Engine, Events


def test_a_training_that_forgets_nothing_is_exact_however_it_is_stopped():
    told = []
    report = audit_resume(exact, stops=3, kills=1, tell=told.append)
    assert report.is_exact, str(report)
    assert str(report).startswith("exact: 12 iterations, stopped 3 times and killed once")
    assert told[-1].total == 48
    assert told[-1].iterations >= 48


@pytest.mark.filterwarnings("ignore:.*cannot be saved:camshaft.engine.EngineWarning")
@pytest.mark.parametrize("make_run", FAULTS, ids=lambda make_run: make_run.__name__)
def test_what_was_forgotten_is_found_and_named(make_run):
    report = audit_resume(make_run, stops=2, kills=0)
    assert not report.is_exact
    assert report.is_repeatable
    assert FAULTS[make_run] in str(report)


def test_a_plain_engine_is_named_with_the_remedy_and_what_it_warned_of():
    def make_run(folder):
        training = Training()
        training.engine = Engine(training.step)
        training.to_save["engine"] = training.engine
        return training.audited()

    text = str(audit_resume(make_run, stops=1, kills=0))
    assert "the engine is an `Engine`" in text
    assert "use `DeterministicEngine`" in text
    assert "the engine has warned: the data cannot be opened after batch 2" in text
    assert "map-style" not in text


def test_each_object_has_one_line_with_what_to_do():
    def make_run(folder):
        training = Training()
        del training.to_save["optimizer"]
        average = AveragedModel(training.model)
        training.engine.add_event_handler(Events.ITERATION_COMPLETED, average.update_parameters, training.model)
        seen = {"first": 0, "second": 0}

        @training.engine.on(Events.ITERATION_COMPLETED)
        def count():
            seen["first"] += 1
            seen["second"] += 2

        return training.audited()

    unsaved = audit_resume(make_run, stops=1, kills=0).unsaved
    assert [(each.names[0].rpartition("make_run.")[2], len(each.names), each.place) for each in unsaved] == [
        ("AveragedModel", 1, "attached to `engine`"),
        ("Training.optimizer", 1, "(`SGD`)"),
        ("count().seen['first']", 2, ""),
    ]


class Resetting:
    """A total that begins again with each run, as a metric does."""

    def __init__(self):
        self.total = 0

    def reset(self):
        self.total = 0

    def add(self, engine):
        self.total += engine.state.output

    def state_dict(self):
        return {"total": self.total}

    def load_state_dict(self, state):
        self.total = state["total"]


@pytest.mark.parametrize("is_reset", [True, False])
def test_what_an_evaluator_resets_before_each_run_is_no_suspect(is_reset):
    def make_run(folder):
        training, evaluator, total = Training(), Engine(lambda engine, batch: batch), Resetting()
        if is_reset:
            evaluator.add_event_handler(Events.STARTED, total.reset)
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, total.add)
        training.engine.add_event_handler(Events.EPOCH_COMPLETED, evaluator.run, [1, 2, 3])
        return training.audited(evaluator=evaluator)

    report = audit_resume(make_run, stops=2, kills=0)
    named = ["`Resetting` attached to another engine: add it to `to_save`"]
    assert [str(each) for each in report.unsaved] == ([] if is_reset else named)


class Score(nn.Module):
    """A metric that is a module: what it adds up is an attribute, beside others."""

    def __init__(self):
        super().__init__()
        self.total, self.weight = torch.zeros(()), 0.5


class OfScore(Resetting):
    """Saves what a score adds up, and resets it."""

    def __init__(self):
        self.score = Score()

    def reset(self):
        self.score.total = torch.zeros(())

    def add(self, engine):
        self.score.total = self.score.total + engine.state.output

    def state_dict(self):
        return {"total": self.score.total}


def test_what_is_inside_an_object_that_is_reset_does_not_count_at_the_end():
    def make_run(folder):
        training, evaluator, total = Training(), Engine(lambda engine, batch: batch), OfScore()
        evaluator.add_event_handler(Events.EPOCH_STARTED, total.reset)
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, total.add)
        training.engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([1, 2, 3]))
        return training.audited(evaluator=evaluator)

    report = audit_resume(make_run, iterations=6, stops=2, kills=0)  # no evaluation after the last stop
    assert report.is_exact, str(report)
    assert not report.unsaved


def test_what_made_no_difference_is_named_when_the_training_is_exact():
    def make_run(folder):
        training, patience = Training(), Resetting()

        @training.engine.on(Events.ITERATION_COMPLETED)
        def look(engine):
            patience.total = min(patience.total + 1, 3)

        @training.engine.on(Events.STARTED)
        def begin(engine):
            patience.total = 0

        return training.audited()

    report = audit_resume(make_run, stops=1, kills=0)
    assert report.is_exact
    assert len(report.not_saved) == 1
    assert "different right after resuming, and made no difference here:\n  `" in str(report)
    assert "begin().patience` (`Resetting`): add it to `to_save`" in str(report)


class Keeping(Rows):
    """Keeps what it has computed. So do many datasets, and no harm is done."""

    def __init__(self):
        self.kept = {}

    def __getitem__(self, index):
        return self.kept.setdefault(index, index / SIZE) + 0.1 * torch.randn(3)


def test_what_data_has_in_it_at_the_end_does_not_count_where_each_batch_was_the_same():
    report = audit_resume(lambda folder: Training(Keeping()).audited(), stops=1, kills=0)
    assert report.is_exact, str(report)


class Shy(Rows):
    def state_dict(self):
        raise RuntimeError("it is not ready")

    def load_state_dict(self, state):
        raise RuntimeError("it is not ready")


def test_an_object_that_is_not_ready_to_give_its_state_is_passed_over():
    report = audit_resume(lambda folder: Training(Shy()).audited(), stops=1, kills=0)
    assert report.is_exact, str(report)


class Part:
    def __init__(self, name):
        self.name = name


def test_objects_as_keys_and_in_sets_are_the_same_wherever_they_lie_in_memory():
    def make_run(folder):
        training = Training()
        parts = [Part(str(number)) for number in range(20)]
        known, hits = set(parts), dict.fromkeys(parts, 1.0)

        @training.engine.on(Events.ITERATION_COMPLETED)
        def look(engine):
            return len(known), len(hits)

        run = training.audited()
        training.engine.process_function = lambda engine, batch: {parts[3]: training.step(engine, batch), "x": 1}
        return run

    report = audit_resume(make_run, stops=3, kills=0)
    assert report.is_exact, str(report)
    assert not report.unsaved


def test_what_loading_does_not_bring_back_is_told():
    class Forgetful(Resetting):
        def load_state_dict(self, state):
            self.total = 0

    def make_run(folder):
        training, total = Training(), Forgetful()
        training.to_save["total"] = total
        training.engine.add_event_handler(Events.ITERATION_COMPLETED, total.add)
        return training.audited()

    report = audit_resume(make_run, stops=1, kills=0)
    assert report.not_restored == ("`total`: load_state_dict() has not brought back total['total']",)


def test_a_training_that_goes_on_too_long_after_a_stop_is_told_in_one_sentence():
    def make_run(folder):
        training, count = Training(), itertools.count()

        @training.engine.on(Events.ITERATION_COMPLETED)
        def end(engine):
            if next(count) == 7:
                engine.terminate()

        return training.audited()

    finding = audit_resume(make_run, stops=1, kills=0).findings[0]
    assert "it has ended after 8 iterations, and goes on after the stop" in str(finding)


def test_a_checkpoint_is_taken_when_an_epoch_is_completed():
    def make_run(folder):
        training, waiting = Training(), []

        @training.engine.on(Events.EPOCH_COMPLETED)
        def remember(engine):
            waiting.append(0.9)

        @training.engine.on(Events.EPOCH_STARTED)
        def use(engine):
            with torch.no_grad():
                training.model[0].weight.mul_(waiting.pop() if waiting else 1.0)

        return training.audited()

    report = audit_resume(make_run, stops=2, kills=0)
    assert report.findings[0].run == "stopped by an exception, resumed after iteration 8, at EPOCH_COMPLETED"


def test_metrics_of_each_epoch_are_compared():
    def make_run(folder):
        training, seen = Training(), []
        training.engine.add_event_handler(Events.EPOCH_STARTED, seen.clear)
        training.engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(1))

        @training.engine.on(Events.EPOCH_COMPLETED)
        def report(engine):
            engine.state.metrics["seen"] = len(seen)

        return training.audited()

    finding = audit_resume(make_run, stops=1, kills=0).findings[0]
    assert "at the end of epoch 2 `engine.state.metrics['seen']` was 4 and is 2" in str(finding)


def test_metrics_that_come_at_the_end_of_an_epoch_may_be_missing_in_the_middle_of_one():
    def make_run(folder):
        training = Training()

        @training.engine.on(Events.EPOCH_COMPLETED)
        def report(engine):
            engine.state.metrics["epoch"] = engine.state.epoch

        return training.audited()

    report = audit_resume(make_run, iterations=11, stops=3, kills=0)
    assert report.is_exact, str(report)


class Wrapping(Resetting):
    """Saves the state of another object as its own."""

    def __init__(self):
        self.inner = Resetting()

    def add(self, engine):
        self.inner.add(engine)

    def state_dict(self):
        return {"inner": self.inner.state_dict()}

    def load_state_dict(self, state):
        self.inner.load_state_dict(state["inner"])


@pytest.mark.parametrize("is_saved", [True, False])
def test_what_another_object_saves_with_its_own_state_is_not_named_beside_it(is_saved):
    def make_run(folder):
        training, outer = Training(), Wrapping()
        training.engine.add_event_handler(Events.ITERATION_COMPLETED, outer.add)
        training.to_save |= {"outer": outer} if is_saved else {}
        run = training.audited()

        def start():
            if training.engine.state.iteration:
                outer.inner.total += 1  # goes wrong after a resume, whoever saves it
            run.start()

        return AuditedRun(run.engine, start, run.to_save)

    report = audit_resume(make_run, stops=1, kills=0)
    assert not report.is_exact
    assert report.not_saved == (() if is_saved else ("Wrapping",))


class Names:
    def __init__(self):
        self.names = set()

    def state_dict(self):
        return {"names": sorted(self.names, reverse=True)}

    def load_state_dict(self, state):
        self.names = set(state["names"])


def test_sets_are_compared_without_their_order_and_what_is_left_out_is_not_looked_into():
    def make_run(folder):
        training, names, times = Training(), Names(), {}
        training.to_save["names"] = names

        @training.engine.on(Events.ITERATION_COMPLETED)
        def note(engine):
            names.names.add(engine.state.iteration * 8)  # in an order that depends on what came first
            times[engine.state.iteration] = [engine.state.output]

        run = training.audited()
        return AuditedRun(run.engine, run.start, run.to_save, left_out=[times])

    report = audit_resume(make_run, stops=2, kills=0)
    assert report.is_exact, str(report)
    assert not report.unsaved


def test_to_save_may_hold_lists_and_mappings_of_objects():
    def make_run(folder, is_whole):
        training, total = Training(), Resetting()
        training.engine.add_event_handler(Events.ITERATION_COMPLETED, total.add)
        parts = {"optimizers": [training.optimizer], "rest": {"totals": (total,)} if is_whole else {}}
        training.to_save = {"engine": training.engine, "model": training.model, **parts}
        return training.audited()

    report = audit_resume(lambda folder: make_run(folder, is_whole=True), stops=2, kills=0)
    assert report.is_exact, str(report)
    report = audit_resume(lambda folder: make_run(folder, is_whole=False), stops=1, kills=0)
    assert [str(each) for each in report.unsaved] == ["`Resetting` attached to `engine`: add it to `to_save`"]
    engine = Engine(lambda engine, batch: None)
    with pytest.raises(TypeError, match=re.escape("`rest['losses'][1]` of `to_save` must have state_dict")):
        AuditedRun(engine, print, {"engine": [engine], "rest": {"losses": [engine, 3]}})


def test_data_that_make_run_draws_without_a_seed_is_told_from_other_data():
    def make_run(folder, is_seeded):
        if is_seeded:
            manual_seed(3)
        training = Training(
            TensorDataset(torch.randn(12, 3)), collate_fn=lambda rows: torch.stack([row for (row,) in rows])
        )
        return training.audited()

    report = audit_resume(lambda folder: make_run(folder, is_seeded=False), stops=1, kills=0)
    assert "call `manual_seed` there, before data is drawn" in report.findings[0].reason
    assert audit_resume(lambda folder: make_run(folder, is_seeded=True), stops=1, kills=0).is_exact


class CachingRows(Rows):
    """Keeps its samples, which are drawn at random."""

    def __init__(self):
        self.kept = {}

    def __getitem__(self, index):
        if index not in self.kept:
            self.kept[index] = super().__getitem__(index)
        return self.kept[index]


def test_a_cache_of_a_small_dataset_is_given_as_the_reason():
    report = audit_resume(lambda folder: Training(CachingRows()).audited(), stops=1, kills=0)
    assert "memory: CachingRows.kept changes while the data is drawn from" in report.findings[0].reason


class Saver(Resetting):
    """Saves some objects, and counts how often."""

    def __init__(self, to_save):
        super().__init__()
        self.to_save = to_save

    def __call__(self):
        self.total += 1


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_saves_the_engine_itself_is_no_suspect(is_whole):
    def make_run(folder):
        training = Training()
        to_save = training.to_save if is_whole else {"model": training.model}
        training.engine.add_event_handler(Events.ITERATION_COMPLETED, Saver(to_save))
        return training.audited()

    report = audit_resume(make_run, stops=1, kills=0)
    assert report.is_exact is is_whole
    assert report.not_saved == (() if is_whole else ("Saver",))


class Slotted:
    __slots__ = ("lock", "x")

    def __init__(self, x):
        self.x, self.lock = x, threading.Lock()


UNUSUAL = {
    "csr": lambda x: x.to_sparse_csr(),
    "coo": lambda x: x.to_sparse(),
    "nested": lambda x: torch.nested.nested_tensor(list(x), layout=torch.jagged),
    "meta": lambda x: (x.to("meta"), x),
    "slots": Slotted,
    "a list of objects": lambda x: [Slotted(x), Slotted(x)],
    "function": lambda x: {"x": x, "f": lambda: 1},
    "iterator": lambda x: (x, iter([1])),
    "namespace": lambda x: SimpleNamespace(x=x),
    "duration": lambda x: timedelta(seconds=x.sum().item()),
}


@pytest.mark.filterwarnings("ignore:Sparse CS:UserWarning")
@pytest.mark.parametrize("is_hidden", [False, True], ids=["as a function of the index", "with a memory"])
@pytest.mark.parametrize("name", UNUSUAL)
def test_batches_of_any_kind_are_compared(name, is_hidden):
    def make_run(folder):
        training = Training(collate_fn=lambda samples: UNUSUAL[name](torch.stack(samples)))
        memory = itertools.count()
        if is_hidden:
            training.loader.collate_fn = lambda samples: UNUSUAL[name](torch.stack(samples) + next(memory))
        training.engine = DeterministicEngine(lambda engine, batch: None, on_mismatch="ignore")
        training.to_save = {"engine": training.engine}
        return training.audited()

    report = audit_resume(make_run, stops=1, kills=0)
    assert report.is_exact is not is_hidden
    assert is_hidden == any(each.what == "batch" for each in report.findings)


def test_files_are_no_suspects_where_the_data_is_or_where_nothing_differs():
    def with_log(make_run, folder):
        run = make_run(folder)
        log = folder / "log.txt"
        run.engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: log.write_text(str(run.engine.state.output)))
        return run

    for make_run in (collate_with_generator, exact):
        report = audit_resume(partial(with_log, make_run), stops=1, kills=0)
        assert report.is_exact is (make_run is exact)
        assert "log.txt" not in str(report)


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

    with pytest.raises(AuditError, match="`start` must return, it has left the process with SystemExit"):
        audit_resume(leaves, kills=0)
    with pytest.raises(AuditError, match="folder of a run that was stopped, got FileExistsError"):
        audit_resume(refuses, stops=1, kills=0)


def test_what_a_training_does_when_it_is_stopped_does_not_matter():
    def make_run(folder):
        run = exact(folder)

        def start():
            try:
                run.start()
            except BaseException:  # noqa: BLE001  # as trainings do that clean up
                sys.exit(1)

        return AuditedRun(run.engine, start, run.to_save)

    report = audit_resume(make_run, stops=1, kills=0)
    assert report.is_exact, str(report)


def test_the_report_counts_the_stops_that_were_made():
    def make_run(folder):
        run = exact(folder)
        return AuditedRun(run.engine, lambda: run.engine.run([torch.ones(2, 3)], max_epochs=2), run.to_save)

    assert audit_resume(make_run, stops=3, kills=0).stops == 1


def test_a_training_that_can_nowhere_be_saved_is_told_instead_of_passing():
    def make_run(folder):
        run = exact(folder)
        run.engine.hold_safe_points(lambda: run.engine.state.iteration < 12)
        return run

    with pytest.raises(AuditError, match="could not be stopped"):
        audit_resume(make_run, stops=2, kills=0)


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
    with pytest.raises(ValueError, match="`make_run` must take a folder"):
        audit_resume(lambda: 3, kills=0)
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
    with pytest.raises(ValueError, match="must not both be 0"):
        audit_resume(exact, stops=0, kills=0)
