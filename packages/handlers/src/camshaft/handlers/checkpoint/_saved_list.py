"""The list of the checkpoints that a handler keeps: looked at, forgotten, saved and taken up again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from camshaft.handlers.checkpoint._handler_files import read_saved
from camshaft.handlers.checkpoint._naming import Naming, name_for
from camshaft.handlers.checkpoint._objects import Objects
from camshaft.handlers.checkpoint._retention import Item, best, ranked
from camshaft.handlers.checkpoint.storage._disk_saver import DiskSaver


class SavedList:
    """What a handler has saved and not removed, lowest priority first."""

    to_save: Objects
    save_handler: Any
    _naming: Naming

    def __init__(self) -> None:
        self._saved: list[Item] = []
        self._newest: str | None = None

    @property
    def last_checkpoint(self) -> Path | str | None:
        """The kept checkpoint with the highest priority, None if there is none; a full path with `DiskSaver`."""
        item = best(self._saved)
        return None if item is None else self._located(item.filename)

    @property
    def newest_checkpoint(self) -> Path | str | None:
        """The checkpoint that was written last, None before the first; a full path with `DiskSaver`."""
        return None if self._newest is None else self._located(self._newest)

    def reset(self) -> None:
        """Forget what was saved; the files stay."""
        self._saved, self._newest = [], None

    def state_dict(self) -> OrderedDict[str, list[tuple[float, str]]]:
        """Return the list of kept checkpoints: ``{"_saved": [(priority, filename), ...]}``."""
        return as_state(self._saved)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a list of kept checkpoints; with `DiskSaver` those that are gone are dropped with a warning.

        Raises:
            ArgumentTypeError: it is no mapping.
            ArgumentError: it holds no such list, or names files that are not this handler's. The
                handler is unchanged.
        """
        directory = self.save_handler.dirname if isinstance(self.save_handler, DiskSaver) else None
        # The order is that of the list: of equal priorities the last one stays the last.
        self._saved = ranked(read_saved(state_dict, self._naming, self._name, directory), greater_or_equal=True)
        # The latest has the highest step; which of several scores was the last to be saved is not told.
        is_by_step = bool(self._saved) and self._naming.score_function is None
        self._newest = self._saved[-1].filename if is_by_step else None

    @property
    def _name(self) -> str | None:
        """What the files' object is called; None while it is not known."""
        return name_for(self.to_save) if self.to_save else None

    def _located(self, filename: str) -> Path | str:
        return self.save_handler.dirname / filename if isinstance(self.save_handler, DiskSaver) else filename


def as_state(items: Iterable[Item]) -> OrderedDict[str, list[tuple[float, str]]]:
    """Return a list of checkpoints in the form in which it is saved."""
    return OrderedDict(_saved=[(item.priority, item.filename) for item in items])
