"""The saved form of a loader: where it stands, and what its batches depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from camshaft.deterministic._random._rng import check_seed
from camshaft.deterministic._reader import BEGINNING
from camshaft.deterministic._skip import Skip, as_skip
from camshaft.engine import ArgumentError, ArgumentTypeError, Position, StateDictError, is_integer

_KEYS = ("epoch", "index", "is_open", "seed", "skip", "data", "deterministic", "told")
_REQUIRED = ("epoch", "index")
_UNCHANGED = "; the loader is unchanged"


class LoaderState(NamedTuple):
    """What a loader saves.

    Attributes:
        position: where the next batch comes from, with what the data saves there.
        seed: base seed; None in a dict that was written by hand.
        skip: batches that are left out.
        description: what the batches depend on, to be compared.
        told: the epoch that the sampler was told last, None if it was not.
    """

    position: Position
    seed: int | None
    skip: Skip
    description: Mapping[str, Any]
    told: int | None = None

    def find_confusion(self, told: int) -> dict[str, tuple[Any, Any]]:
        """Return why a loop that tells an epoch cannot go on here, by name: (saved, present).

        A loop that takes batches of several loaders begins the shorter ones again within one of its epochs. These
        count on, and when they are told an epoch, nobody knows whether it begins or goes on.

        Args:
            told: the epoch that the sampler is told before the first batch.
        """
        epoch, is_open = self.position.data_pass, self.position.pass_open
        is_ahead = told == epoch and is_open and self.told not in (None, epoch)
        return {"epoch told": (f"{self.told}, gone on to {epoch}", told)} if told < epoch or is_ahead else {}


def write_state(state: LoaderState) -> dict[str, Any]:
    """Return a state as plain values, which `torch.load(weights_only=True)` takes.

    What the data saves is in a tuple, which `torch.distributed.checkpoint` stores as one value: all dicts that it loads
    must have the same keys as those that it replaces.
    """
    position = state.position
    return {
        "epoch": position.data_pass,
        "index": position.batch,
        "is_open": position.pass_open,
        "seed": state.seed,
        "skip": [list(place) for place in sorted(state.skip)],
        "data": () if position.data_state is None else (position.data_state,),
        "deterministic": dict(state.description),
        "told": state.told,
    }


def read_state(entries: Any) -> LoaderState:
    """Return what `write_state` has written, or what a dict of `epoch` and `index` alone stands for.

    Raises:
        ArgumentTypeError: not a mapping.
        StateDictError: an entry is missing, unknown or malformed.
    """
    if not isinstance(entries, Mapping):
        raise ArgumentTypeError(f"`state_dict` must be a mapping, got {entries!r}{_UNCHANGED}")
    for key in entries:
        if key not in _KEYS:
            raise StateDictError(f"`state_dict` must have the keys {', '.join(_KEYS)}, got {key!r}{_UNCHANGED}")
    try:
        skip = as_skip(entries.get("skip", ()))
    except (ArgumentError, ArgumentTypeError) as error:
        raise StateDictError(f"{error}{_UNCHANGED}") from error
    description = entries.get("deterministic")
    if description is not None and not isinstance(description, Mapping):
        raise StateDictError(f"`deterministic` must be None or a mapping, got {description!r}{_UNCHANGED}")
    told = None if entries.get("told") is None else _read_count(entries, "told")
    return LoaderState(_read_position(entries), _read_seed(entries), skip, description or {}, told)


def _read_position(entries: Mapping[str, Any]) -> Position:
    epoch, index = (_read_count(entries, key) for key in _REQUIRED)
    is_open, data = entries.get("is_open", index > 0), entries.get("data", ())
    if not isinstance(is_open, bool) or (index > 0 and not is_open):
        raise StateDictError(f"`is_open` must be a bool, True with an `index` above 0, got {is_open!r}{_UNCHANGED}")
    if not isinstance(data, tuple | list) or len(data) > 1:
        raise StateDictError(f"`data` must be a tuple of at most one value, got {data!r}{_UNCHANGED}")
    return BEGINNING._replace(
        data_pass=epoch, batch=index, pass_open=is_open, data_state=data[0] if len(data) > 0 else None
    )


def _read_seed(entries: Mapping[str, Any]) -> int | None:
    seed = entries.get("seed")
    if seed is None:
        return None
    if not is_integer(seed):
        raise StateDictError(f"`seed` must be None or an integer, got {seed!r}{_UNCHANGED}")
    try:
        check_seed(int(seed))
    except ArgumentError as error:
        raise StateDictError(f"{error}{_UNCHANGED}") from error
    return int(seed)


def _read_count(entries: Mapping[str, Any], key: str) -> int:
    value = entries.get(key)
    if not is_integer(value) or int(value) < 0:  # type: ignore[arg-type]  # an integer, asked before
        raise StateDictError(f"`{key}` must be an integer of at least 0, got {value!r}{_UNCHANGED}")
    return int(value)  # type: ignore[arg-type]  # as above
