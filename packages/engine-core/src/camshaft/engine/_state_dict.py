"""The saved form of an engine: written from its parts, checked entry by entry when read."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple, NoReturn

from camshaft.engine._data import pass_length
from camshaft.engine._errors import ArgumentTypeError, EngineWarning, StateDictError
from camshaft.engine._events import Events
from camshaft.engine._last_values import check, last_values, put_back
from camshaft.engine._position import Position, implied_position
from camshaft.engine._rank_state import own_data_state, own_last_values, own_states, read_parts
from camshaft.engine._state import State, checked_epoch_length, checked_limits
from camshaft.engine._value import Stateful, is_integer

STAGES = (
    "EPOCH_STARTED", "GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED", "ITERATION_COMPLETED",
    "TERMINATE_SINGLE_EPOCH", "EPOCH_COMPLETED", "COMPLETED",
)  # fmt: skip
FLAGS = ("pass_open", "over", "awaits_data", "skips_epoch_completed")
COUNTS = ("epoch", "epoch_iteration", "data_pass", "batch")
OWN_KEYS = (
    "epoch_length",
    "iteration",
    "epoch",
    "max_epochs",
    "max_iters",
    "seed",
    "position",
    "last_values",
    "stateful",
    "ranks",
)
# Keys of a saved deterministic engine, which a plain one can do nothing with.
FOREIGN_KEYS = ("rng_states", "deterministic")


class Saved(NamedTuple):
    """A checked saved state.

    Attributes:
        position: where the run stands; of a plain dict only `iteration`, `epoch` and `over` count.
        is_implied: the dict was a plain one, without a position.
        user: values of the user keys.
        last: what handlers may read of the last iteration; None where nothing is known of it.
        stateful: states of the objects that belong to the engine, by name; empty when not saved.
    """

    position: Position
    is_implied: bool
    epoch_length: int | None
    max_epochs: int | None
    max_iters: int | None
    seed: int | None
    user: Mapping[str, Any]
    last: Mapping[str, Any] | None
    stateful: Mapping[str, Any]

    def put_into(self, state: State[Any, Any]) -> None:
        """Give a state the counters, limits and user values."""
        state.iteration, state.epoch = self.position.iteration, self.position.epoch
        state.epoch_length, state.seed = self.epoch_length, self.seed
        state.max_epochs, state.max_iters = self.max_epochs, self.max_iters
        if self.last is not None:
            put_back(self.last, state, self.position.stage)
        for key, value in self.user.items():
            setattr(state, key, value)


def write(
    state: State[Any, Any],
    position: Position,
    user_keys: Sequence[str],
    stateful: Mapping[str, Stateful],
    is_implied: bool | None,
    parts: Sequence[Mapping[str, Any]] = (),
) -> OrderedDict[str, Any]:
    """Return the dict that `Engine.state_dict` gives out; integers, strings, lists and dicts only.

    Args:
        state: holds the limits and the values of the user keys.
        position: where the run stands.
        user_keys, stateful: what else belongs to the engine.
        is_implied: whether the counters stand for the position; None to find out from the data.
        parts: what each of several processes has saved for itself.
    """
    # A handler may have lowered a limit below what is done already.
    max_epochs, max_iters = checked_limits(state)
    max_epochs = None if max_epochs is None else max(max_epochs, position.epoch)
    max_iters = None if max_iters is None else max(max_iters, position.iteration)
    entries: OrderedDict[str, Any] = OrderedDict(epoch_length=checked_epoch_length(state))
    if max_iters is None:
        entries["max_epochs"] = max_epochs
    else:
        entries["max_iters"] = max_iters
    entries["iteration"] = position.iteration
    if state.seed is not None:
        entries["seed"] = state.seed
    length = pass_length(state.dataloader, state.epoch_length)
    over = position.is_finished(max_epochs, max_iters)
    implied = implied_position(position.iteration, state.epoch_length, length, over=over)
    if is_implied is None:
        is_implied = position.data_state is None and position == implied
    if not is_implied:
        entries["position"] = _write_position(position)
        last = last_values(state)
        if last:
            entries["last_values"] = last
    entries.update((key, getattr(state, key)) for key in user_keys)
    if stateful:
        entries["stateful"] = {name: each.state_dict() for name, each in stateful.items()}
    if parts:
        entries["ranks"] = list(parts)
    return entries


def _write_position(position: Position) -> dict[str, Any]:
    entries: dict[str, Any] = {key: getattr(position, key) for key in ("stage", *COUNTS, *FLAGS)}
    if position.data_state is not None:
        entries["data_state"] = position.data_state
    return entries


def read(entries: object, user_keys: Sequence[str], stateful: Mapping[str, Stateful]) -> Saved:
    """Check a saved state and return it in parts.

    Raises:
        ArgumentTypeError: `entries` is not a mapping.
        StateDictError: an entry is missing, unknown, of the wrong kind, or contradicts another.

    Warns:
        EngineWarning: the state was saved by another class of engine, which also restores random numbers.
    """
    if not isinstance(entries, Mapping):
        raise ArgumentTypeError(f"`state_dict` must be a mapping, got {entries!r} of {type(entries)}")
    for key in entries:
        if key not in (*OWN_KEYS, *user_keys, *FOREIGN_KEYS):
            _refuse(key, entries[key], f"not be there: the known keys are {', '.join((*OWN_KEYS, *user_keys))}")
    for key in user_keys:
        if key not in entries:
            raise StateDictError(f"`state_dict` must have the user key {key!r}, got {sorted(map(str, entries))}")
    max_epochs = _count(entries, "max_epochs", least=1)
    max_iters = _count(entries, "max_iters", least=1)
    epoch_length = _count(entries, "epoch_length", least=1)
    position, parts = _read_position(entries, epoch_length, max_epochs, max_iters), read_parts(entries)
    ignored = [key for key in FOREIGN_KEYS if key in entries]
    if ignored:
        text = f"this engine does not restore random numbers: {', '.join(ignored)} are ignored"
        warnings.warn(f"{text}; a DeterministicEngine does", EngineWarning, stacklevel=3)
    return Saved(
        position._replace(data_state=own_data_state(parts, position.data_state)),
        "position" not in entries,
        epoch_length,
        max_epochs,
        max_iters,
        _integer(entries, "seed"),
        {key: entries[key] for key in user_keys},
        own_last_values(parts, check(entries["last_values"]) if "last_values" in entries else None),
        own_states(parts, _read_stateful(entries, stateful), stateful),
    )


def _read_position(
    entries: Mapping[str, Any], epoch_length: int | None, max_epochs: int | None, max_iters: int | None
) -> Position:
    iteration = _read_iteration(entries, epoch_length)
    _check_limits(entries, iteration, epoch_length, max_epochs, max_iters)
    if "position" not in entries:
        if iteration and epoch_length is None:
            _refuse("epoch_length", None, "be given when iterations were done")
        limit = max_iters if max_epochs is None or epoch_length is None else max_epochs * epoch_length
        return Position(
            iteration=iteration,
            epoch=0 if epoch_length is None else -(-iteration // epoch_length),
            over=limit is not None and iteration >= limit,
        )
    given = entries["position"]
    if not isinstance(given, Mapping):
        _refuse("position", given, "be a mapping")
    for key in given:
        if key not in ("stage", *COUNTS, *FLAGS, "data_state"):
            _refuse(f"position.{key}", given[key], f"be one of {', '.join(('stage', *COUNTS, *FLAGS, 'data_state'))}")
    parts: dict[str, Any] = {key: _required_count(given, key, "position.") for key in COUNTS}
    parts.update((key, _flag(given, key)) for key in FLAGS)
    position = Position(iteration=iteration, stage=_stage(given), data_state=given.get("data_state"), **parts)
    _check_position(position, epoch_length, max_epochs)
    return position


def _read_iteration(entries: Mapping[str, Any], epoch_length: int | None) -> int:
    if ("iteration" in entries) == ("epoch" in entries):
        both = {key: entries[key] for key in ("iteration", "epoch") if key in entries}
        raise StateDictError(f"`state_dict` must have either 'iteration' or 'epoch', got {both}")
    if "iteration" in entries:
        return _required_count(entries, "iteration")
    epoch = _required_count(entries, "epoch")
    if epoch and epoch_length is None:
        _refuse("epoch_length", None, "be given when epochs were done")
    return epoch * (epoch_length or 0)


def _check_limits(
    entries: Mapping[str, Any], iteration: int, epoch_length: int | None, max_epochs: int | None, max_iters: int | None
) -> None:
    if "epoch_length" not in entries:
        raise StateDictError(f"`state_dict` must have 'epoch_length', got {sorted(map(str, entries))}")
    if "max_epochs" not in entries and "max_iters" not in entries:
        raise StateDictError(f"`state_dict` must have 'max_epochs' or 'max_iters', got {sorted(map(str, entries))}")
    if max_epochs is not None and max_iters is not None:
        _refuse("max_iters", max_iters, f"not be given together with max_epochs ({max_epochs})")
    if max_epochs is None and max_iters is None and iteration:
        _refuse("max_epochs", None, "be given when iterations were done")
    if max_epochs is not None and epoch_length is not None and iteration > max_epochs * epoch_length:
        _refuse("iteration", iteration, f"not exceed max_epochs * epoch_length ({max_epochs} * {epoch_length})")
    if max_iters is not None and iteration > max_iters:
        _refuse("iteration", iteration, f"not exceed max_iters ({max_iters})")


def _check_position(position: Position, epoch_length: int | None, max_epochs: int | None) -> None:
    before = position.iteration - position.epoch_iteration  # iterations of the epochs before this one
    full = None if epoch_length is None else (position.epoch - 1) * epoch_length
    if position.epoch == 0 and (position.iteration or position.stage != Events.EPOCH_STARTED.name):
        _refuse("position.epoch", 0, "be at least 1 once an epoch has begun")
    if max_epochs is not None and position.epoch > max_epochs:
        _refuse("position.epoch", position.epoch, f"not exceed max_epochs ({max_epochs})")
    if before < 0 or (before and position.epoch == 1) or (before and full is not None and before > full):
        rule = f"fit to iteration ({position.iteration}), epoch ({position.epoch}) and epoch_length ({epoch_length})"
        _refuse("position.epoch_iteration", position.epoch_iteration, rule)
    if epoch_length is not None and position.epoch_iteration > epoch_length:
        _refuse("position.epoch_iteration", position.epoch_iteration, f"not exceed epoch_length ({epoch_length})")
    if position.batch > position.iteration or (position.data_pass == 0 and position.batch != position.iteration):
        rule = f"fit to iteration ({position.iteration}) and data_pass ({position.data_pass})"
        _refuse("position.batch", position.batch, rule)
    if position.batch and not position.pass_open:
        _refuse("position.pass_open", False, f"be true when batches of the pass were used ({position.batch})")
    if position.batch and position.awaits_data:
        _refuse("position.awaits_data", True, f"be false when batches of the pass were used ({position.batch})")
    if position.skips_epoch_completed and position.stage != Events.TERMINATE_SINGLE_EPOCH.name:
        _refuse("position.skips_epoch_completed", True, f"be false at stage {position.stage}")


def _read_stateful(entries: Mapping[str, Any], stateful: Mapping[str, Stateful]) -> Mapping[str, Any]:
    given = entries.get("stateful")
    if given is None:
        return {}
    if not isinstance(given, Mapping) or set(given) != set(stateful):
        names = sorted(map(str, given)) if isinstance(given, Mapping) else given
        raise StateDictError(f"`stateful` must hold the engine's objects {sorted(stateful)}, got {names!r}")
    return given


def _integer(entries: Mapping[str, Any], key: str) -> int | None:
    value = entries.get(key)
    if value is not None and not is_integer(value):
        _refuse(key, value, "be an integer")
    return None if value is None else int(value)


def _count(entries: Mapping[str, Any], key: str, least: int) -> int | None:
    value = _integer(entries, key)
    if value is not None and value < least:
        _refuse(key, value, f"be at least {least}")
    return value


def _required_count(entries: Mapping[str, Any], key: str, prefix: str = "") -> int:
    value: Any = entries.get(key)
    if not is_integer(value) or int(value) < 0:
        _refuse(prefix + key, value, "be an integer of at least 0")
    return int(value)


def _stage(entries: Mapping[str, Any]) -> str:
    value = entries.get("stage")
    if isinstance(value, str) and value in STAGES:
        return str(value)
    return _refuse("position.stage", value, f"be one of {', '.join(STAGES)}")


def _flag(entries: Mapping[str, Any], key: str) -> bool:
    value = entries.get(key)
    return value if isinstance(value, bool) else _refuse(f"position.{key}", value, "be a bool")


def _refuse(key: object, value: object, rule: str) -> NoReturn:
    raise StateDictError(f"`{key}` must {rule}, got {value!r}; the engine is unchanged")


def load_all(objects: Mapping[str, Stateful], states: Mapping[str, Any]) -> None:
    """Load a state into each of `objects`, or into none: what one of them raises puts the others back."""
    before = {name: deepcopy(objects[name].state_dict()) for name in states}
    try:
        for name, part in states.items():
            objects[name].load_state_dict(part)
    except BaseException:
        for name, part in before.items():
            objects[name].load_state_dict(part)
        raise
