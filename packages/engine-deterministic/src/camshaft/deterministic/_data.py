"""The kinds of data, told apart by how a pass over them is opened again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import islice
from typing import Any, Literal, TypeAlias

from torch.utils.data import DataLoader

from camshaft.deterministic._copy import is_indexed, is_stream, require_copyable
from camshaft.deterministic._order import sampler_chain
from camshaft.deterministic._purity import find_difference
from camshaft.deterministic._rng import isolated

Kind: TypeAlias = Literal["indexed", "stateful", "stream", "sequence", "replayed"]


def kind_of(data: Any) -> Kind:
    """Return how a pass over `data` is opened again.

    - "indexed": a loader whose data set has indices: by them, whatever the loader itself could save;
    - "stream": a loader of an `IterableDataset`: through the data set's state, else replayed;
    - "stateful": through its own `state_dict` and `load_state_dict`: loaders whose workers save too;
    - "sequence": by index;
    - "replayed": anything else: drawn again from the pass's beginning.
    """
    if is_indexed(data):
        return "indexed"
    if has_state(data) and not (is_stream(data) and data.num_workers == 0):
        return "stateful"
    if is_stream(data):
        return "stream"
    kind = type(data)
    if hasattr(kind, "__len__") and hasattr(kind, "__getitem__") and not isinstance(data, Mapping):
        return "sequence"
    return "replayed"


def has_state(data: object) -> bool:
    """Tell whether `data` saves and restores its own position."""
    return hasattr(data, "state_dict") and hasattr(data, "load_state_dict")


def require_known(data: Any) -> None:
    """Refuse data whose order cannot be controlled.

    Raises:
        ArgumentError: a loader that holds an iterator of its own.
    """
    if isinstance(data, DataLoader) and not has_state(data):
        require_copyable(data)


def sampler_states(data: Any) -> dict[str, Any]:
    """Return what the samplers of a loader save of themselves, by their depth in the chain."""
    parts = enumerate(sampler_chain(data))
    return {str(depth): deepcopy(part.state_dict()) for depth, part in parts if has_state(part)}


def restore_samplers(data: Any, states: Mapping[str, Any]) -> None:
    """Hand the samplers of a loader what `sampler_states` returned."""
    for depth, part in enumerate(sampler_chain(data)):
        if has_state(part) and str(depth) in states:
            part.load_state_dict(deepcopy(states[str(depth)]))


def restore_between(data: Any, state: Any) -> None:
    """Put data that saves its place to where a pass was left, so that iterating it begins the next one.

    Some data goes on where it is whenever it is iterated; some begins anew, but for the first time
    after loading: an iteration that is left at once makes up for that. Drawing a little tells which.
    """
    with isolated(0):
        data.load_state_dict(deepcopy(state))
        if not _goes_on(data, state):
            data.load_state_dict(deepcopy(state))
            skip(iter(data), 1)
            return
    data.load_state_dict(deepcopy(state))


def _goes_on(data: Any, state: Any) -> bool:
    """Tell whether data that `state` was loaded into goes on where it is whenever it is iterated."""
    straight = iter(data)
    if not skip(straight, 1):  # its end: data that has gone back to its start by itself has no need of more
        return find_difference(state, data.state_dict(), "") is not None
    skip(straight, 1)
    expected = deepcopy(data.state_dict())
    data.load_state_dict(deepcopy(state))
    skip(iter(data), 1)
    skip(iter(data), 1)
    return find_difference(expected, data.state_dict(), "") is None


def skip(iterator: Iterator[Any], count: int) -> int:
    """Draw and drop `count` batches; return how many there were."""
    return sum(1 for _ in islice(iterator, count))
