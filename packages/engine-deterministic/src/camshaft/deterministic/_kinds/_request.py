"""What the batches of a pass over a map-style dataset are fetched by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from typing import Any, NamedTuple

from camshaft.deterministic._kinds._kind import Setting
from camshaft.deterministic._loading._fetch import BatchRequest
from camshaft.deterministic._loading._order import Batch
from camshaft.deterministic._loading._ranks import Ranks
from camshaft.deterministic._random._seeds import derive_seed


def requests(batches: Iterable[Batch], setting: Setting, data_pass: int, first: int) -> Iterator[BatchRequest]:
    """Yield the requests for batches, the first of which has the number `first` in its pass, without those left out.

    A sample is seeded by its place in the order of all ranks together, which take turns: so the same index,
    drawn twice, is augmented twice, and another number of ranks gives the same samples.
    """
    key = derive_seed(setting.seed, data_pass)
    ranks: Ranks = setting.ranks
    for number, batch in enumerate(batches, first):
        if (data_pass, number) in setting.skip:
            continue
        batch_key = derive_seed(key, "batch", number, ranks.rank)
        first_place = batch.start * ranks.world_size + ranks.rank
        yield BatchRequest(batch.indices, data_pass, number, key, batch_key, first_place, ranks.world_size)


class Repeat(NamedTuple):
    """A fetch that is made to see whether a batch comes again.

    Attributes:
        request: what it asks for.
        compares: whether the result is compared; else it only leaves something behind for the fetch after it.
    """

    request: BatchRequest
    compares: bool


def repeats(request: BatchRequest, workers: int) -> list[Repeat]:
    """Return the fetches that show whether a batch depends on anything beside its request.

    Each worker fetches the batch. The first one, or this process, fetches as many samples before that: half of those in
    the batch, again and again, under other random numbers. So a memory of the data shows in the batch, be it that it
    has seen only some of these samples, or has seen them otherwise. A process that is alone fetches the batch once
    more: it may have been drawn with just these samples seen. A batch of one sample is only fetched twice.

    Args:
        request: what the batch was fetched by.
        workers: how many processes fetch in turns; 0 means this one.
    """
    again, samples = Repeat(request, compares=True), [*{repr(index): index for index in request}.values()]
    if len(samples) == 1:
        return [again] * (1 + max(1, workers))
    before = _rehearsal(request, samples[: len(samples) // 2])
    return [Repeat(before, compares=False), *[again] * max(2, workers)]


def _rehearsal(request: BatchRequest, samples: list[Any]) -> BatchRequest:
    """Return a request as long as that of a batch: there may be a buffer of the size of the first batch."""
    samples_key, batch_key = derive_seed(request.samples_key, "other"), derive_seed(request.batch_key, "other")
    indices = islice(cycle(samples), len(request))
    return BatchRequest(indices, request.data_pass, request.number, samples_key, batch_key, request.first_place)
