"""Objects and their states: collecting states into a payload, and loading them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from camshaft.engine import ArgumentError, ArgumentTypeError, has_state, imported, ranks
from camshaft.handlers._rank import is_distributed
from camshaft.handlers.checkpoint._deferred_signals import deferred_signals
from camshaft.handlers.checkpoint._errors import CheckpointMismatchError
from camshaft.handlers.checkpoint._rollback import Snapshot
from camshaft.handlers.checkpoint._sharded import (
    require_no_metric_of_ranks,
    require_whole_parameters,
    require_whole_tensors,
)
from camshaft.handlers.checkpoint.format._record import CheckpointRecord
from camshaft.handlers.checkpoint.format._safetensors import has_tensors_name, require_tensors

Objects = Mapping[str, Any]


class Payload(NamedTuple):
    """What goes into a file: the state of each object by its key, or, if there is only one object, just its state."""

    state: Any
    keys: tuple[str, ...]
    is_bare: bool


def require_objects(objects: object, argument: str) -> Objects:
    """Return `objects` if they are names of objects that save and load their state.

    Args:
        objects: A mapping; its values may be nested mappings and sequences.
        argument: What the caller calls it.

    Raises:
        ArgumentTypeError: it is no mapping of strings, or an object lacks a method.
        ArgumentError: it is empty.
    """
    if not isinstance(objects, Mapping):
        raise ArgumentTypeError(f"`{argument}` must be a mapping of names to objects, got {objects!r}")
    if not objects:
        raise ArgumentError(f"`{argument}` must name at least one object, got {objects!r}")
    for path, leaf in leaves(objects):
        for method in ("state_dict", "load_state_dict"):
            if not callable(getattr(leaf, method, None)):
                raise ArgumentTypeError(
                    f"`{argument}` must hold objects that have `state_dict` and `load_state_dict`, got {leaf!r} for "
                    f"{path}, which has no {method!r}"
                )
    return objects


def require_savable(to_save: object, reserved: str | None = None, *, whole: bool = True) -> Objects:
    """Return `to_save` if it names objects that a file can hold.

    Args:
        to_save: What the user wants to save.
        reserved: A key that is wanted for something else; None for none.
        whole: Whether to refuse objects that are sharded.

    Raises:
        ArgumentTypeError: it is no mapping of objects with a state, or one of them is sharded over processes, or is a
            metric of which each process has its own part.
        ArgumentError: it is empty, or has the reserved key.
    """
    objects = require_objects(to_save, "to_save")
    if reserved is not None and reserved in objects:
        raise ArgumentError(
            f"`to_save` must not have the key {reserved!r} with include_self=True, got it; call the object otherwise"
        )
    _require_saved_by_one(objects, whole=whole)
    return objects


def require_fitting(to_save: Objects, filename: str, *, include_self: bool) -> None:
    """Raise if it is seen already that a file, of tensors alone by its name, cannot hold what is to be saved.

    Args:
        to_save: The objects; none while they are not known.
        filename: A name as the files will have.
        include_self: Whether the list of kept checkpoints is saved too.

    Raises:
        ArgumentError: it is more than one object.
        ArgumentTypeError: the state of a module or an optimizer holds something else than tensors.
    """
    if not to_save or not has_tensors_name(filename):
        return
    if include_self or len(to_save) != 1:
        names = [*to_save, *(["checkpointer"] if include_self else [])]
        raise ArgumentError(
            f"`to_save` must be one object for format='safetensors', got {names}; make a Checkpoint for each, and one "
            "with format='torch' to resume from"
        )
    for _, leaf in leaves(to_save):
        torch = imported("torch")
        if torch is not None and isinstance(leaf, torch.nn.Module | torch.optim.Optimizer):
            require_tensors(unwrap(leaf).state_dict())


def require_whole_objects(objects: Objects) -> None:
    """Raise if a module or an optimizer among the objects is sharded over several processes.

    Raises:
        ArgumentTypeError: one is.
    """
    for path, leaf in leaves(objects):
        require_whole_parameters(unwrap(leaf), path)


def _require_saved_by_one(objects: Objects, *, whole: bool) -> None:
    if whole:
        require_whole_objects(objects)
    for path, leaf in leaves(objects):
        require_no_metric_of_ranks(leaf, path)


def leaves(objects: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every object in a nested structure, with its path."""
    if _is_mapping(objects):
        for key, value in objects.items():
            if not isinstance(key, str):
                raise ArgumentTypeError(f"names of objects must be strings, got {key!r} at {path or 'the top'}")
            yield from leaves(value, f"{path}[{key!r}]")
    elif _is_sequence(objects):
        for index, value in enumerate(objects):
            yield from leaves(value, f"{path}[{index}]")
    else:
        yield path, objects


def unwrap(target: Any) -> Any:
    """Return the module inside DataParallel, DistributedDataParallel and what `torch.compile` made.

    Examples:
        >>> unwrap("anything else")
        'anything else'
    """
    while True:
        inner = _inner_module(target)
        if inner is None:
            return target
        target = inner


def consolidate(objects: Objects, rank: int) -> None:
    """Let objects whose state is spread over several processes gather it in one. All processes have to call this."""
    for _, leaf in leaves(objects):
        gather = getattr(leaf, "consolidate_state_dict", None)
        if callable(gather):
            gather(to=rank)


def gather(objects: Objects, rank: int, *, whole: bool = True) -> None:
    """Let objects gather what belongs to each of several processes; all of them have to call this.

    Args:
        objects: The objects.
        rank: The process that is going to save.
        whole: Whether to refuse objects that are sharded.

    Raises:
        ArgumentTypeError: a module or an optimizer is sharded over them, or a metric has a part in each.
    """
    _require_saved_by_one(objects, whole=whole)
    if is_distributed() or ranks().size > 1:
        consolidate(objects, rank)


def collect(objects: Objects, *, whole: bool = True) -> Payload:
    """Return the states of objects as they are now; the tensors are those in use, not copies.

    Args:
        objects: The objects.
        whole: Whether to refuse tensors that are sharded.

    Raises:
        ArgumentTypeError: a tensor in a state is sharded over several processes.
    """
    states = {key: _state_of(value) for key, value in objects.items()}
    if whole:
        require_whole_tensors(states)
    if len(states) == 1:
        ((key, state),) = states.items()
        return Payload(state, (key,), is_bare=True)
    return Payload(states, tuple(states), is_bare=False)


def with_entry(payload: Payload, key: str, state: Any) -> Payload:
    """Return a payload with one more state in it, by name."""
    states = {payload.keys[0]: payload.state} if payload.is_bare else payload.state
    return Payload({**states, key: state}, (*payload.keys, key), is_bare=False)


def states_for(to_load: Objects, payload: Any, record: CheckpointRecord | None = None) -> dict[str, Any]:
    """Return the states of a payload by name, for just the objects that are to be loaded.

    Args:
        to_load: The objects.
        payload: A mapping of names to states, or the bare state of the only object.
        record: What the file says about itself, if it does.

    Raises:
        CheckpointMismatchError: a state is missing.
    """
    if record is not None and record.keys is not None:
        is_bare = record.is_bare
    else:
        is_bare = len(to_load) == 1 and not any(_holds_by_name(payload, *item) for item in to_load.items())
    if is_bare:
        # Of a single object it does not matter what it is called.
        payload = dict.fromkeys(to_load if len(to_load) == 1 else [record.name if record else ""], payload)
    if not isinstance(payload, Mapping):
        raise CheckpointMismatchError(f"`checkpoint` must be a mapping of names to states, got {type(payload)}")
    missing = [key for key in to_load if key not in payload]
    if missing:
        raise CheckpointMismatchError(
            f"`checkpoint` must hold states of {', '.join(map(repr, to_load))}, got {sorted(map(str, payload))[:20]}; "
            f"it lacks {', '.join(map(repr, missing))}"
        )
    return {key: payload[key] for key in to_load}


def _call(do: Callable[[], None]) -> None:
    do()


def load(
    to_load: Objects,
    states: Mapping[str, Any],
    share: Callable[[Callable[[], None]], None] = _call,
    **module_options: Any,
) -> None:
    """Load states into objects, into all of them or, if one refuses, into none.

    Args:
        to_load: The objects.
        states: Their states, under the same names and nested in the same way.
        share: Calls what loads them; whatever it raises, the objects are put back.
        module_options: For the `load_state_dict` of modules.

    Raises:
        CheckpointMismatchError: the two are nested differently.
        Exception: what an object raises, with a note that says which one it was.
    """
    pairs = [(path, unwrap(leaf), state) for path, leaf, state in _paired(to_load, states, "")]
    snapshot = Snapshot()
    with deferred_signals() as signals:

        def load_each() -> None:
            for path, target, state in pairs:
                options = module_options if _is_module(target) else {}
                try:
                    snapshot.add(target)
                    with signals.let_through():
                        target.load_state_dict(state, **options)
                except BaseException as error:
                    error.add_note(f"this came up when loading {path}; no object was changed")
                    raise

        try:
            share(load_each)
        except BaseException as error:
            with deferred_signals():
                problems = snapshot.restore()
            for problem in problems:
                error.add_note(f"but putting an object back failed as well: {problem!r}")
            raise


def _paired(objects: Any, states: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield each object with its state and its path."""
    if _is_mapping(objects):
        _require_same_shape(isinstance(states, Mapping) and set(objects) <= set(states), path, objects, states)
        for key, value in objects.items():
            yield from _paired(value, states[key], f"{path}[{key!r}]")
    elif _is_sequence(objects):
        _require_same_shape(isinstance(states, list | tuple) and len(states) == len(objects), path, objects, states)
        for index, value in enumerate(objects):
            yield from _paired(value, states[index], f"{path}[{index}]")
    else:
        yield path, objects, states


def _require_same_shape(is_same: bool, path: str, objects: Any, states: Any) -> None:
    if not is_same:
        names = f"names {sorted(objects)}" if isinstance(objects, Mapping) else f"{len(objects)} objects"
        raise CheckpointMismatchError(
            f"`checkpoint` must be nested like the objects: {names} at {path or 'the top'}, got {type(states)} of "
            f"length {len(states) if hasattr(states, '__len__') else 1}"
        )


def _state_of(value: Any) -> Any:
    if _is_mapping(value):
        return {key: _state_of(inner) for key, inner in value.items()}
    if _is_sequence(value):
        return [_state_of(inner) for inner in value]
    return unwrap(value).state_dict()


def _holds_by_name(payload: Any, key: str, target: Any) -> bool:
    """Return whether a payload is `{key: state}` rather than the state itself, which may have the same key."""
    if not isinstance(payload, Mapping) or key not in payload:
        return False
    is_plausible_state = isinstance(payload[key], Mapping) or not _is_module(unwrap(target))
    return is_plausible_state or _is_sequence(target)


def _inner_module(target: Any) -> Any:
    torch = imported("torch")
    if torch is None or not isinstance(target, torch.nn.Module):
        return None
    if isinstance(target, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
        return target.module
    compiled = imported("torch._dynamo.eval_frame")
    if compiled is not None and isinstance(target, compiled.OptimizedModule):
        return target._orig_mod  # noqa: SLF001 - there is no public way to it
    return None


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and not has_state(value)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes) and not has_state(value)


def _is_module(value: Any) -> bool:
    torch = imported("torch")
    return torch is not None and isinstance(value, torch.nn.Module)
