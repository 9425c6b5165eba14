"""Save and restore objects; see :mod:`camshaft.handlers.checkpoint`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from camshaft.engine import ArgumentError, ArgumentTypeError
from camshaft.handlers import BaseSaveHandler, CheckpointEvents, DiskSaver
from camshaft.handlers import Checkpoint as CamshaftCheckpoint
from camshaft.handlers import ModelCheckpoint as CamshaftModelCheckpoint
from ignite.handlers._annotations import AnyEngine

__all__ = ["BaseSaveHandler", "Checkpoint", "CheckpointEvents", "DiskSaver", "ModelCheckpoint"]


class NothingToSaveError(ArgumentTypeError, ArgumentError, RuntimeError):
    """A `ModelCheckpoint` was called without objects."""


class Checkpoint(CamshaftCheckpoint):
    """Saves objects when it is called, and keeps the best or the latest of what it saved.

    See :class:`camshaft.handlers.Checkpoint`.

    Args:
        to_save: names and objects with `state_dict` and `load_state_dict`. An empty dict may be filled later.
        save_handler: a directory, a `BaseSaveHandler`, or ``f(checkpoint, filename)``.
        filename_prefix: file names begin with it.
        score_function: ``f(engine) -> number``; the higher, the better.
        score_name: what the score is called in file names.
        n_saved: how many to keep; None for all.
        global_step_transform: ``f(engine, event) -> int``, the step.
        filename_pattern: `str.format` template of file names.
        include_self: whether to save the list of kept checkpoints too, as "checkpointer".
        greater_or_equal: whether of equal scores the later one is kept.
        save_on_rank: the process that saves.
        archived: accepted for older scripts; it changes nothing.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
    """

    filename_prefix: str
    score_function: Callable[[AnyEngine], Any] | None
    score_name: str | None
    global_step_transform: Callable[..., Any] | None
    filename_pattern: str | None

    def __init__(
        self,
        to_save: Mapping[str, Any],
        save_handler: str | os.PathLike[str] | BaseSaveHandler | Callable[..., Any],
        filename_prefix: str = "",
        score_function: Callable[[AnyEngine], Any] | None = None,
        score_name: str | None = None,
        n_saved: int | None = 1,
        global_step_transform: Callable[..., Any] | None = None,
        filename_pattern: str | None = None,
        include_self: bool = False,
        greater_or_equal: bool = False,
        save_on_rank: int = 0,
        archived: bool = False,
    ) -> None:
        is_filled_later = isinstance(to_save, Mapping) and not to_save
        super().__init__(
            {"checkpoint": self} if is_filled_later else to_save,
            save_handler,
            filename_prefix=filename_prefix,
            score_function=score_function,
            score_name=score_name,
            n_saved=n_saved,
            global_step_transform=global_step_transform,
            archived=archived,
            filename_pattern=filename_pattern,
            include_self=include_self,
            greater_or_equal=greater_or_equal,
            save_on_rank=save_on_rank,
        )
        if is_filled_later:
            self.to_save = to_save
        self._name_arguments(
            filename_prefix=filename_prefix,
            score_function=score_function,
            score_name=score_name,
            global_step_transform=global_step_transform,
            filename_pattern=filename_pattern,
        )

    def _name_arguments(self, **arguments: Any) -> None:
        """Keep arguments under the names under which scripts read them."""
        for name, value in arguments.items():
            setattr(self, name, value)


class ModelCheckpoint(CamshaftModelCheckpoint, Checkpoint):
    """A `Checkpoint` on a `DiskSaver` that is told what to save when it is called.

    See :class:`camshaft.handlers.ModelCheckpoint`.

    Args:
        dirname: the directory.
        filename_prefix: file names begin with it.
        score_function: ``f(engine) -> number``; the higher, the better.
        score_name: what the score is called in file names.
        n_saved: how many to keep; None for all.
        atomic: False writes right under the final name, and promises nothing.
        require_empty: whether to refuse a directory that holds checkpoints already.
        create_dir: whether to make a missing directory.
        global_step_transform: ``f(engine, event) -> int``, the step.
        filename_pattern: `str.format` template of file names.
        include_self: whether to save the list of kept checkpoints too, as "checkpointer".
        greater_or_equal: whether of equal scores the later one is kept.
        save_on_rank: the process that saves.
        kwargs: of `torch.save`; `save_interval`, `save_as_state_dict` and `archived` of older scripts.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # the documented arguments
        self,
        dirname: str | os.PathLike[str],
        filename_prefix: str = "",
        score_function: Callable[[AnyEngine], Any] | None = None,
        score_name: str | None = None,
        n_saved: int | None = 1,
        atomic: bool = True,
        require_empty: bool = True,
        create_dir: bool = True,
        global_step_transform: Callable[..., Any] | None = None,
        filename_pattern: str | None = None,
        include_self: bool = False,
        greater_or_equal: bool = False,
        save_on_rank: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            dirname,
            filename_prefix,
            score_function=score_function,
            score_name=score_name,
            n_saved=n_saved,
            atomic=atomic,
            require_empty=require_empty,
            create_dir=create_dir,
            global_step_transform=global_step_transform,
            filename_pattern=filename_pattern,
            include_self=include_self,
            greater_or_equal=greater_or_equal,
            save_on_rank=save_on_rank,
            **kwargs,
        )
        self._name_arguments(
            filename_prefix=filename_prefix,
            score_function=score_function,
            score_name=score_name,
            global_step_transform=global_step_transform,
            filename_pattern=filename_pattern,
        )

    def __call__(self, engine: Any, *event_args: Any, to_save: Mapping[str, Any] | None = None) -> None:
        """Save at the next safe point, or at once outside a run, if it is worth keeping.

        Args:
            engine: the engine.
            event_args: the last is `to_save`, when it is not given by name.
            to_save: names and objects.

        Raises:
            NothingToSaveError: there are no objects to save.
        """
        given = event_args if to_save is None else (*event_args, to_save)
        if not given or (isinstance(given[-1], Mapping) and not given[-1]):
            raise NothingToSaveError("`to_save` must name at least one object, got none")
        super().__call__(engine, *given)
