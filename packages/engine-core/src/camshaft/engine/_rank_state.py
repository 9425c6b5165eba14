"""What belongs to each process of a run by itself: gathered when the run is saved, given back when it is loaded.

A metric in the middle of an epoch has seen the samples of its own process only, and a stream stands where its own
process has read it to. Where all processes save the same, it is kept once, as if there were one process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from camshaft.engine._errors import StateDictError
from camshaft.engine._last_values import check, last_values
from camshaft.engine._position import Position
from camshaft.engine._ranks import ranks
from camshaft.engine._state import State
from camshaft.engine._value import Stateful

DATA = "data_state"
LAST = "last_values"
OBJECT = "stateful."
Part = dict[str, Any]


class Gathered(NamedTuple):
    """What all processes have saved at one position.

    Attributes:
        position: the position, without what its data saves.
        parts: for each process, what it saves otherwise than others do.
    """

    position: Position
    parts: list[Part]

    def at(self, position: Position) -> list[Part]:
        """Return the parts, none at another position."""
        return self.parts if position._replace(data_state=None) == self.position else []


def gather(
    where: Callable[[State[Any, Any]], Position], state: State[Any, Any], stateful: Mapping[str, Stateful], to: int
) -> Gathered | None:
    """Gather what belongs to each process; all of them have to call this.

    Args:
        where: returns where the run stands, with what its data saves.
        state: holds what handlers may read of the last iteration.
        stateful: the objects of the engine.
        to: the rank that is going to save.

    Returns:
        What all have saved, for rank `to`; None for the others, and where there is one process only.
    """
    if ranks().size == 1:
        return None
    position = where(state)
    mine = {OBJECT + name: each.state_dict() for name, each in stateful.items()}
    mine[LAST] = last_values(state)
    if position.data_state is not None:
        mine[DATA] = position.data_state
    told = {key: (_digest(value), value) for key, value in mine.items()}
    found: list[dict[str, tuple[bytes, Any]]] = ranks().exchange("what belongs to each rank of an engine", told)
    differing = [key for key in mine if len({part[key][0] if key in part else b"" for part in found}) > 1]
    parts = [{key: part[key][1] for key in differing if key in part} for part in found]
    return Gathered(position._replace(data_state=None), parts if differing else []) if ranks().rank == to else None


def read_parts(entries: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the parts of a saved state, none if it was saved by one process, or all saved the same.

    Raises:
        StateDictError: they are malformed.
    """
    given = entries.get("ranks", [])
    if not isinstance(given, list) or not all(isinstance(part, Mapping) for part in given):
        raise StateDictError(f"`ranks` must be a list of mappings, one for each process, got {given!r}")
    return given


def own_states(
    parts: Sequence[Mapping[str, Any]], shared: Mapping[str, Any], stateful: Mapping[str, Stateful]
) -> dict[str, Any]:
    """Return the states that this process is to load, by the names of the objects.

    Under another number of processes the parts are merged, where an object can do that.

    Args:
        parts: of all processes that have saved.
        shared: the states that the saving process has saved, by name.
        stateful: the objects.

    Raises:
        StateDictError: an object cannot merge the states of several processes.
    """
    states = dict(shared)
    for name in shared:
        key = OBJECT + name
        if any(key in part for part in parts):
            states[name] = _own(name, [part.get(key) for part in parts], stateful[name])
    return states


def own_data_state(parts: Sequence[Mapping[str, Any]], shared: Any) -> Any:
    """Return what the data of this process has saved; under another number of processes, what the saving one has."""
    if len(parts) == ranks().size:
        return parts[ranks().rank].get(DATA, shared)
    return shared


def own_last_values(parts: Sequence[Mapping[str, Any]], shared: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return what handlers of this process may read; under another number of processes, those of the saving one."""
    if shared is not None and len(parts) == ranks().size:
        return check(parts[ranks().rank].get(LAST, shared))
    return shared


def _own(name: str, states: list[Any], target: Any) -> Any:
    count = ranks().size
    if len(states) == count:
        return states[ranks().rank]
    merge = getattr(target, "merge_state_dicts", None)
    if merge is None:
        raise StateDictError(
            f"`stateful[{name!r}]` was saved by {len(states)} processes, each with a state of its own, and there are "
            f"{count} now, got a {type(target).__name__}, which has no `merge_state_dicts`; go on with {len(states)} "
            "processes, or from a checkpoint at the end of an epoch"
        )
    return merge(states)


def _digest(value: Any) -> bytes:
    # Only where there are several processes: importing them takes a third of the time that this package takes.
    import pickle
    from hashlib import blake2b

    return blake2b(pickle.dumps(value), digest_size=16).digest()
