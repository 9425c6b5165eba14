"""Plain numbers that users' objects count by themselves, without a `state_dict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_PLAIN = (bool, int, float, str, type(None))


class Counts:
    """Notices which plain attributes of some objects change while a run goes on, such as `self.epoch += 1`.

    An object that counts its own epochs, say, goes on counting in a resumed run only if somebody saves the
    count. What never changes is configuration, and is left alone.

    Args:
        owners: the objects; their numbers, strings, bools and None are looked at.
    """

    def __init__(self, owners: Sequence[Any]) -> None:
        self._owners = list(owners)
        self._before = [_plain(owner) for owner in owners]

    def changed(self) -> dict[str, dict[str, Any]]:
        """Return what has changed since the beginning, by the number of the object."""
        found: dict[str, dict[str, Any]] = {}
        for number, (owner, before) in enumerate(zip(self._owners, self._before, strict=True)):
            differing = {
                name: value
                for name, value in _plain(owner).items()
                if name not in before or type(before[name]) is not type(value) or before[name] != value
            }
            if differing:
                found[str(number)] = differing
        return found

    def restore(self, saved: Mapping[str, Mapping[str, Any]]) -> None:
        """Set what `changed` returned."""
        for number, attributes in saved.items():
            if int(number) < len(self._owners):
                vars(self._owners[int(number)]).update(attributes)


def _plain(owner: Any) -> dict[str, Any]:
    attributes = getattr(owner, "__dict__", {})
    return {name: value for name, value in attributes.items() if type(value) in _PLAIN}


def counts_by_itself(part: Any) -> bool:
    """Return whether an object may count for itself: it is of the user's own class, and saves no state."""
    return hasattr(part, "__dict__") and not type(part).__module__.startswith(("torch.", "camshaft."))
