"""When to save, and which saves to keep."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning, EventEnum
from camshaft.handlers.checkpoint._errors import NoDirectoryError, warn_of_deprecated
from camshaft.handlers.checkpoint._handler_files import files_of_handler, find_file, verified_items, without_later_steps
from camshaft.handlers.checkpoint._name_pattern import default_pattern
from camshaft.handlers.checkpoint._naming import (
    Naming,
    PendingSave,
    ScoreFunction,
    StepFunction,
    default_score,
    name_for,
)
from camshaft.handlers.checkpoint._number import as_limit
from camshaft.handlers.checkpoint._objects import Objects, collect, consolidate, require_objects
from camshaft.handlers.checkpoint._rank import current_rank, is_distributed, is_xla_in_use
from camshaft.handlers.checkpoint._restore import LoadReport, load_newest, load_objects
from camshaft.handlers.checkpoint._retention import Item as SavedItem
from camshaft.handlers.checkpoint._retention import Plan, is_behind, plan, ranked
from camshaft.handlers.checkpoint._saved_list import SavedList, as_state
from camshaft.handlers.checkpoint.format._file_name import EXTENSION, require_bare_name
from camshaft.handlers.checkpoint.storage._disk_saver import DiskSaver
from camshaft.handlers.checkpoint.storage._save_handler import BaseSaveHandler, SaveMetadata, as_save_handler

SELF_KEY = "checkpointer"

SaveHandler = str | os.PathLike[str] | BaseSaveHandler | Callable[..., Any]


class CheckpointEvents(EventEnum):
    """What a `Checkpoint` fires, on the engine that it was called with."""

    auto_register = True
    SAVED_CHECKPOINT = "saved_checkpoint"


class Checkpoint(SavedList):
    """Saves objects when it is called, and keeps the best or the latest of what it saved.

    Attach it to the events at which to save. Score, step and name are fixed at the call; the states
    are taken at the engine's next safe point, when all handlers of the event have been called, so
    that the order of the handlers does not matter. Called outside a run it saves at once.

    The new checkpoint is written first; only when it is safe are those removed that it replaces.
    A save that fails leaves the files and the list of them as they were.

    With several processes attach it in all of them; only the one of rank `save_on_rank` collects
    states and writes (all of them on XLA devices).

    Attributes:
        SAVED_CHECKPOINT: Event fired after a save, once it is safe, on the engine that the handler
            was called with. It can be listened to before the first save.
        to_save: The objects by name.
        save_handler: Where they go.
        n_saved: How many are kept.

    Args:
        to_save: Names and objects with `state_dict` and `load_state_dict`; may hold mappings and
            sequences of such objects.
        save_handler: ``f(checkpoint, filename)`` or ``f(checkpoint, filename, metadata)``, a
            `BaseSaveHandler`, or a directory, which stands for ``DiskSaver(path, require_empty=False)``.
        filename_prefix: File names begin with it.
        score_function: ``f(engine) -> number``; the higher, the better. Without it the latest are kept.
        score_name: What the score is called in file names; alone it also is the metric to take as score.
        n_saved: How many to keep; None for all.
        global_step_transform: ``f(engine, event) -> int``, the step; the default is the engine's iteration.
        archived: Deprecated, does nothing.
        filename_pattern: `str.format` template of file names with the fields filename_prefix, name,
            score, score_name, global_step and ext.
        include_self: Whether to save the list of kept checkpoints too, as "checkpointer".
        greater_or_equal: Whether of equal scores the later one is kept, not the first.
        save_on_rank: The process that saves, among those that train together.

    Raises:
        ArgumentTypeError: an argument is of the wrong kind.
        ArgumentError: an argument breaks a rule, or names would lead out of the directory.

    Fires:
        Checkpoint.SAVED_CHECKPOINT

    Examples:
        >>> import tempfile, torch
        >>> from camshaft.engine import Events
        >>> trainer, model = Engine(lambda engine, batch: None), torch.nn.Linear(2, 1)
        >>> directory = tempfile.TemporaryDirectory()
        >>> latest = Checkpoint({"model": model, "trainer": trainer}, directory.name, n_saved=2)
        >>> handle = trainer.add_event_handler(Events.ITERATION_COMPLETED(every=10), latest)
        >>> state = trainer.run(range(40))
        >>> sorted(os.listdir(directory.name))
        ['checkpoint_30.pt', 'checkpoint_40.pt']
        >>> latest.last_checkpoint.name
        'checkpoint_40.pt'
        >>> latest.restore_latest().step
        40
        >>> directory.cleanup()
    """

    SAVED_CHECKPOINT = CheckpointEvents.SAVED_CHECKPOINT
    Item = SavedItem

    def __init__(
        self,
        to_save: Objects,
        save_handler: SaveHandler,
        filename_prefix: str = "",
        score_function: ScoreFunction | None = None,
        score_name: str | None = None,
        n_saved: int | None = 1,
        global_step_transform: StepFunction | None = None,
        archived: bool = False,
        filename_pattern: str | None = None,
        include_self: bool = False,
        greater_or_equal: bool = False,
        save_on_rank: int = 0,
    ) -> None:
        self.to_save = require_savable(to_save, include_self)
        naming = Naming.checked(filename_pattern, filename_prefix, score_function, score_name, global_step_transform)
        self._set_up(save_handler, naming, n_saved, include_self, greater_or_equal, save_on_rank)
        if archived:
            warn_of_deprecated("archived", "the files are archives anyway")

    def _set_up(
        self,
        save_handler: SaveHandler,
        naming: Naming,
        n_saved: int | None,
        include_self: bool,
        greater_or_equal: bool,
        save_on_rank: int,
    ) -> None:
        self.n_saved = as_limit(n_saved)
        self.include_self = include_self
        self.greater_or_equal = greater_or_equal
        self.save_on_rank = save_on_rank
        self.ext = EXTENSION
        self._naming = naming
        SavedList.__init__(self)
        if isinstance(save_handler, DiskSaver) or not callable(save_handler):
            require_bare_name(naming.sample(name_for(self.to_save)))
        if isinstance(save_handler, str | os.PathLike) and not callable(save_handler):
            save_handler = DiskSaver(save_handler, require_empty=False, save_on_rank=save_on_rank)
        if not callable(save_handler):
            raise ArgumentTypeError(
                f"`save_handler` must be a function, a BaseSaveHandler or a path, got {save_handler!r}"
            )
        if isinstance(save_handler, DiskSaver):
            self.save_on_rank = save_handler.save_on_rank
        self.save_handler = save_handler
        self._write = as_save_handler(save_handler)

    # ------------------------------------------------------------------ saving

    def __call__(self, engine: Engine[Any, Any], *event_args: Any) -> None:
        """Save at the next safe point, or at once outside a run, if it is worth keeping.

        Raises:
            ArgumentError: the score is no number, or the step no integer.
            CheckpointWriteError: the save failed; what was there before still is.
        """
        self._save_soon(engine, self.to_save)

    def _save_soon(self, engine: Engine[Any, Any], to_save: Objects) -> None:
        engine.register_events(*CheckpointEvents)
        request = self._naming.request(engine, to_save)
        if isinstance(self.save_handler, DiskSaver):
            require_bare_name(request.item.filename)
        was_exact = request.is_exact()
        engine.at_safe_point(lambda: self._save(request, was_exact))

    def _save(self, request: PendingSave, was_exact: bool) -> None:
        """Collect, write, and only then remove."""
        what = plan(self._saved, request.item, self.n_saved, greater_or_equal=self.greater_or_equal)
        if what is None:
            self._explain(request.item)
            return
        if is_distributed():
            consolidate(request.to_save, self.save_on_rank)
        if self._takes_part:
            self._collect_and_write(request, what, exact=was_exact and request.is_exact())
        self._saved, self._newest = list(what.keep), request.item.filename
        self._remove(what.drop)
        request.engine.fire_event(self.SAVED_CHECKPOINT)

    def _collect_and_write(self, request: PendingSave, what: Plan, *, exact: bool) -> None:
        state, keys, is_bare = collect(request.to_save)
        if self.include_self:
            states = {keys[0]: state} if is_bare else state
            state, keys, is_bare = {**states, SELF_KEY: as_state(what.keep)}, (*keys, SELF_KEY), False
        record = replace(request.record, keys=keys, is_bare=is_bare, exact=exact)
        self._write(state, request.item.filename, SaveMetadata(record))

    @property
    def _takes_part(self) -> bool:
        """Whether this process has to write, or to help another one to."""
        return current_rank() == self.save_on_rank or is_xla_in_use()

    def _remove(self, items: tuple[SavedItem, ...]) -> None:
        """Remove checkpoints; one that cannot be removed is tried again after the next save."""
        if not isinstance(self.save_handler, BaseSaveHandler) or not self._takes_part:
            return
        for item in reversed(items):
            try:
                self.save_handler.remove(item.filename)
            except FileNotFoundError:
                warnings.warn(f"{item.filename} was to be removed and is gone already", EngineWarning, stacklevel=2)
            except OSError as error:
                self._saved.insert(0, item)
                warnings.warn(f"{item.filename} could not be removed: {error}", EngineWarning, stacklevel=2)

    def _explain(self, item: SavedItem) -> None:
        """Warn of a save that is left out although it may be the latest: steps are expected to grow."""
        if self._naming.score_function is None and is_behind(self._saved, item):
            warnings.warn(
                f"{item.filename} was not saved: its step is behind that of {self._saved[-1].filename}; call reset() "
                "when a new run begins",
                EngineWarning,
                stacklevel=2,
            )

    # ------------------------------------------------------------------ loading

    @staticmethod
    def load_objects(
        to_load: Objects,
        checkpoint: Mapping[str, Any] | str | os.PathLike[str],
        *,
        trusted: bool = False,
        map_location: Any = "cpu",
        **kwargs: Any,
    ) -> None:
        """Load a checkpoint into objects, into all of them or, if one refuses, into none.

        A file is verified first, and nothing in it is run. While loading, main memory also holds a
        copy of the state that the objects had.

        Args:
            to_load: Names and objects; may be fewer than were saved.
            checkpoint: A file, or what `torch.load` made of one. Of a single object it may be the
                state itself.
            trusted: Whether to run what is in the file, follow links and read what cannot be verified.
            map_location: For `torch.load`.
            **kwargs: For the `load_state_dict` of modules, ``strict=False``, say.

        Raises:
            CheckpointMismatchError: it lacks an object.
            CheckpointDamagedError: the file is not what was written.
            CheckpointUnsafeError: the file would have to be trusted.
            OSError: the file cannot be read.
            Exception: what an object raises that cannot load its state.

        Examples:
            >>> import torch
            >>> model = torch.nn.Linear(2, 1, bias=False)
            >>> Checkpoint.load_objects({"model": model}, {"model": {"weight": torch.ones(1, 2)}})
            >>> model.weight.tolist()
            [[1.0, 1.0]]
        """
        load_objects(to_load, checkpoint, trusted=trusted, map_location=map_location, **kwargs)

    def reload_objects(
        self, to_load: Objects, load_kwargs: Mapping[str, Any] | None = None, **filename_components: Any
    ) -> None:
        """Find a checkpoint of this handler by the parts of its name and load it; of several the newest.

        Args:
            to_load: Names and objects.
            load_kwargs: For `load_objects`.
            **filename_components: ``global_step=9``, ``score=0.77``, ``name="model"``, ...

        Raises:
            NoDirectoryError: the save handler is no `DiskSaver`.
            NoCheckpointError: there is no such file.
            ArgumentError: names of this handler have no such part.
        """
        own = {"name": self._name} if self._name and "name" in self._naming.pattern.fields else {}
        path = find_file(self._directory(), self._naming, {**own, **filename_components})
        load_objects(to_load, path, **(load_kwargs or {}))

    def restore_latest(
        self,
        to_load: Objects | None = None,
        *,
        trusted: bool = False,
        strict: bool = True,
        map_location: Any = "cpu",
    ) -> LoadReport:
        """Load this handler's newest sound checkpoint, and take up its list of kept ones from the files.

        Args:
            to_load: Names and objects; None for those that are saved.
            trusted: As for `restore_latest`, the function, and so are `strict` and `map_location`.

        Returns:
            What was loaded, and what was passed over for which reason.

        Raises:
            NoDirectoryError: the save handler is no `DiskSaver`.
            NoCheckpointError: no file will do; the text says why.
        """
        directory = self._directory()
        to_load = require_objects(self.to_save if to_load is None else to_load, "to_load")
        files = files_of_handler(directory, self._naming, self._name)
        report = load_newest(
            directory, files, to_load, trusted=trusted, map_location=map_location, module_options={"strict": strict}
        )
        items = verified_items(files, self._naming, skip=report.path, check=self.n_saved is not None)
        if self._naming.score_function is None:
            items = without_later_steps(items, report.path.name)
        self._saved = ranked(items, greater_or_equal=self.greater_or_equal)
        self._newest = items[-1].filename if items else None
        return report

    def _directory(self) -> Path:
        if not isinstance(self.save_handler, DiskSaver):
            raise NoDirectoryError(
                f"`save_handler` must be a DiskSaver to look for files, got {self.save_handler!r}; use load_objects"
            )
        return self.save_handler.dirname

    # ------------------------------------------------------------------ helpers for arguments

    @staticmethod
    def get_default_score_fn(metric_name: str, score_sign: float = 1.0) -> ScoreFunction:
        """Return a score function that reads a metric of the engine.

        Args:
            metric_name: Key in `engine.state.metrics`.
            score_sign: -1.0 for what is better when smaller.

        Raises:
            ArgumentError: another sign.

        Examples:
            >>> engine = Engine(lambda engine, batch: None)
            >>> engine.state.metrics["loss"] = 0.25
            >>> Checkpoint.get_default_score_fn("loss", -1.0)(engine)
            -0.25
        """
        return default_score(metric_name, score_sign)

    @staticmethod
    def setup_filename_pattern(
        with_prefix: bool = True, with_score: bool = True, with_score_name: bool = True, with_global_step: bool = True
    ) -> str:
        """Return the template of the names that are used when no `filename_pattern` is given.

        Raises:
            ArgumentError: neither score nor step, or a score's name without the score.

        Examples:
            >>> Checkpoint.setup_filename_pattern()
            '{filename_prefix}_{name}_{global_step}_{score_name}={score}.{ext}'
        """
        return default_pattern(
            with_prefix=with_prefix,
            with_score=with_score,
            with_score_name=with_score_name,
            with_global_step=with_global_step,
        )


def require_savable(to_save: object, include_self: bool) -> Objects:
    """Return `to_save` if it names objects that can be saved, and leaves room for the handler itself."""
    objects = require_objects(to_save, "to_save")
    if include_self and SELF_KEY in objects:
        raise ArgumentError(
            f"`to_save` must not have the key {SELF_KEY!r} with include_self=True, got it; call the object otherwise"
        )
    return objects
