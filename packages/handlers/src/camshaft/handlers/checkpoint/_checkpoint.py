"""When to save, and which saves to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, overload

from camshaft.engine import Engine, as_integer, ranks
from camshaft.handlers._rank import takes_part
from camshaft.handlers.checkpoint._errors import warn_of_deprecated
from camshaft.handlers.checkpoint._event import CheckpointEvents
from camshaft.handlers.checkpoint._flight import is_left_out
from camshaft.handlers.checkpoint._handler_files import files_of_handler, find_file, read_saved, warn_of_unknown_files
from camshaft.handlers.checkpoint._keeper import Keeper
from camshaft.handlers.checkpoint._name_pattern import setup_filename_pattern
from camshaft.handlers.checkpoint._naming import (
    Naming,
    PendingSave,
    ScoreFunction,
    StepFunction,
    get_default_score_fn,
    name_for,
)
from camshaft.handlers.checkpoint._objects import (
    Objects,
    Payload,
    gather,
    require_fitting,
    require_objects,
    require_savable,
)
from camshaft.handlers.checkpoint._restore import LoadReport, load_newest, load_objects, load_stored
from camshaft.handlers.checkpoint._retention import Item as SavedItem
from camshaft.handlers.checkpoint._retention import Plan, best, plan
from camshaft.handlers.checkpoint._saved_list import SavedList, SavedState
from camshaft.handlers.checkpoint._saving import SaveHandler, require_save_handler, warn_if_behind
from camshaft.handlers.checkpoint._sharded_saver import ShardedSaver
from camshaft.handlers.checkpoint._taken_up import list_from_files, list_from_state
from camshaft.handlers.checkpoint._together import as_write_error_of_rank, tell, tell_all, together
from camshaft.handlers.checkpoint._waiting import handlers_in
from camshaft.handlers.checkpoint._writing import SELF_KEY, writing
from camshaft.handlers.checkpoint.format._file_name import extension_of, require_bare_name
from camshaft.handlers.checkpoint.format._record import CheckpointRecord
from camshaft.handlers.checkpoint.storage._listing import CheckpointPath
from camshaft.handlers.checkpoint.storage._saver import Saver
from camshaft.handlers.checkpoint.storage._store import CheckpointStore, require_store


class Checkpoint:
    """Saves objects when it is called, and keeps the best or the latest of what it saved.

    Attach it to the events at which to save. Score, step and name are fixed at the call; the states
    are taken at the engine's next safe point, when all handlers of the event have been called, so
    that the order of the handlers does not matter. Called outside a run it saves at once.

    The new checkpoint is written first. Once it is safe, those that it replaces are removed.
    A save that fails leaves the files and the list of them as they were.

    The list of what it keeps is a state of its own. Put a handler that keeps the best into the `to_save` of the one
    that saves the run. Its saves come first then, and are complete before the run is saved. Otherwise its list is empty
    after resuming, and the next save counts as the best.

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
            `BaseSaveHandler`, or a directory, which stands for ``DiskSaver(path, require_empty=False)``, or for an
            `FsspecSaver` if it is a URL.
        filename_prefix: File names begin with it.
        score_function: ``f(engine) -> number``; the higher, the better. Without it the latest are kept.
        score_name: The name of the score in file names. Given alone, it is also the metric that is the score.
        n_saved: How many to keep; None for all.
        global_step_transform: ``f(engine, event) -> int``, the step; the default is the engine's iteration.
        archived: Deprecated, does nothing.
        filename_pattern: `str.format` template of file names with the fields filename_prefix, name,
            score, score_name, global_step and ext.
        include_self: Whether to save the list of kept checkpoints too, as "checkpointer".
        greater_or_equal: Whether of equal scores the later one is kept, not the first.
        save_on_rank: The process that saves, among those that train together.
        format: "torch" for files of `torch.save`, from which a run is resumed. "safetensors" for the weights of one
            module, to be published or served; the library has to be installed.

    Raises:
        ArgumentTypeError: an argument is of the wrong kind.
        ArgumentError: an argument breaks a rule, or names would lead out of the directory.

    Fires:
        Checkpoint.SAVED_CHECKPOINT

    Examples:
        >>> import os, tempfile, torch
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
    save_handler: Any
    Item = SavedItem
    load_objects = staticmethod(load_objects)
    get_default_score_fn = staticmethod(get_default_score_fn)
    setup_filename_pattern = staticmethod(setup_filename_pattern)

    def __init__(  # noqa: PLR0913 - what, where, when it is kept, and its name
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
        *,
        format: Literal["torch", "safetensors"] = "torch",  # noqa: A002 - the word for it
    ) -> None:
        reserved, whole = SELF_KEY if include_self else None, not isinstance(save_handler, ShardedSaver)
        self.to_save = require_savable(to_save, reserved, whole=whole)
        ext = extension_of(format)
        naming = Naming.checked(
            filename_pattern, filename_prefix, score_function, score_name, global_step_transform, ext
        )
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
        self.n_saved = None if n_saved is None else as_integer("n_saved", n_saved, least=1)
        self.include_self = include_self
        self.greater_or_equal = greater_or_equal
        self.save_on_rank = save_on_rank
        self.ext = naming.ext
        self._naming = naming
        if isinstance(save_handler, CheckpointStore) or not callable(save_handler):
            require_bare_name(naming.sample(name_for(self.to_save)))
        require_fitting(self.to_save, naming.sample(name_for(self.to_save)), include_self=include_self)
        self.save_handler = require_save_handler(save_handler, save_on_rank)
        self._keeper = Keeper(self.save_handler)
        if isinstance(self.save_handler, Saver):
            self.save_on_rank = self.save_handler.save_on_rank

    # ------------------------------------------------------------------ saving

    def __call__(self, engine: Engine[Any, Any], *event_args: Any) -> None:
        """Save at the next safe point, or at once outside a run, if it is worth keeping.

        If a Ctrl-C arrives while a `DiskSaver` writes, the save ends and leaves no trace. If the file is complete
        by then, the exception is raised right after the save, and SAVED_CHECKPOINT is not fired.

        Args:
            engine: Gives the score, the step and the safe point.
            event_args: What the event passes on; ignored.

        Raises:
            ArgumentError: the score is no number, or the step no integer.
            ArgumentTypeError: a tensor is sharded over several processes.
            CheckpointWriteError: the save failed; what was there before still is.
        """
        self._save_soon(engine, self.to_save)

    def _save_soon(self, engine: Engine[Any, Any], to_save: Objects) -> None:
        engine.register_events(*CheckpointEvents)
        save = self._naming.pending_save(engine, to_save)
        if isinstance(self.save_handler, CheckpointStore):
            require_bare_name(save.item.filename)
        engine.at_safe_point(self._keeper.waiting.add(lambda: self._save(save)))

    def _save(self, pending: PendingSave) -> None:
        """Collect the states, write them, and only then remove what they replace."""
        what, keeper = pending.title, self._keeper
        if ranks().size > 1:
            self.wait()
        decided = tell(f"{what}: the decision what to save", lambda: self._decide(pending), self.save_on_rank)
        if decided is None:
            return
        for handler in handlers_in(pending.to_save, Checkpoint):  # the files that their lists name are to be there
            handler._keeper.waiting.carry_out()  # noqa: SLF001 - it is of this class
            handler.wait()
        self.wait()
        if isinstance(self.save_handler, Saver):  # which may be another handler's too
            self.save_handler.wait_for_room()
        pending = replace(pending, item=decided[0], record=decided[1])
        if not keeper.knows_files:
            keeper.knows_files = True
            if takes_part(self.save_on_rank):
                warn_of_unknown_files(self.save_handler, self._naming, name_for(pending.to_save))
        with as_write_error_of_rank(pending.item.filename):
            is_whole = not isinstance(self.save_handler, ShardedSaver)
            together(f"{what}: gathering", lambda: gather(pending.to_save, self.save_on_rank, whole=is_whole))
            rest = None if is_whole else self.save_handler.keep_shards(pending.to_save, pending.item.filename)
            saved = tell_all(f"{what}: its outcome", lambda: self._keep(pending, rest), self.save_on_rank)
        if saved is not None:
            keeper.agree(saved)
            pending.engine.fire_event(self.SAVED_CHECKPOINT)
            return
        if keeper.in_flight.present is None:
            saver = self.save_handler if isinstance(self.save_handler, Saver) else None
            saving = None if saver is None else saver.follow(pending.item.filename)
            keeper.in_flight.begin(pending, saving, is_writer=False)
        pending.engine.at_safe_point(self.wait, after=keeper.in_flight.when_known())

    def _decide(self, pending: PendingSave) -> tuple[SavedItem, CheckpointRecord] | None:
        """Return what to save, None if it is not worth keeping, or stands back for the one that is being written."""
        items = self._keeper.expected(self._plan)
        if self._plan(items, pending.item) is None:
            if self._naming.score_function is None:
                warn_if_behind(items, pending.item)
            return None
        if is_left_out(self.save_handler, pending, self._keeper.in_flight.present):
            pending.engine.logger.info("%s is not saved: the one before is being written", pending.item.filename)
            return None
        return pending.item, pending.record

    def _keep(self, pending: PendingSave, rest: Payload | None) -> SavedList | None:
        is_writer = takes_part(self.save_on_rank)
        write = writing(self.save_handler, pending, rest, include_self=self.include_self) if is_writer else None
        return self._keeper.keep(pending, self._plan, write)

    def wait(self) -> None:
        """Wait until no save goes on in the background, and take note of the last one: list, removal, event.

        A run does so at the first safe point after the save, and at its end. Several processes do so together.

        Raises:
            CheckpointWriteError: the save has failed, or is not over in time.
        """
        while (flight := self._keeper.in_flight.present) is not None:
            saved = self._keeper.settle(flight, self._plan, self.save_on_rank)
            if saved is not None:
                flight.pending.engine.fire_event(self.SAVED_CHECKPOINT)

    def _plan(self, items: Sequence[SavedItem], item: SavedItem) -> Plan | None:
        ties, has_score = self.greater_or_equal, self._naming.score_function is not None
        return plan(items, item, self.n_saved, greater_or_equal=ties, writes_again=ties or not has_score)

    # ------------------------------------------------------------------ the list of kept checkpoints

    @property
    def last_checkpoint(self) -> CheckpointPath | str | None:
        """The kept checkpoint with the highest priority, None if there is none; a full path or URL with a store."""
        item = best(self._keeper.saved.items)
        return None if item is None else self._located(item.filename)

    @property
    def newest_checkpoint(self) -> CheckpointPath | str | None:
        """The checkpoint that was written last, None before the first; a full path or URL with a store."""
        return None if self._keeper.saved.newest is None else self._located(self._keeper.saved.newest)

    def _located(self, filename: str) -> CheckpointPath | str:
        return self.save_handler.path_of(filename) if isinstance(self.save_handler, CheckpointStore) else filename

    def reset(self) -> None:
        """Forget what was saved; the files stay. A save in the background is waited for first."""
        self.wait()
        self._keeper.restart(SavedList())

    def state_dict(self) -> SavedState:
        """Return the list of kept checkpoints: ``{"_saved": [(priority, filename), ...]}``."""
        return self._keeper.saved.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a list of kept checkpoints.

        With a store it is brought up to date from the files. Where the best are kept, those that were saved after the
        list are added to it. Files that are gone are dropped, with a warning if no later save has removed them.

        Args:
            state_dict: What `state_dict` returned.

        Raises:
            ArgumentTypeError: it is no mapping.
            ArgumentError: it holds no such list, or names files that are not this handler's. The
                handler is unchanged.
        """
        self.wait()
        store = self.save_handler if isinstance(self.save_handler, CheckpointStore) else None
        items = read_saved(state_dict, self._naming, self._name, store)
        saved = list_from_state(
            items, store, self._naming, self._name, self.n_saved, greater_or_equal=self.greater_or_equal
        )
        self._keeper.restart(saved)

    @property
    def _name(self) -> str | None:
        """The name of the object in the files; None while it is not known."""
        return name_for(self.to_save) if self.to_save else None

    # ------------------------------------------------------------------ loading

    def reload_objects(
        self, to_load: Objects, load_kwargs: Mapping[str, Any] | None = None, **filename_components: Any
    ) -> None:
        """Find a checkpoint of this handler by the parts of its name and load it; of several the newest.

        Args:
            to_load: Names and objects.
            load_kwargs: For `load_objects`.
            **filename_components: ``global_step=9``, ``score=0.77``, ``name="model"``, ...

        Raises:
            NoDirectoryError: the save handler is no `CheckpointStore`, as `DiskSaver` is.
            NoCheckpointError: there is no such file.
            ArgumentError: names of this handler have no such part.
        """
        own = {"name": self._name} if self._name and "name" in self._naming.pattern.fields else {}
        store = require_store(self.save_handler)
        found = find_file(store, self._naming, {**own, **filename_components})
        load_stored(to_load, store, found.name, **(load_kwargs or {}))

    @overload
    def restore_latest(
        self, to_load: Objects | None = None, *, trusted: bool = False, strict: bool = True, map_location: Any = "cpu",
        missing_ok: Literal[False] = False,
    ) -> LoadReport: ...  # fmt: skip

    @overload
    def restore_latest(
        self, to_load: Objects | None = None, *, trusted: bool = False, strict: bool = True, map_location: Any = "cpu",
        missing_ok: bool,
    ) -> LoadReport | None: ...  # fmt: skip

    def restore_latest(
        self,
        to_load: Objects | None = None,
        *,
        trusted: bool = False,
        strict: bool = True,
        map_location: Any = "cpu",
        missing_ok: bool = False,
    ) -> LoadReport | None:
        """Load this handler's newest sound checkpoint, and rebuild its list of kept ones from the files.

        The newest is the one that was written last, also where the best are kept; `last_checkpoint` is the best.

        Args:
            to_load: Names and objects; None for those that are saved.
            trusted, strict, map_location: As for `restore_latest`, the function.
            missing_ok: Whether to return None, and not raise, where this handler has not saved anything yet. So the
                same line begins a run and continues it.

        Returns:
            What was loaded, and what was passed over for which reason; None if nothing was there.

        Raises:
            NoDirectoryError: the save handler is no `CheckpointStore`, as `DiskSaver` is.
            NoCheckpointError: no file can be loaded; the text says why.
            ConnectionError: a remote place does not answer any more.
        """
        self.wait()
        store = require_store(self.save_handler)
        to_load = require_objects(self.to_save if to_load is None else to_load, "to_load")
        find = partial(files_of_handler, store, self._naming, self._name, missing_ok=missing_ok)
        find_together = partial(tell, "the checkpoints to restore from", find, self.save_on_rank)
        found, options = find_together(), {"strict": strict}
        if missing_ok and not found:
            return None
        report, files = load_newest(
            store, found, find_together, to_load, trusted=trusted, map_location=map_location, module_options=options
        )
        naming, ties = self._naming, self.greater_or_equal
        find_list = partial(list_from_files, store, files, naming, report.path, self.n_saved, ties)
        self._keeper.restart(tell("the list of kept checkpoints", find_list, self.save_on_rank))
        return report
