"""The kinds of data: one class for each, in a file of its own, and the table that tells them apart.

A kind is decided by what the data is, never by drawing from it: a class that iterates as torch's own loader does,
methods that the data has, a type whose iteration is indexing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.utils.data import DataLoader

from camshaft.deterministic._describe import describe_environment
from camshaft.deterministic._inside import holds_resumable
from camshaft.deterministic._kinds._declared import DeclaredData, declares_source
from camshaft.deterministic._kinds._iterable_style import IterableStyleLoader
from camshaft.deterministic._kinds._kind import ENDED_BATCH, LAST, NEXT, Kind, Setting, require_description
from camshaft.deterministic._kinds._loader_subclass import LoaderSubclass
from camshaft.deterministic._kinds._map_style import MapStyleLoader
from camshaft.deterministic._kinds._pipeline import holds_back, is_pipeline, loses_samples
from camshaft.deterministic._kinds._ranked import RankedSource, unwrap
from camshaft.deterministic._kinds._replayed import ReplayedData, draws_by_itself
from camshaft.deterministic._kinds._sequence import SequenceData, iterates_by_index, only_holds
from camshaft.deterministic._kinds._stateful import StatefulData
from camshaft.deterministic._kinds._stateful_loader import StatefulLoader
from camshaft.deterministic._loading._copy import (
    is_copyable,
    is_iterable_style,
    is_map_style,
    iterates_as_torch,
    require_copyable,
)
from camshaft.deterministic._loading._fetch import Seeding
from camshaft.deterministic._loading._order import tell_pass
from camshaft.deterministic._loading._ranks import Ranks, ranks_of
from camshaft.deterministic._memory._samplers import Samplers
from camshaft.deterministic._mismatch import compare_runs
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.deterministic._skip import Skip
from camshaft.engine import ArgumentError, Position, has_state

VERSION = 2


def _is_loader(data: Any) -> bool:
    return isinstance(data, DataLoader)


def _saves_in_workers(data: Any) -> bool:
    if not is_iterable_style(data) or data.num_workers == 0:
        return False
    return not holds_back(data.dataset) and has_state(data)


# The first that fits is the kind.
KINDS: tuple[tuple[Callable[[Any], bool], type[Kind]], ...] = (
    (declares_source, DeclaredData),
    (lambda data: _is_loader(data) and not (iterates_as_torch(data) and is_copyable(data)), LoaderSubclass),
    (_saves_in_workers, StatefulLoader),
    (is_iterable_style, IterableStyleLoader),
    (_is_loader, MapStyleLoader),
    (lambda data: has_state(data) and not loses_samples(data), StatefulData),
    (iterates_by_index, SequenceData),
    (lambda data: True, ReplayedData),
)


def kind_of(data: Any) -> type[Kind]:
    """Return the kind of `data`.

    Args:
        data: what a run is to iterate over.
    """
    return next(kind for fits, kind in KINDS if fits(data))


def fetches_by_place(loader: DataLoader[Any]) -> bool:
    """Return whether the samples of a loader are seeded by their place in an order that all ranks share."""
    return is_copyable(loader) and is_map_style(loader)


def draws_from_process(data: Any) -> bool:
    """Return whether `data` draws from the generators of the process, so that its place decides where they stand."""
    return kind_of(data) is ReplayedData and ranks_of(data).world_size == 1 and not draws_by_itself(data)


def require_known(data: Any) -> None:
    """Refuse data whose order cannot be controlled.

    Raises:
        ArgumentError: a loader that holds an iterator of its own, or data around a `ResumableLoader`, whose place would
            be out of reach.
    """
    if holds_resumable(data):
        raise ArgumentError(
            f"`data` must not have a ResumableLoader inside, got {type(data)}: make it of plain loaders, and wrap the "
            "whole in one ResumableLoader"
        )
    if isinstance(data, DataLoader) and not has_state(data):
        require_copyable(data)


def describe(data: Any, seeding: Seeding | None) -> dict[str, Any]:
    """Return what a run over `data` depends on, to be saved and compared.

    Args:
        data: the user's data.
        seeding: as for `DeterministicEngine`.

    Raises:
        ArgumentTypeError: a kind, or the data itself, does not describe itself with a dict.
    """
    ranks, kind = ranks_of(data), kind_of(data)
    entries = {"version": VERSION, "data": kind.name, "world_size": ranks.world_size, "rank": ranks.rank}
    described = require_description(kind.describe(data, seeding), f"`{kind.__qualname__}.describe(data, seeding)`")
    return {**entries, **described, "environment": describe_environment()}


def find_differences(
    saved: Mapping[str, Any], data: Any, describe_now: Callable[[], Mapping[str, Any]], position: Position
) -> dict[str, tuple[Any, Any]]:
    """Return what stands against going on over `data` with a saved run, by name: (saved, present).

    The length of a dataset may follow from the epoch that it is told. Then it counts as it was when that run was saved:
    as in the pass at `position`, or in the one before where that was not opened yet.

    Args:
        saved: what `describe` returned for the saved run.
        data: the user's data; what the comparison tells it is taken back.
        describe_now: describes it as it is.
        position: where the run goes on.
    """
    differing = compare_runs(saved, describe_now())
    if "dataset_length" not in differing or not isinstance(data, DataLoader):
        return differing
    for data_pass in {position.data_pass, position.data_pass if position.pass_open else position.data_pass - 1} - {-1}:
        with Samplers(data).asking():
            tell_pass(data, data_pass)
            differing = min(differing, compare_runs(saved, describe_now()), key=len)
    return differing


def shows_batch(data: Any, data_state: Any) -> bool:
    """Return whether a saved state has a hash of a batch, by which other data than `data` is noticed.

    Args:
        data: the user's data.
        data_state: what its source has saved. Of some kinds that is what the data itself has saved.
    """
    if kind_of(data) in (DeclaredData, StatefulLoader, StatefulData):
        return False
    return not {LAST, NEXT, ENDED_BATCH}.isdisjoint(unwrap(data_state))


def make_source(
    data: Any,
    seed: int,
    seeding: Seeding | None,
    report: Callable[[Mapping[str, tuple[Any, Any]]], None],
    *,
    isolates: bool = False,
    seeds_steps: bool | None = None,
    skip: Skip = frozenset(),
) -> RankedSource:
    """Return what opens the passes over `data`.

    Args:
        data: the user's data.
        seed: base seed.
        seeding: as for `DeterministicEngine`.
        report: called with what differs from the saved run where it is found only by drawing again.
        isolates: whether the data draws nothing from the generators of the process, which are not seeded for passes.
        seeds_steps: whether the generators of the process are seeded for each batch; None: where ranks share the work.
        skip: batches that are left out.
    """
    ranks, kind = ranks_of(data), kind_of(data)
    is_alone = ranks.world_size == 1
    is_shared = kind is SequenceData or (kind in (MapStyleLoader, LoaderSubclass) and fetches_by_place(data))
    own_seed = seed if is_shared or is_alone else derive_seed(seed, "rank", ranks.rank)
    setting = Setting(own_seed, ranks, seeding, report, skip, isolates or is_pipeline(data))
    return RankedSource(
        kind(data, setting),
        setting,
        seed,
        seeds_passes=not isolates,
        is_shared=is_shared,
        shares_memory=kind in (IterableStyleLoader, ReplayedData),
        seeds_steps=not is_alone if seeds_steps is None else seeds_steps,
        leaves_out=kind is MapStyleLoader,
        opens_by_index=kind in (MapStyleLoader, SequenceData, DeclaredData),
        draws=kind is DeclaredData or (kind is SequenceData and not only_holds(data)),
    )


def require_single_batches(data: Any) -> None:
    """Refuse data of which no batch can be fetched alone.

    Raises:
        ArgumentError: its batches have no place that is known without iterating.
    """
    kind = kind_of(data)
    if not hasattr(kind, "batch_at"):
        raise ArgumentError(
            f"`batch_at` must have a loader of a map-style dataset that iterates as torch's own, or a sequence, got "
            f"{type(data)}, {kind.name} data; iterate up to the batch instead"
        )


__all__ = [
    "KINDS",
    "VERSION",
    "RankedSource",
    "Ranks",
    "describe",
    "draws_from_process",
    "find_differences",
    "kind_of",
    "make_source",
    "require_known",
    "require_single_batches",
    "shows_batch",
]
