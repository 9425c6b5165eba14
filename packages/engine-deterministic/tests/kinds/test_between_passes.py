"""States that are taken between two passes: what samplers and datasets remember goes on, or the resume is refused."""

from __future__ import annotations

import collections
import copy
import csv
import io
import itertools
import random
import types

import numpy as np
import pytest
import torch
from every_kind import CountingEpochs, Noisy
from looping import dumped, epochs_of, loaded, resumable, resume_everywhere, seeding_steps
from torch.utils.data import DataLoader, IterableDataset

from camshaft.deterministic import DeterministicEngine, ResumableLoader, ResumeMismatch
from camshaft.deterministic._checks._difference import find_difference
from camshaft.deterministic.testing import check_data
from camshaft.engine import Events

SIZE = 11


class Order:
    """A sampler."""

    def __len__(self):
        return SIZE


class Shuffling(Order):
    def __init__(self):
        self.order = list(range(SIZE))

    def __iter__(self):
        random.shuffle(self.order)
        return iter(self.order)


class Rotating(Order):
    def __init__(self):
        self.order = collections.deque(range(SIZE))

    def __iter__(self):
        self.order.rotate(3)
        return iter(list(self.order))


class Counting(Order):
    def __init__(self):
        self.numbers = itertools.count()

    def __iter__(self):
        number = next(self.numbers)
        return iter([(place + number) % SIZE for place in range(SIZE)])


class CountingInAnArray(Order):
    def __init__(self):
        self.epoch = np.array(0)
        self.shift = torch.tensor(0)

    def __iter__(self):
        self.epoch += 1
        self.shift = self.shift + 2
        return iter([(place + int(self.epoch) * int(self.shift)) % SIZE for place in range(SIZE)])


class Slotted(Order):
    __slots__ = ("order",)

    def __init__(self):
        self.order = tuple(range(SIZE))

    def __iter__(self):
        self.order = self.order[1:] + self.order[:1]
        return iter(self.order)


class Helper:
    def __init__(self):
        self.places = {"order": np.arange(SIZE), "turns": 0}


class Helped(Order):
    def __init__(self):
        self.helper = Helper()

    def __iter__(self):
        places = self.helper.places
        places["turns"] += 1
        np.random.shuffle(places["order"])
        return iter([(int(place) + places["turns"]) % SIZE for place in places["order"]])


def of_its_class():
    class Drawn(Order):
        order = list(range(SIZE))  # noqa: RUF012  # shared by all of the class, on purpose

        def __iter__(self):
            random.shuffle(self.order)
            return iter(self.order)

    return Drawn()


GLOBAL = """
import random
ORDER, turns = list(range(11)), 0
class Global:
    def __len__(self):
        return 11
    def __iter__(self):
        global turns
        turns += 1
        random.shuffle(ORDER)
        return iter([(place + turns) % 11 for place in ORDER])
"""


def of_a_module():
    module = types.ModuleType("a_module_of_somebody")
    exec(GLOBAL, vars(module))  # noqa: S102  # as a new process would import it
    return module.Global()


def of_a_closure():
    order, turns = list(range(SIZE)), 0

    def draw():
        nonlocal turns
        turns += 1
        random.shuffle(order)
        return iter([(place + turns) % SIZE for place in order])

    class Drawn(Order):
        def __init__(self):
            self.draw = draw

        def __iter__(self):
            return self.draw()

    return Drawn()


class Hidden(Order):
    """Remembers where nobody looks: in a generator."""

    def __init__(self):
        self.orders = self.shuffle()

    def shuffle(self):
        order = list(range(SIZE))
        while True:
            random.shuffle(order)
            yield list(order)

    def __iter__(self):
        return iter(next(self.orders))


class Easy(Order):
    """Is told from outside how hard it may be."""

    def __init__(self):
        self.levels = [0]

    def __iter__(self):
        return iter([(place + sum(self.levels)) % SIZE for place in torch.randperm(SIZE).tolist()])


class KeepingItsOrder(Order):
    """Remembers nothing that matters: draws a new order, and keeps it for whoever wants to see it."""

    def __iter__(self):
        self.order = torch.randperm(SIZE).tolist()
        return iter(self.order)


class GivingOut(Order):
    """Is told its order by `set_epoch`, and gives it out."""

    def set_epoch(self, epoch):
        self.order = random.Random(epoch).sample(range(SIZE), SIZE)

    def __iter__(self):
        while self.order:
            yield self.order.pop()


class ShufflingItself(Noisy):
    """A dataset that shuffles what it has shuffled before, when it is told the epoch."""

    def __init__(self):
        self.order = list(range(SIZE))

    def set_epoch(self, epoch):
        random.Random(epoch).shuffle(self.order)

    def __getitem__(self, index):
        return super().__getitem__(self.order[index])


class GrowingStream(IterableDataset):
    def __init__(self):
        self.known = []

    def __iter__(self):
        self.known.append(random.random())
        return iter([place + sum(self.known) for place in range(SIZE)])


class GrowingData:
    """No dataset but data."""

    def __init__(self):
        self.known = []

    def __iter__(self):
        self.known.append(random.random())
        return iter([place + sum(self.known) for place in range(5)])


def sampled(sampler, workers=0):
    return DataLoader(Noisy(), 3, sampler=sampler, num_workers=workers)


REMEMBERING = {
    "list that is shuffled": lambda: sampled(Shuffling()),
    "deque that is rotated": lambda: sampled(Rotating()),
    "itertools.count": lambda: sampled(Counting()),
    "array and tensor": lambda: sampled(CountingInAnArray()),
    "tuple in a slot": lambda: sampled(Slotted()),
    "dict of a helper": lambda: sampled(Helped()),
    "closure": lambda: sampled(of_a_closure()),
    "attribute of the class": lambda: sampled(of_its_class()),
    "global": lambda: sampled(of_a_module()),
    "count": lambda: sampled(CountingEpochs()),
    "order kept for others": lambda: sampled(KeepingItsOrder()),
    "order given out": lambda: sampled(GivingOut()),
    "dataset told the epoch": lambda: DataLoader(ShufflingItself(), 3, shuffle=True),
    "dataset told the epoch, with workers": lambda: DataLoader(ShufflingItself(), 3, shuffle=True, num_workers=1),
    "stream": lambda: DataLoader(GrowingStream(), 3),
    "stream with workers": lambda: DataLoader(GrowingStream(), 3, num_workers=1),
    "data": GrowingData,
}


@pytest.mark.parametrize("name", REMEMBERING)
def test_what_is_remembered_goes_on_in_a_loader_that_is_resumed_anywhere(name):
    make = REMEMBERING[name]
    epochs = epochs_of(ResumableLoader(make(), 7), 3)
    assert len({*map(repr, epochs)}) == 3
    assert resume_everywhere(lambda: ResumableLoader(make(), 7, seed_steps=True), epochs=4, every=3) > 4


@pytest.mark.parametrize("name", [name for name in REMEMBERING if "workers" not in name])
def test_what_is_remembered_goes_on_in_a_run_that_is_resumed_anywhere(name):
    assert check_data(REMEMBERING[name], max_epochs=3, epoch_length=5, ends_early=[3], every=5) > 5


@pytest.mark.filterwarnings("ignore:.*cannot be saved:camshaft.engine.EngineWarning")
def test_a_memory_that_nobody_can_save_is_exact_behind_one_epoch_and_refused_behind_more():
    whole = epochs_of(resumable(lambda: sampled(Hidden())), 3)
    for done in (1, 2):
        stopped, resumed = resumable(lambda: sampled(Hidden())), resumable(lambda: sampled(Hidden()))
        epochs_of(stopped, done)
        if done == 1:
            resumed.load_state_dict(loaded(dumped(stopped.state_dict())))
            assert find_difference(whole[1:], epochs_of(resumed, 2), "") is None
            continue
        before = resumed.state_dict()
        with pytest.raises(ResumeMismatch, match="order of the sampler in epoch 1, drawn again"):
            resumed.load_state_dict(stopped.state_dict())
        assert resumed.state_dict() == before


@pytest.mark.filterwarnings("ignore:.*cannot be saved:camshaft.engine.EngineWarning")
def test_an_engine_refuses_a_memory_that_nobody_can_save_between_passes():
    states = []
    stopped, resumed = (DeterministicEngine(lambda engine, batch: None) for _ in range(2))
    stopped.add_event_handler(Events.EPOCH_STARTED(once=3), lambda: states.append(stopped.state_dict()))
    stopped.run(sampled(Hidden()), max_epochs=3)
    resumed.load_state_dict(states[0])
    with pytest.raises(ResumeMismatch, match="`orders` of Hidden, which cannot be saved, was"):
        resumed.run(sampled(Hidden()))


def made_harder(sampler, loader, epochs):
    """Go through the epochs, each harder than the one before."""
    seen = []
    for epoch in range(loader.epoch, epochs):
        sampler.levels = [epoch, *range(epoch)]
        seen.append([*loader])
    return seen


def test_what_the_program_sets_for_the_next_epoch_counts_and_is_no_alarm():
    def make():
        sampler = Easy()
        return sampler, resumable(lambda: sampled(sampler))

    whole = made_harder(*make(), 5)
    for done in range(1, 5):
        first, second = make(), make()
        made_harder(*first, done)
        second[1].load_state_dict(first[1].state_dict())
        assert find_difference(whole[done:], made_harder(*second, 5), "") is None


def test_a_dataset_that_has_grown_since_is_no_alarm():
    class Growing(Noisy):
        size = SIZE

    class Backwards:
        def __init__(self, dataset):
            self.dataset = dataset

        def __iter__(self):
            return iter(range(len(self.dataset))[::-1])

        def __len__(self):
            return len(self.dataset)

    def make(size):
        dataset = Growing()
        dataset.size = size
        return dataset, resumable(lambda: DataLoader(dataset, 3, sampler=Backwards(dataset)))

    dataset, stopped = make(SIZE)
    epochs_of(stopped, 1)
    dataset.size = 20
    state = stopped.state_dict()
    _, resumed = make(20)
    resumed.load_state_dict(state)
    assert find_difference([*stopped], [*resumed], "") is None


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
def test_a_dataset_that_shuffles_when_it_is_told_the_epoch_goes_on_with_other_workers(first, second):
    def make(workers):
        return resumable(lambda: DataLoader(ShufflingItself(), 3, shuffle=True, num_workers=workers))

    whole = epochs_of(make(0), 4)
    stopped, resumed = make(first), make(second)
    assert find_difference(whole[:2], epochs_of(stopped, 2), "") is None
    resumed.load_state_dict(stopped.state_dict())
    assert find_difference(whole[2:], epochs_of(resumed, 2), "") is None


def test_a_batch_that_is_asked_for_alone_changes_nothing_in_a_dataset_that_shuffles_when_it_is_told():
    made, undisturbed = (resumable(lambda: DataLoader(ShufflingItself(), 3)) for _ in range(2))
    epochs_of(made, 1)
    made.batch_at(0, 1)
    assert find_difference(epochs_of(undisturbed, 3)[1:], epochs_of(made, 2), "") is None


class GrowsWithItsEpoch(Noisy):
    """A dataset whose length is a function of the epoch that it is told."""

    def __init__(self):
        self.size = 4

    def set_epoch(self, epoch):
        self.size = 4 + 2 * epoch

    def __len__(self):
        return self.size


class ShrinksWhenTold(GrowsWithItsEpoch):
    def set_epoch(self, epoch):
        self.size = 13 - 2 * epoch


@pytest.mark.parametrize("dataset", [GrowsWithItsEpoch, ShrinksWhenTold])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_dataset_whose_length_follows_from_its_epoch_is_no_alarm(dataset, workers):
    def make():
        return DataLoader(dataset(), 2, shuffle=True, num_workers=workers)

    assert resume_everywhere(seeding_steps(make), epochs=3, every=3 if workers else 1) > 2
    assert check_data(make, max_epochs=3, epoch_length=4, every=29 if workers else 5) > 1


@pytest.mark.parametrize("done", [1, 5])
def test_a_dataset_that_is_told_its_epoch_and_has_another_length_is_refused(done):
    class Longer(GrowsWithItsEpoch):
        def __len__(self):
            return self.size + 1

    stopped = resumable(lambda: DataLoader(GrowsWithItsEpoch(), 2))
    epochs_of(stopped, done)
    data = Longer()
    other = resumable(lambda: DataLoader(data, 2))
    with pytest.raises(ResumeMismatch, match="dataset_length"):
        other.load_state_dict(stopped.state_dict())
    assert data.size == 4


class Paired:
    """Two loaders, of which the second goes on over the epochs."""

    def __init__(self):
        self.first = DataLoader(range(6), 2)
        self.second = DataLoader(range(10, 21), 2, shuffle=True)
        self.rest = iter(self.second)

    def __iter__(self):
        for batch in self.first:
            yield batch, self.more()

    def more(self):
        try:
            return next(self.rest)
        except StopIteration:
            self.rest = iter(self.second)
            return next(self.rest)


class PairedLater(Paired):
    def __init__(self):
        super().__init__()
        self.rest = iter(())


class Renewing(Paired):
    """The same, from the start in each epoch."""

    def __iter__(self):
        self.rest = iter(self.second)
        return super().__iter__()


class ByItself:
    """An object that is its own iterator, as many prefetchers are."""

    def __init__(self):
        self.loader = DataLoader(range(6), 2, shuffle=True)

    def __iter__(self):
        self.batches = iter(self.loader)
        return self

    def __next__(self):
        return next(self.batches)


class Stream(IterableDataset):
    def __init__(self, data):
        self.data = data()

    def __iter__(self):
        return iter(self.data)


def streamed(data, workers=0):
    return lambda: DataLoader(Stream(data), 2, num_workers=workers)


@pytest.mark.parametrize("data", [Paired, PairedLater, streamed(Paired)], ids=range(3))
def test_an_iterator_that_goes_on_over_the_epochs_is_refused_behind_the_first_one(data):
    stopped, resumed = resumable(data), resumable(data)
    epochs_of(stopped, 1)
    resumed.load_state_dict(loaded(dumped(stopped.state_dict())))
    with pytest.raises(ResumeMismatch, match=r"iterator `(data\.)?rest`, kept over passes"):
        epochs_of(resumed, 1)
    states = []
    first, second = (DeterministicEngine(lambda engine, batch: None) for _ in range(2))
    first.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda: states.append(first.state_dict()))
    first.run(data(), max_epochs=2)
    second.load_state_dict(states[0])
    with pytest.raises(ResumeMismatch):
        second.run(data(), max_epochs=2)


ANEW = {
    "renewing": Renewing,
    "by itself": ByItself,
    "renewing stream": streamed(Renewing),
    "stream by itself": streamed(ByItself),
    "in a worker": streamed(PairedLater, 1),
}


@pytest.mark.parametrize("name", ANEW)
def test_an_iterator_that_is_made_anew_in_each_epoch_is_no_alarm(name):
    assert resume_everywhere(seeding_steps(ANEW[name]), epochs=3) > 2
    assert resume_everywhere(seeding_steps(ANEW[name]), epochs=3, most=2) > 2


def of_a_generator():
    yield from range(6)


class OneShot:
    """An iterator of a class of its own, of which nobody knows what iterating it again does."""

    def __init__(self):
        self.place = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.place += 1
        if self.place > 5:
            raise StopIteration
        return self.place + random.random()


class BeginningAnew(OneShot):
    def __iter__(self):
        self.place = 0
        return self


LINES = ["a,b", "c,d", "e,f"]
ONCE = {
    "generator": of_a_generator,
    "part of a cycle": lambda: itertools.islice(itertools.cycle([1, 2, 3]), 20),
    "zip": lambda: zip(range(6), DataLoader(range(6)), strict=True),
    "file": lambda: io.StringIO("\n".join(LINES)),
    "csv": lambda: csv.reader(LINES),
    "csv by names": lambda: csv.DictReader(LINES),
    "class of its own": OneShot,
    "map over one": lambda: map(str, OneShot()),
    "beginning anew": BeginningAnew,
}


@pytest.mark.parametrize("name", ONCE)
def test_an_iterator_that_has_ended_goes_on_in_a_new_process_as_it_did(name):
    assert resume_everywhere(seeding_steps(ONCE[name]), epochs=3) > 1


def test_a_file_that_the_program_sets_back_between_two_epochs_is_read_again():
    def read(made, epochs):
        seen = []
        for _ in range(epochs):
            made.loader.seek(0)
            seen.append(list(made))
        return seen

    stopped, resumed = (ResumableLoader(io.StringIO("a\nb\n"), seed=3) for _ in range(2))
    first = read(stopped, 1)
    resumed.load_state_dict(loaded(dumped(stopped.state_dict())))
    assert read(resumed, 1) == first == [["a\n", "b\n"]]


class Chapters(OneShot):
    """Ends, and goes on with something else."""

    def __next__(self):
        self.place += 1
        if self.place % 4 == 0:
            raise StopIteration
        return self.place


def test_an_iterator_that_goes_on_behind_its_end_is_exact_behind_one_epoch_and_refused_behind_more():
    stopped, once, twice = (ResumableLoader(Chapters(), seed=3) for _ in range(3))
    assert [list(stopped)] == [[1, 2, 3]]
    once.load_state_dict(stopped.state_dict())
    assert list(stopped) == list(once) == [5, 6, 7]
    with pytest.raises(ResumeMismatch, match="drawn again"):
        twice.load_state_dict(stopped.state_dict())


def test_an_iterator_that_stands_at_its_end_takes_up_its_own_state():
    made = ResumableLoader(OneShot(), seed=3)
    assert len(list(made)) == 5
    made.load_state_dict(made.state_dict())
    assert list(made) == list(copy.deepcopy(made)) == []


def of_indices():
    yield from torch.randperm(6).tolist()


def test_a_sampler_that_had_ended_before_an_epoch_is_refused_where_it_begins_anew():
    stopped, resumed = (ResumableLoader(DataLoader(range(6), 2, sampler=of_indices()), seed=3) for _ in range(2))
    assert [len(list(stopped)) for _ in range(2)] == [3, 0]
    with pytest.raises(ResumeMismatch, match="batches of epoch 1"):
        resumed.load_state_dict(stopped.state_dict())
