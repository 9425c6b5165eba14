"""What a run depends on, written down when it is saved and compared when it is resumed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sized
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

import torch
from torch.utils.data import DataLoader, RandomSampler, SubsetRandomSampler, WeightedRandomSampler
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic._accelerator import accelerator_name
from camshaft.deterministic._data import Kind, kind_of
from camshaft.deterministic._fetch import Seeding
from camshaft.deterministic._keyed import KeyedSampler
from camshaft.deterministic._loader import Share, choose_seeding
from camshaft.deterministic._order import sampler_chain
from camshaft.engine import EngineWarning, StateDictError

OnMismatch: TypeAlias = Literal["error", "warn", "ignore"]

VERSION = 1

# Written down for other ends: the rank whose generators were saved; the environment is compared by its parts.
_NOT_COMPARED = ("rank", "environment")


class ResumeMismatch(StateDictError):  # noqa: N818  # the name is public interface
    """A run would be resumed with other data, or elsewhere, than it was saved with.

    Attributes:
        fields: the names of what differs, each with the saved and the present value.

    Args:
        fields: as the attribute.
    """

    def __init__(self, fields: Mapping[str, tuple[Any, Any]]) -> None:
        self.fields = dict(fields)
        listed = "; ".join(f"{name} was {saved!r} and is {present!r}" for name, (saved, present) in self.fields.items())
        super().__init__(
            f"the run cannot be resumed bit for bit: {listed}. Resume with what it was saved with, or allow the "
            'difference with DeterministicEngine(..., on_mismatch="warn")'
        )

    def __reduce__(self) -> tuple[type[ResumeMismatch], tuple[dict[str, tuple[Any, Any]]]]:
        return ResumeMismatch, (self.fields,)


def describe_run(data: Any, seeding: Seeding | None) -> dict[str, Any]:
    """Return what a run over `data` depends on: strings, numbers and dicts only."""
    kind = kind_of(data)
    share = Share(data)
    entries: dict[str, Any] = {"version": VERSION, "data": kind, "world_size": share.world_size, "rank": share.rank}
    if isinstance(data, DataLoader):
        entries |= _describe_loader(data, kind, seeding)
    elif kind == "sequence":
        entries["data_length"] = len(data)
    entries["environment"] = {"torch": _release(torch.__version__), "accelerator": accelerator_name()}
    return entries


def compare_runs(saved: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs, by name: (saved, present).

    Another number of ranks is no difference where the global batch stays, and samples do not know
    their rank: then every step sees the same samples.
    """
    names = [*saved, *(name for name in present if name not in saved)]
    differing: dict[str, tuple[Any, Any]] = {}
    for name in names:
        if name in _NOT_COMPARED:
            continue
        if saved.get(name) != present.get(name):
            differing[name] = (saved.get(name), present.get(name))
    if {"batch_size", "world_size"} >= set(differing) and _shares_steps(saved, present):
        differing = {}
    before, now = saved.get("environment"), present["environment"]
    if isinstance(before, Mapping):
        differing |= {f"environment.{name}": each for name, each in _compare_environments(before, now).items()}
    return differing


def report(differing: Mapping[str, tuple[Any, Any]], on_mismatch: OnMismatch) -> None:
    """Raise, warn or do nothing about differences.

    Raises:
        ResumeMismatch: there are some, and `on_mismatch` is "error".
    """
    if not differing or on_mismatch == "ignore":
        return
    mismatch = ResumeMismatch(differing)
    if on_mismatch == "error":
        raise mismatch
    warnings.warn(str(mismatch), EngineWarning, stacklevel=5)


def _describe_loader(loader: DataLoader[Any], kind: Kind, seeding: Seeding | None) -> dict[str, Any]:
    outer = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    batch_size = getattr(outer, "batch_size", None) if kind == "indexed" else loader.batch_size
    drop_last = getattr(outer, "drop_last", False) if kind == "indexed" else loader.drop_last
    entries: dict[str, Any] = {
        "dataset_length": _length(loader.dataset),
        "batch_size": batch_size if isinstance(batch_size, int) else None,
        "drop_last": bool(drop_last),
    }
    if kind == "indexed":
        entries["seeding"] = choose_seeding(loader.dataset, seeding)
        entries["sampler"] = " of ".join(_describe_sampler(part) for part in sampler_chain(loader))
    else:
        entries["num_workers"] = loader.num_workers
    return entries


def _describe_sampler(sampler: Any) -> str:
    """Return a sampler's name, and of those that are known what their order depends on."""
    name = type(sampler).__qualname__
    if isinstance(sampler, RandomSampler):
        return f"{name}(replacement={sampler.replacement}, num_samples={sampler.num_samples})"
    if isinstance(sampler, WeightedRandomSampler):
        return (
            f"{name}(replacement={sampler.replacement}, num_samples={sampler.num_samples}, {_digest(sampler.weights)})"
        )
    if isinstance(sampler, SubsetRandomSampler):
        return f"{name}({_digest(sampler.indices)})"
    if isinstance(sampler, DistributedSampler):
        return f"{name}(shuffle={sampler.shuffle}, seed={sampler.seed})"
    if isinstance(sampler, KeyedSampler):
        return f"{name}(seed={sampler.seed})"
    return name


def _digest(values: Any) -> str:
    """Return a short text that stands for a sampler's numbers."""
    try:
        numbers = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):  # indices may be anything, names for example
        return f"{len(values)} indices"
    return blake2b(numbers.contiguous().numpy().tobytes(), digest_size=8).hexdigest()


def _shares_steps(saved: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    """Tell whether a step of all ranks together takes the same samples, seeded alike."""
    sizes = [_global_batch(each) for each in (saved, present)]
    knows_ranks = any(name in str(present.get("sampler")) for name in ("DistributedSampler", "KeyedSampler"))
    return sizes[0] is not None and sizes[0] == sizes[1] and knows_ranks and present.get("seeding") == "sample"


def _global_batch(entries: Mapping[str, Any]) -> int | None:
    batch_size, world_size = entries.get("batch_size"), entries.get("world_size")
    return batch_size * world_size if isinstance(batch_size, int) and isinstance(world_size, int) else None


def _compare_environments(saved: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [name for name in present if saved.get(name) != present[name]]
    if present["accelerator"] == "none" and torch.accelerator.is_available():
        names = [name for name in names if name != "accelerator"]  # not started yet; it may be the one
    return {name: (saved.get(name), present[name]) for name in names}


def _release(version: str) -> str:
    return ".".join(str(version).split("+")[0].split(".")[:2])


def _length(dataset: object) -> int | None:
    if not isinstance(dataset, Sized):
        return None
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):
        return None
