"""What a run depends on, written down when it is saved: strings, numbers, None, lists and dicts only."""

from __future__ import annotations

from hashlib import blake2b
from types import GeneratorType
from typing import Any

import torch
from torch.utils.data import DataLoader, RandomSampler, SubsetRandomSampler, WeightedRandomSampler
from torch.utils.data.dataloader import _BaseDataLoaderIter
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic._inside import find_loaders
from camshaft.deterministic._loading._fetch import Seeding, choose_seeding
from camshaft.deterministic._loading._keyed_sampler import KeyedSampler
from camshaft.deterministic._loading._order import sampler_chain
from camshaft.deterministic._loading._workers import workers_of
from camshaft.deterministic._memory._memory import first_value
from camshaft.deterministic._random._accelerator import accelerator_name
from camshaft.engine import is_integer, length_of

# Where the iterators of Python are from.
_OF_PYTHON = ("builtins", "itertools")


def describe_environment() -> dict[str, Any]:
    """Return what the numbers depend on beside the program."""
    return {"torch": ".".join(torch.__version__.split("+")[0].split(".")[:2]), "accelerator": accelerator_name()}


def describe_map_style(loader: DataLoader[Any], seeding: Seeding | None) -> dict[str, Any]:
    """Return what the batches of a loader of a map-style dataset depend on."""
    outer: Any = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    batch_size: Any = getattr(outer, "batch_size", None)
    return {
        "dataset_length": length_of(loader.dataset),
        "batch_size": int(batch_size) if is_integer(batch_size) else None,
        "drop_last": bool(getattr(outer, "drop_last", False)),
        "seeding": choose_seeding(loader.dataset, seeding),
        "sampler": " of ".join(_describe_sampler(part) for part in sampler_chain(loader)),
        "samples_of_all_ranks": _samples_of_all_ranks(loader),
    }


def describe_loader(loader: DataLoader[Any]) -> dict[str, Any]:
    """Return what the batches of a loader of an iterable-style dataset depend on."""
    return {
        "dataset_length": length_of(loader.dataset),
        "batch_size": loader.batch_size,
        "drop_last": bool(loader.drop_last),
        "num_workers": loader.num_workers,
    }


def inner_workers(data: Any) -> list[int]:
    """Return the numbers of workers of the loaders that some data has inside."""
    loaders = [each for each in find_loaders(data) if isinstance(each, DataLoader)]
    return [loader.num_workers for loader in loaders]


def describe_inside(data: Any) -> dict[str, Any]:
    """Return the workers of the loaders that some data has inside; and the seeds of those that were started already.

    Of `itertools.cycle(loader)`, `zip(loader, other)` or `(f(batch) for batch in loader)` the loader is iterated at
    once. Its workers draw from what the generators of the process were like, and nobody can seed them again.
    """
    started = _started_workers(data)
    workers = [*inner_workers(data), *(len(each._workers) for each in started)]  # noqa: SLF001  # torch has no public names
    seeds = [each._base_seed for each in started]  # noqa: SLF001  # as above
    return {**({"num_workers": workers} if workers else {}), **({"worker_seeds": seeds} if seeds else {})}


def _started_workers(data: Any) -> list[Any]:
    """Return the iterators over loaders with workers that an iterator of Python's has inside, or is."""
    if not isinstance(data, GeneratorType | _BaseDataLoaderIter) and type(data).__module__ not in _OF_PYTHON:
        return []
    begun = [each for each in (data, *find_loaders(data)) if isinstance(each, _BaseDataLoaderIter)]
    return [each for each in begun if workers_of(each)]


def _samples_of_all_ranks(loader: DataLoader[Any]) -> int | None:
    """Return how many samples a pass has where ranks share it, those that fill up included."""
    for part in sampler_chain(loader):
        if isinstance(part, DistributedSampler | KeyedSampler):
            return len(part) * part.num_replicas
    return None


def _describe_sampler(sampler: Any) -> str:
    """Return a sampler's name, and of those that are known what their order depends on.

    What a run changes of that is saved and put back. So it is described as it was before.
    """
    name = type(sampler).__qualname__
    if isinstance(sampler, RandomSampler):
        return f"{name}(replacement={sampler.replacement}, num_samples={sampler.num_samples})"
    if isinstance(sampler, WeightedRandomSampler):
        weights = _digest(first_value(sampler, "weights"))
        return f"{name}(replacement={sampler.replacement}, num_samples={sampler.num_samples}, {weights})"
    if isinstance(sampler, SubsetRandomSampler):
        return f"{name}({_digest(first_value(sampler, 'indices'))})"
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
