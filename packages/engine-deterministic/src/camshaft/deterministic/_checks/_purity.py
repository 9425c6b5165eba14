"""Find out whether samples, collating and orders depend on nothing but their seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from torch.utils.data import DataLoader, IterableDataset

from camshaft.deterministic._checks._difference import find_difference
from camshaft.deterministic._checks._noted import Noted, NotedDataset, difference_of, note
from camshaft.deterministic._loading._fetch import BatchRequest, SeededDataset
from camshaft.deterministic._loading._order import draw_order
from camshaft.deterministic._memory._samplers import Samplers
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.engine import ArgumentTypeError

SAMPLE, COLLATED, ORDER = "sample", "collated batch", "order of the sampler, batch"
_MOST_NAMED = 4  # of those that differ in the same part
_REMEDIES = {
    SAMPLE: (
        "a memory across samples, a cache of what was drawn at random, or a generator that cannot be found? Let a "
        "sample depend on its index and the generators of the process alone, or give the dataset a method "
        "set_sample_seed(seed). A cache may keep what is read or computed, and nothing that was drawn"
    ),
    COLLATED: (
        "a memory across batches, or a generator that cannot be found? Let collate_fn draw from the generators of the "
        "process"
    ),
    ORDER: "what the sampler remembers must be in its state_dict(), or numbers, texts and collections of these",
}


class Impurity(NamedTuple):
    """Something that came out differently under the same seed.

    Attributes:
        index: what the dataset was asked for; of collating, the indices; of an order, the number of the batch.
        where: the part that differs, as it would be written behind the whole; "what it draws" where only the random
            numbers differ that were drawn for it.
        first, second: that part, as text.
        kind: what it is: "sample", "collated batch" or "order of the sampler, batch".
    """

    index: Any
    where: str
    first: str
    second: str
    kind: str = "sample"

    def __str__(self) -> str:
        return f"{self.kind} {self.index!r}: {self.where or 'all of it'} was {self.first} and then {self.second}"


class PurityReport(NamedTuple):
    """What `check_purity` found.

    Attributes:
        checked: how many samples were fetched twice, collated batches and batches of indices included.
        impure: what differed.
    """

    checked: int
    impure: tuple[Impurity, ...]

    @property
    def is_pure(self) -> bool:
        """Whether no sample differed."""
        return not self.impure

    def __str__(self) -> str:
        if self.is_pure:
            return f"pure: {self.checked} samples came out the same twice"
        lines = _first_of_each(self.impure)
        remedies = dict.fromkeys(f"{each.kind}: {_REMEDIES[each.kind]}" for each in self.impure)
        head = f"impure: {len(self.impure)} of {self.checked} samples came out differently under one seed"
        return "\n".join([head, *lines, *remedies])


def _first_of_each(impure: Sequence[Impurity]) -> list[str]:
    """Return a line for each of the first that differ in the same part, and one for how many more there are."""
    alike: dict[tuple[str, str], list[Impurity]] = {}
    for each in impure:
        alike.setdefault((each.kind, each.where), []).append(each)
    lines = [f"  {each}" for group in alike.values() for each in group[:_MOST_NAMED]]
    left = len(impure) - len(lines)
    return [*lines, f"  and {left} more like these"] if left else lines


def check_purity(dataset: Any, indices: Iterable[Any] | None = None, *, seed: int = 0) -> PurityReport:
    """Fetch samples twice under the same seeds, the second time in another order, and compare.

    A sample is pure if it comes out the same both times, and draws the same random numbers. So a cache is pure if it
    keeps what is read or computed, and impure if it keeps what was drawn at random: a process that is resumed has not
    got that. A `DeterministicEngine` gives bitwise the same batches if its dataset passes. Datasets fail that remember
    earlier samples, that look at the time, or that draw from a generator which cannot be found. A method
    `set_sample_seed(seed)`, called before each sample, lets them seed what is their own.
    Of a loader, some batches are collated twice as well, and its order is drawn twice. What samplers save or count is
    put back in between.
    Give it a dataset that was not used before: of a cache that is full already nobody can tell what is in it.
    The generators of the process are left as they were.

    Args:
        dataset: dataset with indices, or a `DataLoader` of one.
        indices: samples to look at; None: up to 32, spread over the whole dataset.
        seed: base seed.

    Returns:
        The report; `str()` of it is readable.

    Raises:
        ArgumentTypeError: the dataset has no indices.

    Examples:
        >>> import itertools, random, torch
        >>> class Dice(torch.utils.data.Dataset):
        ...     def __init__(self, throw) -> None:
        ...         self.throw = throw
        ...     def __len__(self) -> int:
        ...         return 5
        ...     def __getitem__(self, index: int) -> int:
        ...         return self.throw()
        >>> check_purity(Dice(random.random)).is_pure, check_purity(Dice(itertools.count().__next__)).is_pure
        (True, False)
    """
    loader = dataset if isinstance(dataset, DataLoader) else None
    samples: Any = dataset if loader is None else loader.dataset
    if isinstance(samples, IterableDataset) or not hasattr(type(samples), "__getitem__"):
        way = "; call what makes it, as in `check_purity(make_data())`" if callable(dataset) else ""
        raise ArgumentTypeError(f"`dataset` must be asked for samples by index, got {dataset!r}{way}")
    chosen = list(_spread(len(samples), 32) if indices is None else indices)
    requests = [([index], place) for place, index in enumerate(chosen)]
    found = list(_fetch_twice(NotedDataset(samples), _take_first, True, requests, seed))
    report = PurityReport(len(chosen), _impurities(SAMPLE, chosen, found))
    return report if loader is None else _check_loader(loader, chosen, seed, report)


def _check_loader(loader: DataLoader[Any], indices: list[Any], seed: int, report: PurityReport) -> PurityReport:
    """Add what collating and drawing the order twice has shown; what impure samples make impure counts once."""
    size = loader.batch_size or 1
    batches = [indices[start : start + size] for start in range(0, len(indices), size)][:4]
    requests = [(batch, number * size) for number, batch in enumerate(batches)]
    impure = report.impure
    if not impure:
        is_batched = loader.batch_sampler is not None
        collate = partial(note, loader.collate_fn, owners=(loader.dataset, loader.collate_fn))
        found = list(_fetch_twice(loader.dataset, collate, is_batched, requests, seed))
        impure = _impurities(COLLATED, [indices for indices, _ in requests], found)
    orders = list(zip(*_draw_twice(loader, seed), strict=True))
    order = _impurities(ORDER, range(len(orders)), [find_difference(one, other, "") for one, other in orders])
    return PurityReport(report.checked + len(requests) + len(orders), (*impure, *order))


def _draw_twice(loader: DataLoader[Any], seed: int) -> Iterator[list[list[Any]]]:
    """Yield the first batches of indices of a pass, twice; what samplers remember is put back before and after."""
    samplers = Samplers(loader)
    samplers.begin_pass()
    for _ in range(2):
        batches = draw_order(loader, derive_seed(seed, "purity"), 0).batches(0)
        yield [list(batch.indices) for batch in islice(batches, 32)]
        samplers.restore(samplers.at_start())


def _spread(length: int, count: int) -> list[int]:
    """Return up to `count` indices, spread over a dataset, its first and last among them."""
    count = min(length, count)
    return [number * (length - 1) // max(1, count - 1) for number in range(count)]


def _take_first(samples: list[Any]) -> Any:
    return samples[0]


Request: TypeAlias = tuple[list[Any], int]  # indices, and the place of the first


def _fetch_twice(
    dataset: Any, collate_fn: Callable[[Any], Noted], is_batched: bool, requests: Sequence[Request], seed: int
) -> Iterator[tuple[str, str, str] | None]:
    """Fetch each request twice, the second time in the other order; yield what differs."""
    seeded = SeededDataset(dataset, collate_fn, "sample", is_batched)
    key = derive_seed(seed, 0)

    def fetch(request: Request) -> Any:
        indices, place = request
        return seeded.__getitems__(BatchRequest(indices, 0, 0, key, derive_seed(key, "collate", place), place))

    first = [fetch(request) for request in requests]
    second = [fetch(request) for request in reversed(requests)][::-1]
    yield from (difference_of(one, other) for one, other in zip(first, second, strict=True))


def _impurities(kind: str, names: Iterable[Any], found: Sequence[tuple[str, str, str] | None]) -> tuple[Impurity, ...]:
    pairs = zip(names, found, strict=True)
    return tuple(Impurity(name, *each, kind) for name, each in pairs if each is not None)
