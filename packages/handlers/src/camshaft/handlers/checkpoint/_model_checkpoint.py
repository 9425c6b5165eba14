"""Checkpoints in a directory, of objects that are given when the handler is attached."""

from __future__ import annotations

import os
from typing import Any, Literal

from camshaft.engine import ArgumentTypeError, Engine
from camshaft.handlers.checkpoint._checkpoint import Checkpoint
from camshaft.handlers.checkpoint._errors import warn_of_deprecated
from camshaft.handlers.checkpoint._naming import Naming, ScoreFunction, StepFunction
from camshaft.handlers.checkpoint._objects import require_savable
from camshaft.handlers.checkpoint._writing import SELF_KEY
from camshaft.handlers.checkpoint.format._file_name import extension_of
from camshaft.handlers.checkpoint.storage._background import WhenBusy
from camshaft.handlers.checkpoint.storage._disk_saver import DiskSaver


class ModelCheckpoint(Checkpoint):
    """A `Checkpoint` on a `DiskSaver` that is told what to save when it is called.

    Args:
        dirname: The directory.
        filename_prefix: File names begin with it.
        save_interval: Deprecated, does nothing: use ``Events.ITERATION_COMPLETED(every=1000)``.
        score_function, score_name, n_saved, global_step_transform, filename_pattern: As for `Checkpoint`.
        include_self, greater_or_equal, save_on_rank, format: As for `Checkpoint`.
        atomic, require_empty, create_dir, durable, asynchronous, when_busy, timeout_s: As for `DiskSaver`.
        save_as_state_dict: Deprecated, does nothing.
        archived: Deprecated, does nothing.
        **kwargs: For `torch.save`.

    Raises:
        ArgumentError: as for `Checkpoint` and `DiskSaver`.
        ArgumentTypeError: an argument is of the wrong kind.

    Fires:
        Checkpoint.SAVED_CHECKPOINT

    Examples:
        >>> import tempfile, torch
        >>> from camshaft.engine import Events
        >>> trainer, directory = Engine(lambda engine, batch: None), tempfile.TemporaryDirectory()
        >>> handler = ModelCheckpoint(directory.name, "myprefix", n_saved=2)
        >>> objects = {"mymodel": torch.nn.Linear(3, 3)}
        >>> handle = trainer.add_event_handler(Events.EPOCH_COMPLETED(every=2), handler, objects)
        >>> state = trainer.run([0, 1, 2, 3, 4], max_epochs=6)
        >>> sorted(os.listdir(directory.name))
        ['myprefix_mymodel_20.pt', 'myprefix_mymodel_30.pt']
        >>> directory.cleanup()
    """

    def __init__(  # noqa: PLR0913 - the arguments of three classes, by keyword
        self,
        dirname: str | os.PathLike[str],
        filename_prefix: str = "",
        *,
        save_interval: int | None = None,
        score_function: ScoreFunction | None = None,
        score_name: str | None = None,
        n_saved: int | None = 1,
        atomic: bool = True,
        require_empty: bool = True,
        create_dir: bool = True,
        save_as_state_dict: bool = True,
        global_step_transform: StepFunction | None = None,
        archived: bool = False,
        filename_pattern: str | None = None,
        include_self: bool = False,
        greater_or_equal: bool = False,
        save_on_rank: int = 0,
        durable: bool = True,
        asynchronous: bool = False,
        when_busy: WhenBusy = "wait",
        timeout_s: float = 600.0,
        format: Literal["torch", "safetensors"] = "torch",  # noqa: A002 - the word for it
        **kwargs: Any,
    ) -> None:
        if save_interval is not None:
            warn_of_deprecated("save_interval", "attach to a filtered event, such as ITERATION_COMPLETED(every=1000)")
        if not save_as_state_dict:
            warn_of_deprecated("save_as_state_dict", "objects are saved by their state_dict; see torch.save for others")
        if archived:
            warn_of_deprecated("archived", "the files are archives anyway")
        self.to_save = {}
        ext = extension_of(format)
        naming = Naming.checked(
            filename_pattern, filename_prefix, score_function, score_name, global_step_transform, ext
        )
        saver = DiskSaver(
            dirname,
            atomic=atomic,
            create_dir=create_dir,
            require_empty=require_empty,
            save_on_rank=save_on_rank,
            durable=durable,
            asynchronous=asynchronous,
            when_busy=when_busy,
            timeout_s=timeout_s,
            **kwargs,
        )
        self._set_up(saver, naming, n_saved, include_self, greater_or_equal, save_on_rank)

    def __call__(self, engine: Engine[Any, Any], *event_args: Any) -> None:
        """Save at the next safe point, or at once outside a run, if it is worth keeping.

        Args:
            engine: The engine.
            event_args: The last is `to_save`, names and objects, as given to `add_event_handler`.

        Raises:
            ArgumentTypeError: there are no objects to save.
            ArgumentError: the score is no number, or the step no integer.
            CheckpointWriteError: the save failed; what was there before still is.
        """
        if not event_args:
            raise ArgumentTypeError(
                "`to_save` must be given, got nothing; attach with add_event_handler(event, handler, to_save)"
            )
        self.to_save = require_savable(event_args[-1], SELF_KEY if self.include_self else None)
        self._save_soon(engine, self.to_save)
