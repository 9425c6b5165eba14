"""What the batches of a pass over a map-style dataset are fetched by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
