"""Loaders of map-style datasets that iterate as torch's own does: opened by index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain, islice
from typing import Any, ClassVar, NamedTuple

import torch
from torch.utils.data import DataLoader

from camshaft.deterministic._describe import describe_map_style
from camshaft.deterministic._kinds._ended_batch import PassEnd
from camshaft.deterministic._kinds._kind import (
    DRAWN,
    ENDED,
    ENDED_BATCH,
    LAST,
    LEARNED,
    MEMORY,
    ORDER,
    Setting,
    entries_of,
    require_place,
    without_empty,
)
from camshaft.deterministic._kinds._pass import Pass, counting
from camshaft.deterministic._kinds._redrawn import compare_repeated
from camshaft.deterministic._kinds._request import Repeat, repeats, requests
from camshaft.deterministic._kinds._single_batch import SingleBatches
from camshaft.deterministic._loading._copy import copy_loader, plain_class
from camshaft.deterministic._loading._fetch import (
    BatchRequest,
    SeededDataset,
    Seeding,
    WorkerSetup,
    choose_seeding,
    identity,
)
from camshaft.deterministic._loading._order import Order, draw_order, tell_pass
from camshaft.deterministic._memory._samplers import UNSAVED, Samplers
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.engine import Position, length_of


class MapStyleLoader:
    """Opens a pass at any batch, by drawing its order again; no sample is fetched to be skipped.

    Each sample is fetched under a seed that depends on its place in the order, in whichever worker. Persistent
    workers live as long as the source.

    The batch before the place is fetched again by each worker, and compared with what the saved run had there. In the
    first one some of its samples come before, under other random numbers. What batches depend on beside their seeds
    cannot be known, but so it is told: other data; what differs from worker to worker; and what a fetch leaves behind
    for the next one.

    Args:
        data: the user's loader; it is not changed.
        setting: what the passes depend on beside it.
    """

    name: ClassVar[str] = "map-style"

    def __init__(self, data: DataLoader[Any], setting: Setting) -> None:
        self._loader = data
        self._setting = setting
        self._samplers = Samplers(data, compares=True)
        self._end = PassEnd(data, setting, self._samplers.end_pass)
        self._fetcher: SeededLoader | None = None
        self._single: SingleBatches | None = None
        self._data_pass: int | None = None  # the pass that was opened last
        self._opened: Pass | None = None
        self._order: Order | None = None
        self._size: int | None = None  # samples of the dataset, as the pass began
        self._goes_on = False  # whether a pass was opened, and nothing stood against it

    @staticmethod
    def describe(data: DataLoader[Any], seeding: Seeding | None) -> dict[str, Any]:
        """Return the dataset's length, batch size, sampler and seeding: all that decides the batches."""
        return describe_map_style(data, seeding)

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches behind `position`; the generators of the process are left as they are."""
        saved = entries_of(position.data_state)
        self._end.begin()
        if position.pass_open:
            self._samplers.restore(saved.get(MEMORY))
        self._order = self._draw(position.data_pass)  # tells the dataset the epoch, which may decide its length
        self._size = saved.get("size", length_of(self._loader.dataset))
        # A pass that this process has opened goes on with the same objects, whatever they remember. Workers are new.
        is_same = self._goes_on and not self._loader.num_workers
        last = saved.get(LAST) if position.pass_open and position.batch and not is_same else None
        again, wanted = self._wanted(self._order, position, saved, compares=last is not None)
        is_next = not position.pass_open and not self._goes_on
        ended = self._end.to_compare(saved.get(ENDED_BATCH)) if is_next else None
        if wanted is not None:
            again = again if ended is None else repeats(ended.request(self._setting), self._loader.num_workers)
            wanted = self._end.follow(chain([each.request for each in again], wanted))
        self._data_pass = position.data_pass
        iterator = iter(()) if wanted is None else self._fetch(wanted, position.data_pass)
        self._opened = Pass(
            iterator,
            position,
            loader_iterator=iterator,
            keeps_last_from=0,
            skip=self._setting.skip,
            early=counting(self._samplers.counter),
        )
        # Fetched in this process, these batches may change what a sampler reads in the dataset.
        with nullcontext() if self._loader.num_workers else self._samplers.undisturbed():
            expected, name = (last, None) if ended is None else (ended.last, ended.name)
            if expected is not None:
                compare_repeated(self._opened, [each.compares for each in again], expected, self._setting.report, name)
        self._goes_on = True
        return self._opened

    def recall(self, state: Any) -> None:
        """Put back what is remembered between two passes; of unknown samplers, draw the last order again to compare it.

        Drawing it does to a sampler whose memory nobody has found what it did in the saved run.
        """
        saved = entries_of(state)
        ended = EndedOrder(**saved[ENDED]) if ENDED in saved else None
        if ended is not None and ended.size == length_of(self._loader.dataset):
            self._samplers.restore(ended.memory)
            ended.compare(self._draw(ended.data_pass), self._setting.report)
        self._samplers.restore(saved.get(MEMORY))
        self._setting.report(self._samplers.differing(saved.get(MEMORY)))

    def state(self, position: Position) -> Any:
        """Return what samplers remember, a hash of what unknown ones have drawn, and one of the last batch."""
        if self._opened is None and position.data_state is not None:
            return position.data_state
        if self._opened is None or self._order is None or self._data_pass is None:
            return without_empty(memory=self._samplers.now())
        if not position.pass_open:
            return without_empty(
                memory=self._samplers.now(),
                ended=self._ended(self._opened, self._order),
                ended_batch=self._end.saved(self._opened, self._opened.last()),
            )
        grown = self._size if self._size != length_of(self._loader.dataset) else None
        memory, learned = self._samplers.inside()
        depends = bool(learned and learned["counts"]) or UNSAVED in (memory or {})
        return without_empty(
            memory=memory,
            learned=learned,
            drawn=self._order.drawn if depends and self._order.drawn != position.batch else None,
            order=self._order.drawn_hash(position.batch),
            size=grown,
            length=None if grown is None else self._order.length,
            last=self._opened.last() if self._opened.given == position.batch else None,
        )

    def close(self) -> None:
        """End the workers."""
        if self._opened is not None:
            self._opened.close()
        self._fetcher = None

    def batch_at(self, data_pass: int, number: int) -> Any:
        """Return one batch of a pass, fetched alone and in this process.

        The pass that is open goes on as if nothing had been asked; the generators are left as they are.

        Raises:
            ArgumentError: the order depends on what a sampler has drawn before.
            IndexError: the pass has no such batch.
        """
        if self._single is None:
            self._single = SingleBatches(self._loader, self._setting)
        with self._samplers.asking():
            try:
                return self._single.fetch(data_pass, number)
            finally:
                if self._data_pass is not None:
                    tell_pass(self._loader, self._data_pass)

    def _wanted(
        self, order: Order, position: Position, saved: Any, compares: bool
    ) -> tuple[list[Repeat], Iterator[BatchRequest] | None]:
        """Return what fetches the batch before, and the requests for what is left of a pass: None for nothing.

        Args:
            order: the order of the pass.
            position: where it is opened.
            saved: what was saved there.
            compares: whether the batch before is fetched, to be compared, whatever is left out.
        """
        first, setting = position.batch if position.pass_open else 0, self._setting
        if first and "size" in saved and saved["size"] != length_of(self._loader.dataset):
            if "length" not in saved or first < saved["length"]:
                present = length_of(self._loader.dataset)
                setting.report({"dataset_length of the pass": (saved["size"], present)})
            return [], None
        require_place(first, order.length, setting)
        depends = LEARNED in saved or UNSAVED in (saved.get(MEMORY) or {})
        behind = int(bool(first and (compares or depends)))
        batches = order.batches(first - behind)
        before = list(islice(batches, behind))
        if compares and not before:
            setting.report({"batches": (f"at least {first}", first - 1)})
        # What is remembered is put back where the samplers stood: they had drawn further, if workers fetched ahead.
        head = list(islice(batches, max(0, saved.get(DRAWN, first) - first)))
        if position.pass_open:
            self._samplers.restore_learned(saved.get(LEARNED))
            setting.report(self._samplers.differing(saved.get(MEMORY)))
        if first and (order.length is None or first >= order.length):
            head = head or list(islice(batches, 1))  # the end of a pass is known without starting workers
            self._compare_order(order, first, saved)
            if not head and not (before and compares):
                return [], None
        everything = setting._replace(skip=frozenset())
        again = requests(before if compares else (), everything, position.data_pass, first - 1)
        fetches = [each for request in again for each in repeats(request, self._loader.num_workers)]
        return fetches, requests(chain(head, batches), setting, position.data_pass, first)

    def _draw(self, data_pass: int) -> Order:
        self._samplers.begin_pass()
        with self._samplers.telling():
            return draw_order(self._loader, self._setting.seed, data_pass)

    def _ended(self, opened: Pass, order: Order) -> dict[str, Any] | None:
        """Return what is known of the pass that was left last, None where its order follows from the seed."""
        drawn = order.drawn_hash(opened.given)
        if drawn is None or self._data_pass is None or self._samplers.saves_itself:
            return None
        at_start = self._samplers.at_start()
        is_empty = opened.has_ended and (opened.given, order.drawn) == (0, 1)
        ended = EndedOrder(self._data_pass, opened.given, order.drawn, drawn, self._size, at_start, is_empty)
        return ended._asdict()

    def _compare_order(self, order: Order, first: int, saved: Any) -> None:
        """Report it if the sampler has drawn other indices than it did in the saved run."""
        before, now = saved.get(ORDER), order.drawn_hash(first)
        if before is not None and before != now:
            self._setting.report({"order of the sampler, drawn again up to the saved place": (before, now)})

    def _fetch(self, wanted: Iterator[BatchRequest], data_pass: int) -> Iterator[Any]:
        loader = self._loader
        if self._fetcher is None or not (loader.persistent_workers and loader.num_workers > 0):
            seeding = choose_seeding(loader.dataset, self._setting.seeding)
            self._fetcher = SeededLoader(loader, seeding, plain_class(loader))
        self._fetcher.dataset.told_pass = data_pass  # its order is drawn
        self._fetcher.turn_to(lambda number: wanted, derive_seed(self._setting.seed, data_pass, "workers"))
        return iter(self._fetcher.copy)


class EndedOrder(NamedTuple):
    """The order of a pass over an unknown sampler that was left: its next one may follow from it.

    Attributes:
        data_pass: the pass.
        given: how many of its batches were used.
        drawn: how many were drawn, by workers that fetched ahead, say; the end counts as one.
        order: a hash of the indices of those that were used.
        size: samples of the dataset.
        memory: what the samplers remembered as the pass began.
        is_empty: whether there were none: a sampler that is an iterator, say, had come to its end before.
    """

    data_pass: int
    given: int
    drawn: int | None
    order: str
    size: int | None
    memory: dict[str, Any] | None
    is_empty: bool = False

    def compare(self, order: Order, report: Callable[..., None]) -> None:
        """Draw these batches again, and report it if others come."""
        drawn = sum(1 for _ in islice(order.batches(0), self.drawn))
        if self.is_empty and drawn:
            report({f"batches of epoch {self.data_pass}": (0, f"at least {drawn}")})
        now = order.drawn_hash(self.given)
        if now != self.order:
            report({f"order of the sampler in epoch {self.data_pass}, drawn again": (self.order, now)})


class SeededLoader:
    """A copy of a loader that fetches with seeds whatever batches it is asked for.

    Attributes:
        copy: the copy.
        dataset: its dataset.

    Args:
        loader: the user's loader; it is not changed.
        seeding: how fetches are seeded.
        kind: class of the copy.
    """

    def __init__(self, loader: DataLoader[Any], seeding: Seeding, kind: type[DataLoader[Any]]) -> None:
        self._requests = RequestSampler(len_of=loader)
        self._generator = torch.Generator()
        is_batched = loader.batch_sampler is not None
        self.dataset = SeededDataset(loader.dataset, loader.collate_fn, seeding, is_batched)
        self.copy = copy_loader(
            loader,
            kind,
            dataset=self.dataset,
            batch_sampler=self._requests,
            collate_fn=identity,
            worker_init_fn=WorkerSetup(loader.worker_init_fn),
            generator=self._generator,
            in_order=True,  # an order that depends on which worker is faster could not be repeated
        )

    def turn_to(self, rounds: Callable[[int], Iterator[BatchRequest]], worker_seed: int) -> None:
        """Fetch these requests in the next iterations; those of an earlier call are given up.

        Args:
            rounds: returns the requests of an iteration, by its number from 0.
            worker_seed: seeds the workers.
        """
        self._requests.turn_to(rounds)
        self._generator.manual_seed(worker_seed)


class RequestSampler:
    """The batch sampler of a `SeededLoader`: gives out the requests that it was turned to last.

    Args:
        len_of: the loader whose length it has.
    """

    def __init__(self, len_of: DataLoader[Any]) -> None:
        self._sampler: Any = len_of.sampler if len_of.batch_sampler is None else len_of.batch_sampler
        self._rounds: Callable[[int], Iterator[BatchRequest]] = lambda number: iter(())
        self._count = 0

    def turn_to(self, rounds: Callable[[int], Iterator[BatchRequest]]) -> None:
        """Give out these requests in the next iterations."""
        self._rounds, self._count = rounds, 0

    def __iter__(self) -> Iterator[BatchRequest]:
        # Counted at the first request: a loader with workers makes two iterators and uses the second one.
        number, self._count = self._count, self._count + 1
        yield from self._rounds(number)

    def __len__(self) -> int:
        return len(self._sampler)
