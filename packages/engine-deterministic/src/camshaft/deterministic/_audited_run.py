"""One training under audit: played from a beginning or a checkpoint, stopped where it is told to, and written down."""

from __future__ import annotations

import gc
import io
import multiprocessing
import os
import pickle
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import torch

from camshaft.deterministic._engine import DeterministicEngine
from camshaft.deterministic._rng import manual_seed
from camshaft.deterministic._snapshot import Leaves, leaves_of
from camshaft.deterministic._unsaved import Thing, look_at
from camshaft.engine import (
    ArgumentError,
    ArgumentTypeError,
    Engine,
    EngineError,
    EngineWarning,
    Events,
    State,
    accepts,
    has_state,
)

HowToStop: TypeAlias = Literal["exception", "kill"]


@dataclass(frozen=True)
class AuditedRun:
    """A training that is ready to begin, as `make_run` of `audit_resume` returns it.

    Attributes:
        engine: the engine that trains.
        start: runs it; also when it goes on from a checkpoint, so it gives `run` the same arguments as ever.
        to_save: what a checkpoint has: names to objects with `state_dict` and `load_state_dict`, the engine among them.
        others: objects that are looked at as well, by name, where neither the step nor a handler refers to them.
        left_out: objects that may be others after a resume, such as the `Checkpoint` that writes the files.
    """

    engine: Engine[Any, Any]
    start: Callable[[], object]
    to_save: Mapping[str, Any]
    others: Mapping[str, Any] = field(default_factory=dict)
    left_out: Sequence[Any] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.engine, Engine):
            raise ArgumentTypeError(f"`engine` must be an Engine, got {self.engine!r}")
        if not callable(self.start):
            raise ArgumentTypeError(f"`start` must be callable without arguments, got {self.start!r}")
        for name, each in self.to_save.items():
            if not has_state(each):
                raise ArgumentTypeError(f"`to_save[{name!r}]` must have state_dict and load_state_dict, got {each!r}")
        if not any(each is self.engine for each in self.to_save.values()):
            raise ArgumentError(f"`to_save` must have the engine, got {list(self.to_save)}; without it nothing resumes")


MakeRun: TypeAlias = Callable[[Path], AuditedRun]


class Section(NamedTuple):
    """A part of a training that goes on without a stop.

    Attributes:
        seed: where the generators of the process stand before it.
        checkpoint: what it begins with, None for the beginning.
        save_at: after which iteration a checkpoint is taken, None for none.
        stop: how it is stopped after that.
        iterations: after how many it is ended; None for the end.
    """

    seed: int
    checkpoint: bytes | None = None
    save_at: int | None = None
    stop: HowToStop = "exception"
    iterations: int | None = None


class Seen(NamedTuple):
    """What everything was like at one moment.

    Attributes:
        saved: what is in `to_save`, the engine left out.
        others: what the user's code has beside that.
    """

    saved: tuple[Thing, ...]
    others: tuple[Thing, ...]


@dataclass
class Record:
    """What has happened in a section.

    Attributes:
        steps: batch and output of each iteration, by its number.
        seen: what everything was like right after resuming, and after the checkpoint was taken, before the next
            iteration; by how many were done.
        resumed_at: how many iterations were done when it began.
        loaded: what is in `to_save`, right after it was loaded.
        checkpoint: the checkpoint that was taken, and after which iteration.
        saved: what is in `to_save`, as the checkpoint has it.
        end: how everything was at the end; None for a section that was stopped.
        metrics: those of the engine after each epoch, by its number.
        engine_end: state of the engine at the end.
        metrics_end: its metrics.
        epoch_length: that of the engine at the end.
        error: what a resumed run has raised; None for nothing.
        is_deterministic: whether the engine is a `DeterministicEngine`.
        warned: what the engine has warned of.
    """

    steps: dict[int, tuple[Leaves, Leaves]] = field(default_factory=dict)
    seen: dict[int, Seen] = field(default_factory=dict)
    resumed_at: int = 0
    loaded: tuple[Thing, ...] = ()
    checkpoint: tuple[int, bytes] | None = None
    saved: tuple[Thing, ...] = ()
    end: Seen | None = None
    metrics: dict[int, Leaves] = field(default_factory=dict)
    engine_end: Leaves = field(default_factory=dict)
    metrics_end: Leaves = field(default_factory=dict)
    epoch_length: int | None = None
    error: str | None = None
    is_deterministic: bool = True
    warned: list[str] = field(default_factory=list)


class AuditError(EngineError, RuntimeError):
    """A training that cannot be audited: it leaves the process, fails in another one, or is over too soon."""


class _Stop(BaseException):  # no error, though it stops a run as one
    """Stops a run as an interrupt in it would: a training that tries again after an error does not go on."""


def play(
    make_run: MakeRun,
    folder: Path,
    section: Section,
    tell: Callable[[], object] = lambda: None,
    keep_data: Callable[[Any], object] = lambda data: None,
) -> Record:
    """Make a training, play a section of it, and return what has happened.

    Args:
        make_run: as for `audit_resume`.
        folder: what it is called with.
        section: what to play.
        tell: called after each iteration.
        keep_data: called with the data of the run, once it is over.
    """
    if multiprocessing.active_children():
        gc.collect()  # workers of the run before end now
    manual_seed(section.seed)
    run = _make(make_run, folder, is_resumed=section.checkpoint is not None)
    if not isinstance(run, AuditedRun):
        raise ArgumentTypeError(f"`make_run` must return an AuditedRun, got {run!r} of {type(run)}")
    watcher = _Watcher(run, section, tell)
    try:
        with _hear_warnings(watcher.record) if section.checkpoint is not None else nullcontext():
            if section.checkpoint is not None:
                watcher.load(section.checkpoint)
            manual_seed(section.seed + 1)
            run.start()
    except _Stop:
        return watcher.record
    except SystemExit as left:
        raise AuditError(f"the training must return, it has left the process with {left!r}") from left
    except Exception as error:  # that resuming raises it is what the audit is to find
        if section.checkpoint is None:
            raise
        watcher.note_error(error)
        return watcher.record
    if not watcher.is_stopped:
        watcher.look_at_end()
    keep_data(run.engine.state.dataloader)
    return watcher.record


def _make(make_run: MakeRun, folder: Path, *, is_resumed: bool) -> AuditedRun:
    if not accepts(make_run, folder):
        raise ArgumentError(f"`make_run` must take a folder, as make_run(folder), got {make_run!r}, which does not")
    try:
        return make_run(folder)
    except Exception as error:
        if not is_resumed:
            raise
        raise AuditError(
            f"`make_run` must also work with the folder of a run that was stopped, got {type(error).__name__}: {error}"
        ) from error


@contextmanager
def _hear_warnings(record: Record) -> Iterator[None]:
    """Write down what the engine warns of; other warnings are shown afterwards."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EngineWarning)
        try:
            yield
        finally:
            record.warned += [str(each.message) for each in caught if issubclass(each.category, EngineWarning)]
    for each in caught:
        if not issubclass(each.category, EngineWarning):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


class _Watcher:
    """Listens to a training, writes down what happens, and stops it."""

    def __init__(self, run: AuditedRun, section: Section, tell: Callable[[], object]) -> None:
        self.record = Record(is_deterministic=isinstance(run.engine, DeterministicEngine))
        self.is_stopped = False
        self._run, self._section, self._tell = run, section, tell
        self._handlers: dict[str, Any] = {}  # by their class
        self._reachable: dict[str, Any] = {}
        run.engine.wrap_handlers(self._note_handler)
        run.engine.add_event_handler(Events.GET_BATCH_STARTED, self._look)
        run.engine.add_event_handler(Events.ITERATION_STARTED, self._note_batch)
        run.engine.add_event_handler(Events.ITERATION_COMPLETED, self._note_output)
        run.engine.add_event_handler(Events.EPOCH_COMPLETED, self._note_metrics)

    def load(self, checkpoint: bytes) -> None:
        """Take over a checkpoint, as from a file."""
        states = torch.load(io.BytesIO(checkpoint), weights_only=False)  # written by the audit itself
        for name, each in self._run.to_save.items():
            each.load_state_dict(states[name])
        self.record.resumed_at = self._run.engine.position.iteration
        self.record.loaded = self._look_at_saved()

    def note_error(self, error: Exception) -> None:
        """Write down what resuming has raised, and what everything was like by then."""
        self.record.error = f"{type(error).__name__}: {error}"
        self.record.seen.setdefault(self.record.resumed_at, self._see())

    def look_at_end(self) -> None:
        engine = self._run.engine
        self.record.end = self._see()
        self.record.epoch_length = engine.state.epoch_length
        self.record.engine_end = leaves_of(engine.state_dict(), "engine")
        self.record.metrics_end = leaves_of(engine.state.metrics, "engine.state.metrics")

    # ------------------------------------------------------------------ what the run tells

    def _note_handler(self, event: Any, handler: Any, call: Any) -> Any:
        del event
        owner = getattr(handler, "__self__", handler)
        if owner is not self and not any(owner is each for each in self._handlers.values()):
            name = type(owner).__qualname__
            count = sum(each.partition(" ")[0] == name for each in self._handlers)
            self._handlers[f"{name} {count + 1}" if count else name] = owner
        return call

    def _look(self) -> None:
        done, taken = self._run.engine.state.iteration, self.record.checkpoint
        is_resumed = self._section.checkpoint is not None and not self.record.seen
        if done not in self.record.seen and (is_resumed or (taken is not None and taken[0] == done)):
            self.record.seen[done] = self._see()

    def _note_batch(self) -> None:
        state = self._run.engine.state
        taken = self.record.checkpoint
        if taken is not None and (state.iteration > taken[0] + 1 or state.iteration == self._section.iterations):
            self._stop()
        self.record.steps[state.iteration] = leaves_of(state.batch), {}

    def _note_output(self) -> None:
        engine, section = self._run.engine, self._section
        number = engine.state.iteration
        self.record.steps[number] = self.record.steps[number][0], leaves_of(engine.state.output)
        self._tell()
        if section.save_at is not None and number >= section.save_at and self.record.checkpoint is None:
            engine.at_safe_point(self._save)
        if section.iterations is not None and number >= section.iterations:
            engine.terminate()

    def _note_metrics(self) -> None:
        state = self._run.engine.state
        self.record.metrics[state.epoch] = leaves_of(state.metrics, "engine.state.metrics")

    # ------------------------------------------------------------------ saving and stopping

    def _save(self) -> None:
        if self.record.checkpoint is None and not self._run.engine.should_terminate:
            buffer = io.BytesIO()
            torch.save({name: each.state_dict() for name, each in self._run.to_save.items()}, buffer)
            self.record.checkpoint = self._run.engine.position.iteration, buffer.getvalue()
            self.record.saved = self._look_at_saved()

    def _stop(self) -> None:
        self.is_stopped = True
        if self._section.stop == "kill":
            _leave_behind(self.record)
        raise _Stop("the audit stops the run here")

    def _look_at_saved(self) -> tuple[Thing, ...]:
        parts = ((key, each) for key, each in self._run.to_save.items() if each is not self._run.engine)
        return tuple(Thing(key, leaves_of(each.state_dict(), key)) for key, each in parts)

    def _see(self) -> Seen:
        run = self._run
        own = vars(State())
        in_state = {name: value for name, value in vars(run.engine.state).items() if name not in own}
        unsaved = {name: value for name, value in in_state.items() if name not in run.engine.state_dict_user_keys}
        owners = {
            "step": run.engine.process_function, **self._handlers, "engine.state": unsaved,
            "data": run.engine.state.dataloader, **run.others,
        }  # fmt: skip
        others = look_at(run.engine, owners, self._handlers, run.to_save, run.left_out)
        return Seen(self._look_at_saved(), tuple(others))


# ---------------------------------------------------------------------- in a process of its own

_left_behind: Path | None = None


def play_to_file(make_run: MakeRun, folder: Path, section: Section, file: Path, environment: Mapping[str, str]) -> None:
    """Play a section in this process, which may be killed in it; what has happened is in a file then.

    What the training prints, and an error of it, are in another file. The environment is that of the process which asks
    for it: the one that this process was forked from may be older.
    """
    global _left_behind  # noqa: PLW0603  # where this process leaves its record, for the moment of the kill
    _left_behind = file
    os.environ.clear()
    os.environ.update(environment)
    with output_of(file).open("w") as printed, redirect_stdout(printed), redirect_stderr(printed):
        try:
            _write(play(make_run, folder, section))
        except BaseException:  # noqa: BLE001  # it ends the process, and is printed where the parent finds it
            traceback.print_exc()
            raise SystemExit(1) from None


def output_of(file: Path) -> Path:
    """Return where the process prints that leaves its record in a file."""
    return file.with_suffix(".output")


def _leave_behind(record: Record) -> None:
    """Write the record, and be killed."""
    _write(record)
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def _write(record: Record) -> None:
    if _left_behind is not None:
        partial = _left_behind.with_suffix(".partial")
        partial.write_bytes(pickle.dumps(record))
        partial.replace(_left_behind)
