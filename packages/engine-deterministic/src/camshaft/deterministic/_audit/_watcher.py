"""Listens to a training under audit, writes down what happens, and stops it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from camshaft.deterministic._audit._audited_run import AuditedRun, objects_in
from camshaft.deterministic._audit._audited_section import Checkpoint, Record, Section, Seen, list_files
from camshaft.deterministic._audit._leaf import leaves_of
from camshaft.deterministic._audit._part import DATA, STATE, Part, look_at
from camshaft.deterministic._engine import DeterministicEngine
from camshaft.engine import Events, State


class StopRun(BaseException):  # no error, though it stops a run as one
    """Stops a run as an interrupt in it would: a training that tries again after an error does not go on."""


def stop_by_exception(record: Record) -> None:
    """Stop a run in this process."""
    del record
    raise StopRun("the audit stops the run here")


class Watcher:
    """Listens to a training, writes down what happens, and stops it."""

    def __init__(
        self,
        run: AuditedRun,
        folder: Path,
        section: Section,
        tell: Callable[[], object],
        stop: Callable[[Record], object],
    ) -> None:
        self.record = Record(is_deterministic=isinstance(run.engine, DeterministicEngine))
        self.is_stopped = False
        self._run, self._folder, self._section, self._tell, self._stop_run = run, folder, section, tell, stop
        self._objects = objects_in(run.to_save)
        self._handlers: dict[str, Any] = {}  # by their class
        run.engine.wrap_handlers(self._note_handler)
        run.engine.add_event_handler(Events.GET_BATCH_STARTED, self._look)
        run.engine.add_event_handler(Events.ITERATION_STARTED, self._note_batch)
        run.engine.add_event_handler(Events.ITERATION_COMPLETED, self._note_output)
        run.engine.add_event_handler(Events.EPOCH_COMPLETED, self._note_epoch)

    def load(self, checkpoint: bytes) -> None:
        """Take over a checkpoint, as from a file."""
        states = torch.load(io.BytesIO(checkpoint), weights_only=False)  # written by the audit itself
        for name, each in self._objects.items():
            each.load_state_dict(states[name])
        self.record.resumed_at = self._run.engine.position.iteration
        self.record.loaded = self._look_at_saved()

    def note_error(self, error: Exception) -> None:
        """Write down what resuming has raised, and what everything was like by then."""
        self.record.error = f"{type(error).__name__}: {error}"
        if self.record.resumed_at is not None:
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
        """Note what everything is like before the first two iterations after a resume, and after a checkpoint."""
        done, taken = self._run.engine.state.iteration, self.record.checkpoint
        starts = (self.record.resumed_at, None if taken is None else taken.iteration)
        if done not in self.record.seen and any(start is not None and done - start in (0, 1) for start in starts):
            self.record.seen[done] = self._see()

    def _note_batch(self) -> None:
        state = self._run.engine.state
        taken = self.record.checkpoint
        if taken is not None and (state.iteration > taken.iteration + 1 or state.iteration == self._section.length):
            self._stop()
        self.record.steps[state.iteration] = leaves_of(state.batch), {}

    def _note_output(self) -> None:
        engine, section = self._run.engine, self._section
        number = engine.state.iteration
        self.record.steps[number] = self.record.steps[number][0], leaves_of(engine.state.output)
        self._tell()
        self._save_soon(Events.ITERATION_COMPLETED)
        if section.iterations is not None and number >= section.iterations:
            engine.terminate()

    def _note_epoch(self) -> None:
        state = self._run.engine.state
        self.record.metrics[state.epoch] = leaves_of(state.metrics, "engine.state.metrics")
        self._save_soon(Events.EPOCH_COMPLETED)

    # ------------------------------------------------------------------ saving and stopping

    def _save_soon(self, event: Events) -> None:
        """Take a checkpoint once the handlers of an event are through, if it is the one."""
        engine, section = self._run.engine, self._section
        is_due = section.save_at is not None and engine.state.iteration >= section.save_at
        if is_due and event is section.save_on and self.record.checkpoint is None:
            engine.at_safe_point(self._save)

    def _save(self) -> None:
        if self.record.checkpoint is None and not self._run.engine.should_terminate:
            buffer = io.BytesIO()
            torch.save({name: each.state_dict() for name, each in self._objects.items()}, buffer)
            done = self._run.engine.position.iteration
            self.record.checkpoint = Checkpoint(done, self._section.save_on, buffer.getvalue())
            self.record.saved = self._look_at_saved()
            self.record.files = list_files(self._folder)

    def _stop(self) -> None:
        self.is_stopped = True
        self._stop_run(self.record)

    def _look_at_saved(self) -> tuple[Part, ...]:
        parts = ((key, each) for key, each in self._objects.items() if each is not self._run.engine)
        return tuple(Part(key, leaves_of(each.state_dict(), key)) for key, each in parts)

    def _see(self) -> Seen:
        run = self._run
        own = vars(State())
        in_state = {name: value for name, value in vars(run.engine.state).items() if name not in own}
        unsaved = {name: value for name, value in in_state.items() if name not in run.engine.state_dict_user_keys}
        owners = {
            DATA: run.engine.state.dataloader, "step": run.engine.process_function, **self._handlers,
            STATE: unsaved, **run.others,
        }  # fmt: skip
        left_out = (*run.left_out, *(each for each in self._handlers.values() if self._saves_engine(each)))
        others = look_at(run.engine, owners, self._handlers, self._objects, left_out)
        return Seen(self._look_at_saved(), tuple(others))

    def _saves_engine(self, handler: Any) -> bool:
        """Return whether a handler is what saves the training, and so no part of it."""
        to_save = getattr(handler, "to_save", None)
        return isinstance(to_save, Mapping) and any(each is self._run.engine for each in objects_in(to_save).values())
