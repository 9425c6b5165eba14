"""The steps of a save that need a save handler: choosing it, calling it, letting it remove what is replaced."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from camshaft.engine import ArgumentTypeError, EngineWarning
from camshaft.handlers._local_path import is_url
from camshaft.handlers.checkpoint._retention import Item, is_behind
from camshaft.handlers.checkpoint.storage._disk_saver import DiskSaver
from camshaft.handlers.checkpoint.storage._fsspec_saver import FsspecSaver
from camshaft.handlers.checkpoint.storage._save_handler import (
    BaseSaveHandler,
    SaveMetadata,
    as_save_handler,
    require_done,
)
from camshaft.handlers.checkpoint.storage._saver import Saver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from camshaft.handlers.checkpoint._deferred_signals import deferred_signals
    from camshaft.handlers.checkpoint.storage._background import Saving

SaveHandler = str | os.PathLike[str] | BaseSaveHandler | Callable[..., Any]


def require_save_handler(save_handler: SaveHandler, save_on_rank: int) -> BaseSaveHandler | Callable[..., Any]:
    """Return a save handler, made of a path or a URL if that is what was given.

    Args:
        save_handler: As for `Checkpoint`.
        save_on_rank: As for `Checkpoint`.

    Raises:
        ArgumentTypeError: it is neither a path nor callable.
    """
    if isinstance(save_handler, str | os.PathLike) and not callable(save_handler):
        if is_url(save_handler):
            return FsspecSaver(str(save_handler), require_empty=False, save_on_rank=save_on_rank)
        return DiskSaver(save_handler, require_empty=False, save_on_rank=save_on_rank)
    if not callable(save_handler):
        raise ArgumentTypeError(f"`save_handler` must be a function, a BaseSaveHandler or a path, got {save_handler!r}")
    as_save_handler(save_handler)  # what it takes is checked now
    return save_handler


def write(
    save_handler: Callable[..., Any], state: Any, filename: str, metadata: SaveMetadata, signals: deferred_signals
) -> Saving | None:
    """Let a save handler keep a checkpoint; return what goes on in the background, None if it is kept.

    Args:
        save_handler: The handler.
        state: What goes into the file.
        filename: Its name.
        metadata: What the handler is told besides.
        signals: The block that the save is done in. A handler of the user's own may take long, and has promised
            nothing: signals come up in it as ever.
    """
    call = as_save_handler(save_handler)
    with nullcontext() if isinstance(save_handler, Saver) else signals.let_through():
        require_done(call(state, filename, metadata), save_handler)
    return save_handler.follow(filename) if isinstance(save_handler, Saver) else None


def remove(save_handler: Callable[..., Any], items: Iterable[Item]) -> Iterator[Item]:
    """Let a save handler remove checkpoints, the best one first, and yield each that is gone.

    One that cannot be removed now is a warning; whatever else the save handler raises comes out.
    """
    for item in reversed(tuple(items)):
        try:
            if isinstance(save_handler, BaseSaveHandler):
                save_handler.remove(item.filename)
        except FileNotFoundError:
            warnings.warn(f"{item.filename} was to be removed and is gone already", EngineWarning, stacklevel=2)
        except OSError as error:
            warnings.warn(f"{item.filename} could not be removed: {error}", EngineWarning, stacklevel=2)
            continue
        yield item


def warn_if_behind(items: Sequence[Item], item: Item) -> None:
    """Warn of a save by steps that is left out although it may be the latest: steps are expected to grow."""
    if is_behind(items, item):
        warnings.warn(
            f"{item.filename} was not saved: its step is behind that of {items[-1].filename}; call reset() "
            "when a new run begins",
            EngineWarning,
            stacklevel=2,
        )
