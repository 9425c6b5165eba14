"""The data set as a loader sees it: every fetch seeded, wherever it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

from torch.utils.data import Subset, get_worker_info

from camshaft.deterministic._rng import remember_generators, seed_generators
from camshaft.deterministic._seeds import ChildSeeds, index_part

Seeding: TypeAlias = Literal["sample", "batch"]


class Token(list[Any]):
    """The indices of one batch, with what seeds their fetch; it travels to the worker as they do.

    Attributes:
        data_pass, number: the pass, and the batch in it: for error texts.
        samples_key: parent of the samples' seeds.
        batch_key: seed of the batch: of its collating, and of its fetch when seeded by batch.
        start: number of the first sample in the order, where samples are told apart by it; None: by index.
    """

    __slots__ = ("batch_key", "data_pass", "number", "samples_key", "start")

    def __init__(
        self, indices: Iterable[Any], data_pass: int, number: int, samples_key: int, batch_key: int, start: int | None
    ) -> None:
        super().__init__(indices)
        self.data_pass = data_pass
        self.number = number
        self.samples_key = samples_key
        self.batch_key = batch_key
        self.start = start

    def __reduce__(self) -> tuple[type[Token], tuple[Any, ...]]:
        return Token, (list(self), self.data_pass, self.number, self.samples_key, self.batch_key, self.start)


class SeededDataset:
    """A data set whose fetches are functions of their token; made for `DataLoader` to fetch from.

    Pickles when the data set and `collate_fn` do. Other attributes are those of the data set.

    Args:
        dataset: data set with indices.
        collate_fn: what makes a batch of a list of samples, or of one sample when `is_batched` is False.
        seeding: "sample": seeded before each sample and before collating; "batch": once.
        is_batched: whether a token stands for a list of samples, or for one.
    """

    def __init__(self, dataset: Any, collate_fn: Callable[[Any], Any], seeding: Seeding, is_batched: bool) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.seeding = seeding
        self.is_batched = is_batched
        self._hooks = sample_seed_hooks(dataset)

    def __reduce__(self) -> tuple[type[SeededDataset], tuple[Any, ...]]:
        return SeededDataset, (self.dataset, self.collate_fn, self.seeding, self.is_batched)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":  # protocols that it does not have; a half-made copy
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, token: Token) -> Any:
        """Return the collated batch of a token; generators of a main process are left as they were."""
        if get_worker_info() is not None:
            return self._fetch(token)
        put_back = remember_generators()
        try:
            return self._fetch(token)
        finally:
            put_back()

    def _fetch(self, token: Token) -> Any:
        samples = self._samples_by_one(token) if self.seeding == "sample" else self._samples_at_once(token)
        return self.collate_fn(samples if self.is_batched else samples[0])

    def _samples_by_one(self, token: Token) -> list[Any]:
        dataset, hooks, seed_of = self.dataset, self._hooks, ChildSeeds(token.samples_key)
        samples, at = [], 0
        try:
            for at, index in enumerate(token):
                part = index if type(index) is int else index_part(index)
                if part is None:
                    part = ("batch", token.number, at)
                seed = seed_of(part if token.start is None else token.start + at)
                seed_generators(seed)
                for hook in hooks:
                    hook(seed)
                samples.append(dataset[index])
        except Exception as error:
            error.add_note(f"while fetching sample {token[at]!r} of batch {token.number}, pass {token.data_pass}")
            raise
        seed_generators(token.batch_key)
        return samples

    def _samples_at_once(self, token: Token) -> Any:
        dataset = self.dataset
        seed_generators(token.batch_key)
        for hook in self._hooks:
            hook(token.batch_key)
        try:
            if self.is_batched and callable(getattr(dataset, "__getitems__", None)):
                return dataset.__getitems__(list(token))
            return [dataset[index] for index in token]
        except Exception as error:
            error.add_note(f"while fetching batch {token.number}, pass {token.data_pass}: samples {list(token)!r}")
            raise


def sample_seed_hooks(dataset: Any) -> list[Callable[[int], object]]:
    """Return every `set_sample_seed` of a data set and of those inside it, the outermost first."""
    hooks = [getattr(part, "set_sample_seed", None) for part in nested_datasets(dataset)]
    return [hook for hook in hooks if callable(hook)]


def nested_datasets(dataset: Any) -> list[Any]:
    """Return a data set and those that it holds as its `dataset` or its `datasets`."""
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


def fetches_at_once(dataset: Any) -> bool:
    """Tell whether a data set has a way of its own to fetch a whole batch.

    Torch's containers only pass the request on to what is inside them.
    """
    method = getattr(type(dataset), "__getitems__", None)
    if method is None:
        return False
    if method.__module__ != Subset.__module__:
        return True
    return any(fetches_at_once(part) for part in nested_datasets(dataset)[1:])


class WorkerSetup:
    """Shows the user's own data set to `worker_init_fn` and to `get_worker_info()`, not what wraps it."""

    def __init__(self, worker_init_fn: Callable[[int], object] | None) -> None:
        self.worker_init_fn = worker_init_fn

    def __call__(self, worker_id: int) -> None:
        info = get_worker_info()
        if info is not None and isinstance(info.dataset, SeededDataset):
            object.__setattr__(info, "dataset", info.dataset.dataset)  # torch's class refuses a plain assignment
        if self.worker_init_fn is not None:
            self.worker_init_fn(worker_id)


def identity(batch: Any) -> Any:
    """Return the batch, which the data set has collated already."""
    return batch
