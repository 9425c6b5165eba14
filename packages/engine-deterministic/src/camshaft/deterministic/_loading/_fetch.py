"""The dataset as a loader sees it: every fetch seeded, wherever it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Literal, TypeAlias

from torch.utils.data import Subset, get_worker_info

from camshaft.deterministic._inside import find_generators
from camshaft.deterministic._loading._order import tell_epoch
from camshaft.deterministic._random._rng import (
    Undo,
    only_thread,
    remember_generators,
    remember_private,
    seed_generators,
    seed_private,
)
from camshaft.deterministic._random._seeds import ChildSeeds, derive_seed

Seeding: TypeAlias = Literal["sample", "batch"]


class BatchRequest(list[Any]):
    """The indices of one batch, with what seeds their fetch; it travels to the worker as they do.

    Attributes:
        data_pass: the pass.
        number: number of the batch in the pass.
        samples_key: parent of the samples' seeds.
        batch_key: seed of the batch: of its collating, and of its fetch when seeded by batch.
        first_place: place of the first sample in the global order of the pass, that of all ranks together.
        step: how far the places of two samples are apart: the number of ranks.
    """

    __slots__ = ("batch_key", "data_pass", "first_place", "number", "samples_key", "step")

    def __init__(
        self,
        indices: Iterable[Any],
        data_pass: int,
        number: int,
        samples_key: int,
        batch_key: int,
        first_place: int,
        step: int = 1,
    ) -> None:
        super().__init__(indices)
        self.data_pass = data_pass
        self.number = number
        self.samples_key = samples_key
        self.batch_key = batch_key
        self.first_place = first_place
        self.step = step

    def __reduce__(self) -> tuple[type[BatchRequest], tuple[Any, ...]]:
        entries = self.data_pass, self.number, self.samples_key, self.batch_key, self.first_place, self.step
        return BatchRequest, (list(self), *entries)


class SeededDataset:
    """A dataset whose fetches are functions of their request; made for `DataLoader` to fetch from.

    Pickles when the dataset and `collate_fn` do. Other attributes are those of the dataset.

    Args:
        dataset: map-style dataset.
        collate_fn: what makes a batch of a list of samples, or of one sample when `is_batched` is False.
        seeding: "sample": seeded before each sample and before collating; "batch": once.
        is_batched: whether a request stands for a list of samples, or for one.
        told_pass: the pass that the dataset was told by `set_epoch`; a worker begins with the dataset as it is then.
    """

    def __init__(
        self,
        dataset: Any,
        collate_fn: Callable[[Any], Any],
        seeding: Seeding,
        is_batched: bool,
        told_pass: int | None = None,
    ) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.seeding = seeding
        self.is_batched = is_batched
        self._hooks = sample_seed_hooks(dataset)
        self.told_pass = told_pass

    def __reduce__(self) -> tuple[type[SeededDataset], tuple[Any, ...]]:
        return SeededDataset, (
            self.dataset,
            self.collate_fn,
            self.seeding,
            self.is_batched,
            self.told_pass,
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":  # protocols that it does not have; a half-made copy
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:  # for loaders that fetch by themselves
        return self.dataset[index]

    def __getitems__(self, request: BatchRequest) -> Any:
        """Return the collated batch of a request; generators of a main process are left as they were."""
        if get_worker_info() is not None:
            self._tell_pass(request.data_pass)
            return self._fetch_whole(request)
        with only_thread():
            put_back = [remember_generators(), *map(remember_private, self._private)]
            try:
                return self._fetch_whole(request)
            finally:
                _undo(put_back)

    def _fetch_whole(self, request: BatchRequest) -> Any:
        """Return the batch; a StopIteration of the user's code must not look like the end of the pass."""
        try:
            return self._fetch(request)
        except StopIteration as error:
            raise RuntimeError("the dataset, or its `collate_fn`, has raised StopIteration") from error

    @cached_property
    def _private(self) -> list[Any]:
        """Generators of the user's own, in this process; a dataset with the hook takes care of its own."""
        return find_generators(self.collate_fn) if self._hooks else find_generators(self.dataset, self.collate_fn)

    def _tell_pass(self, data_pass: int) -> None:
        """Call the dataset's `set_epoch` in a worker, which may live longer than a pass."""
        if data_pass != self.told_pass:
            self.told_pass = data_pass
            tell_epoch(self.dataset, data_pass)

    def _seed(self, seed: int) -> None:
        seed_generators(seed)
        for number, generator in enumerate(self._private):
            seed_private(generator, derive_seed(seed, "private", number))

    def _fetch(self, request: BatchRequest) -> Any:
        samples = self._samples_by_one(request) if self.seeding == "sample" else self._samples_at_once(request)
        return self.collate_fn(samples if self.is_batched else samples[0])

    def _samples_by_one(self, request: BatchRequest) -> list[Any]:
        dataset, hooks, seed_of = self.dataset, self._hooks, ChildSeeds(request.samples_key)
        place, step, index = request.first_place, request.step, None
        seed_all = self._seed if self._private else seed_generators
        samples = []
        try:
            for index in request:
                seed = seed_of(place)
                place += step
                seed_all(seed)
                for hook in hooks:
                    hook(seed)
                samples.append(dataset[index])
        except Exception as error:
            error.add_note(f"while fetching sample {index!r} of batch {request.number}, pass {request.data_pass}")
            raise
        seed_all(request.batch_key)
        return samples

    def _samples_at_once(self, request: BatchRequest) -> Any:
        dataset = self.dataset
        self._seed(request.batch_key)
        for hook in self._hooks:
            hook(request.batch_key)
        try:
            if self.is_batched and callable(getattr(dataset, "__getitems__", None)):
                return dataset.__getitems__(list(request))
            return [dataset[index] for index in request]
        except Exception as error:
            error.add_note(
                f"while fetching batch {request.number}, pass {request.data_pass}: samples {list(request)!r}"
            )
            raise


def _undo(put_back: list[Undo]) -> None:
    for undo in put_back:
        undo()


def sample_seed_hooks(dataset: Any) -> list[Callable[[int], object]]:
    """Return every `set_sample_seed` of a dataset and of those inside it, the outermost first."""
    hooks = [getattr(part, "set_sample_seed", None) for part in nested_datasets(dataset)]
    return [hook for hook in hooks if callable(hook)]


def nested_datasets(dataset: Any) -> list[Any]:
    """Return a dataset and those that it holds as its `dataset` or its `datasets`."""
    found: list[Any] = []
    waiting = [dataset]
    while waiting:
        part = waiting.pop(0)
        if any(part is known for known in found):
            continue
        found.append(part)
        attributes = getattr(part, "__dict__", {})
        waiting += _members(attributes.get("datasets"))
        if attributes.get("dataset") is not None:
            waiting.append(attributes["dataset"])
    return found


def _members(datasets: object) -> list[Any]:
    if isinstance(datasets, dict):
        return list(datasets.values())
    return list(datasets) if isinstance(datasets, list | tuple) else []


def choose_seeding(dataset: Any, seeding: Seeding | None) -> Seeding:
    """Return how fetches are seeded: as asked for, else by what the dataset can do."""
    if seeding is not None:
        return seeding
    return "batch" if fetches_at_once(dataset) else "sample"


def fetches_at_once(dataset: Any) -> bool:
    """Return whether a dataset has a way of its own to fetch a whole batch.

    Torch's containers only pass the request on to what is inside them.
    """
    method = getattr(type(dataset), "__getitems__", None)
    if method is None:
        return False
    if method.__module__ != Subset.__module__:
        return True
    return any(fetches_at_once(part) for part in nested_datasets(dataset)[1:])


class WorkerSetup:
    """Shows the user's own dataset to `worker_init_fn` and to `get_worker_info()`, not what wraps it."""

    def __init__(self, worker_init_fn: Callable[[int], object] | None) -> None:
        self.worker_init_fn = worker_init_fn

    def __call__(self, worker_id: int) -> None:
        info = get_worker_info()
        if info is not None and isinstance(info.dataset, SeededDataset):
            object.__setattr__(info, "dataset", info.dataset.dataset)  # torch's class refuses a plain assignment
        if self.worker_init_fn is not None:
            self.worker_init_fn(worker_id)


def identity(batch: Any) -> Any:
    """Return the batch, which the dataset has collated already."""
    return batch
