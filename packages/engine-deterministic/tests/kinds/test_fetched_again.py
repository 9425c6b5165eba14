"""Data that is opened at an index: the last batch is fetched again, and tells what nothing else could."""

from __future__ import annotations

import collections
import io
import itertools
import multiprocessing
import os
import random
import signal
from typing import NamedTuple

import numpy as np
import pytest
import torch
from every_kind import Noisy, Told
from noisy_data import noise
from torch.utils.data import DataLoader, Dataset, RandomSampler, get_worker_info

from camshaft.deterministic import DeterministicEngine, ResumableLoader, ResumeMismatch
from camshaft.engine import EngineWarning, Events


class Own(Dataset):
    """Gives the index, and what the class adds."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return float(index), self.more(index)


class Lazy(Own):
    rng = None

    def more(self, index):
        if self.rng is None:
            self.rng = np.random.default_rng(11)
        return self.rng.random()


class BitGenerator(Own):
    def __init__(self):
        self.bits = np.random.PCG64(3)

    def more(self, index):
        return int(self.bits.random_raw() % 1000)


class SeedSequence(Own):
    def __init__(self):
        self.seeds = np.random.SeedSequence(4)

    def more(self, index):
        return np.random.default_rng(self.seeds.spawn(1)[0]).random()


class MadeInThePass(Own):
    def __init__(self):
        self.rngs = collections.defaultdict(lambda: random.Random(1))

    def more(self, index):
        return self.rngs[0].random()


class Numbering(Own):
    def __init__(self):
        self.numbers = itertools.count()

    def more(self, index):
        return next(self.numbers)


class Generating(Own):
    def __init__(self):
        self.numbers = (number for number in range(10**6))

    def more(self, index):
        return next(self.numbers)


class InPlace(Own):
    """Augments its samples where they are kept."""

    def __init__(self):
        self.noises = torch.zeros(12)

    def more(self, index):
        self.noises[index] += torch.rand(())
        return float(self.noises[index])


def numbering_collate():
    count = itertools.count()
    return lambda samples: (samples, next(count))


class OfItsWorker(Own):
    number = 0

    def more(self, index):
        return self.number


def number_the_dataset(worker):
    get_worker_info().dataset.number = worker + 1


class Caching(Own):
    """Augments a sample once, and gives that ever after."""

    def __init__(self):
        self.samples = {}

    def more(self, index):
        return self.samples.setdefault(index, float(torch.rand(())))


class Growing(Own):
    """Gives a sample as it is the first time only."""

    def __init__(self):
        self.seen = set()

    def more(self, index):
        is_first, _ = index not in self.seen, self.seen.add(index)
        return is_first


FAULTS = {
    "generator made at its first use": lambda workers: loader(Lazy(), workers),
    "bit generator": lambda workers: loader(BitGenerator(), workers),
    "seed sequence": lambda workers: loader(SeedSequence(), workers),
    "generators made in the pass": lambda workers: loader(MadeInThePass(), workers),
    "count": lambda workers: loader(Numbering(), workers),
    "generator function": lambda workers: loader(Generating(), workers),
    "samples changed in place": lambda workers: loader(InPlace(), workers),
    "cache of random samples": lambda workers: loader(Caching(), workers),
    "what was seen before": lambda workers: loader(Growing(), workers),
    "collate_fn with a memory": lambda workers: loader(Noisy(), workers, collate_fn=numbering_collate()),
}


def loader(dataset, workers=0, **options):
    context = "fork" if workers else None  # what is tried here cannot be sent to a process: Python 3.14 would have to
    return DataLoader(
        dataset, batch_size=2, shuffle=True, num_workers=workers, multiprocessing_context=context, **options
    )


def state_behind(made, batches):
    """Return what a loader has saved after some batches, as a file has it."""
    iterator = iter(made)
    for _ in range(batches):
        next(iterator)
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def resumed(state, data, **options):
    made = ResumableLoader(data, seed=3, **options)
    made.load_state_dict(state)
    return made


def refuse(name, saved, workers, done):
    state = state_behind(ResumableLoader(FAULTS[name](saved), seed=3), done)
    with pytest.raises(ResumeMismatch, match=rf"batch {done - 1}, fetched again.*collate_fn.*set_sample_seed"):
        next(iter(resumed(state, FAULTS[name](workers))))


@pytest.mark.parametrize(("workers", "done"), [(0, 1), (0, 3), (2, 2)])
@pytest.mark.parametrize("name", FAULTS)
def test_what_a_batch_depends_on_beside_its_seeds_is_refused(name, workers, done):
    refuse(name, workers, workers, done)


def first_batches(made, count):
    batches = itertools.chain.from_iterable(made for _ in itertools.count())
    return [plain(next(batches)) for _ in range(count)]


def plain(batch):
    return batch.tolist() if isinstance(batch, torch.Tensor) else [*map(plain, batch)] if is_nested(batch) else batch


def is_nested(batch):
    return isinstance(batch, list | tuple)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", sorted(FAULTS.keys() - {"cache of random samples"}))
def test_a_memory_is_refused_or_makes_no_difference(name, size):
    def make():
        data = FAULTS[name](0)
        return ResumableLoader(DataLoader(data.dataset, size, shuffle=True, collate_fn=data.collate_fn), seed=3)

    whole, refused = first_batches(make(), 36), 0
    for done in range(1, 20):
        saved, made = make(), make()
        first_batches(saved, done)
        made.load_state_dict(saved.state_dict())
        try:
            rest = first_batches(made, 36 - done)
        except ResumeMismatch:
            refused += 1
        else:
            assert whole[done:] == rest
    assert refused > 15


@pytest.mark.parametrize(("saved", "workers"), [(0, 2), (2, 0)])
def test_a_memory_is_refused_behind_the_first_batch_of_another_number_of_workers(saved, workers):
    refuse("count", saved, workers, 1)


def test_a_dataset_that_is_another_one_in_each_worker_is_refused():
    state = state_behind(ResumableLoader(loader(OfItsWorker()), seed=3), 2)
    with pytest.raises(ResumeMismatch, match="worker_init_fn"):
        next(iter(resumed(state, loader(OfItsWorker(), 2, worker_init_fn=number_the_dataset))))


class Other(Noisy):
    def __getitem__(self, index):
        return -noise(index)


OTHERS = {"dataset": lambda: loader(Other()), "collate_fn": lambda: loader(Noisy(), collate_fn=list)}


@pytest.mark.parametrize("batches", [1, 6])  # the end of the pass, too
@pytest.mark.parametrize("other", OTHERS)
def test_another_dataset_of_the_same_length_and_another_collate_fn_are_refused(other, batches):
    state = state_behind(ResumableLoader(loader(Noisy()), seed=3), batches)
    made = resumed(state, OTHERS[other]())
    for _ in range(2):  # asked again, too
        with pytest.raises(ResumeMismatch, match=f"batch {batches - 1}, fetched again"):
            next(iter(made))


def test_an_engine_refuses_other_data_before_any_step():
    steps = []
    first, second = (DeterministicEngine(lambda engine, batch: steps.append(batch)) for _ in range(2))
    first.add_event_handler(Events.ITERATION_COMPLETED(once=2), first.terminate)
    first.run(loader(Noisy()))
    second.load_state_dict(first.state_dict())
    with pytest.raises(ResumeMismatch, match="fetched again"):
        second.run(loader(Other()))
    assert len(steps) == 2


ITEMS = {
    "list": ([1, 2, 3], [1, 5, 6]),
    "tensor": (torch.eye(3), torch.zeros(3, 3)),
    "array": (np.eye(3), np.zeros((3, 3))),
}


def test_another_array_in_a_file_is_refused(tmp_path):
    def rows(name, number):
        array = np.memmap(tmp_path / name, dtype=np.float32, mode="w+", shape=(4, 2))
        array[:] = number
        return array

    state = state_behind(ResumableLoader(rows("one", 1), seed=3), 2)
    with pytest.raises(ResumeMismatch, match="batch 2, the next one"):
        next(iter(resumed(state, rows("other", 2))))


@pytest.mark.parametrize("done", [1, 2, 3])
@pytest.mark.parametrize("name", ITEMS)
def test_another_list_or_tensor_is_refused(name, done):
    data, other = ITEMS[name]
    told = f"batch {done}, the next one" if done < 3 else "batch 2, fetched again"
    state = state_behind(ResumableLoader(data, seed=3), done)
    with pytest.raises(ResumeMismatch, match=told):
        next(iter(resumed(state, other)))
    first, second = (DeterministicEngine(lambda engine, batch: None) for _ in range(2))
    first.add_event_handler(Events.ITERATION_COMPLETED(once=done), first.terminate)
    first.run(data, max_epochs=2)
    second.load_state_dict(first.state_dict())
    with pytest.raises(ResumeMismatch, match=told):
        second.run(other)


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_step_that_changes_the_batches_of_a_list_in_place_raises_no_alarm_in_the_first_epoch(done):
    def batches():
        return [torch.full((2,), float(number)) for number in range(3)]

    made = ResumableLoader(batches(), seed=3)
    for batch in itertools.islice(made, done):
        batch.data.numpy()[:] = -1
    assert [batch.tolist() for batch in resumed(made.state_dict(), batches())][: 3 - done] == [
        [float(number)] * 2 for number in range(done, 3)
    ]


def test_a_list_that_is_changed_between_two_runs_in_one_process_is_used_as_it_is():
    seen, data = [], [1, 2, 3, 4]
    engine = DeterministicEngine(lambda engine, batch: seen.append(batch))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    engine.run(data, max_epochs=2)
    data[2] = 30
    engine.run(data)
    assert seen == [1, 2, 30, 4] * 2


def test_a_list_that_was_shuffled_between_two_epochs_is_refused():
    made = ResumableLoader(data := list(range(9)), seed=3)
    for _ in made:
        pass
    data[:4] = data[3::-1]
    with pytest.raises(ResumeMismatch, match="batches, as the step left it"):
        next(iter(resumed(made.state_dict(), list(range(9)))))


def test_a_list_that_grows_while_it_is_used_grows_on():
    def grown(made, data, steps):
        return [(data.append(batch), batch)[1] for batch in itertools.islice(made, steps)]

    whole, first, second = [1, 2, 3], [1, 2, 3], [1, 2, 3, 1]
    made = ResumableLoader(first, seed=3)
    seen = grown(made, first, 1)
    assert seen + grown(resumed(made.state_dict(), second), second, 6) == grown(whole, whole, 7)


@pytest.mark.parametrize("data", [[torch.ones(2), torch.ones(2)], torch.ones(2, 2)], ids=["list", "tensor"])
def test_a_run_that_goes_on_in_the_same_process_may_have_changed_its_data_in_place(data):
    engine = DeterministicEngine(halve)
    engine.add_event_handler(Events.ITERATION_COMPLETED, engine.terminate)
    engine.run(data, max_epochs=2)
    while engine.state.iteration < 4:
        engine.run(data)
    assert engine.state.iteration == 4


def test_what_new_workers_do_not_remember_is_refused_in_the_same_process_too():
    engine = DeterministicEngine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate)
    data = FAULTS["count"](2)
    engine.run(data, max_epochs=2)
    with pytest.raises(ResumeMismatch, match="fetched again"):
        engine.run(data)


def test_samples_that_are_changed_in_place_do_not_matter_in_the_same_process():
    samples = torch.ones(4, 2)
    engine = DeterministicEngine(halve)
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=3), engine.terminate)
    data = DataLoader(samples, batch_size=None)
    engine.run(data, max_epochs=2)
    while engine.state.iteration < 8:
        engine.run(data)
    assert torch.equal(samples, torch.full((4, 2), 0.25))


def ones():
    return [torch.ones(2), torch.ones(2), torch.ones(2)]


def halve(engine, batch):
    batch *= 0.5


@pytest.mark.parametrize("at", [Events.ITERATION_COMPLETED(once=2), Events.EPOCH_COMPLETED(once=1)])
def test_what_the_step_has_changed_in_place_is_refused_once_another_epoch_would_use_it(at):
    first, second = DeterministicEngine(halve), DeterministicEngine(halve)
    states = []
    first.add_event_handler(at, lambda engine: engine.at_safe_point(lambda: states.append(engine.state_dict())))
    first.run(ones(), max_epochs=3)
    second.load_state_dict(states[0])
    with pytest.raises(ResumeMismatch, match="as the step left it.*a copy of its batch"):
        second.run(ones())
    assert second.state.iteration == 3  # the first epoch went on bit for bit


def test_what_the_step_has_changed_in_place_does_not_matter_in_the_last_epoch():
    first, second = DeterministicEngine(halve), DeterministicEngine(halve)
    first.add_event_handler(Events.ITERATION_COMPLETED(once=2), first.terminate)
    first.run(ones(), max_iters=3)
    second.load_state_dict(first.state_dict())
    assert second.run(ones()).iteration == 3


def test_a_list_changed_in_place_is_refused_after_a_loop_too():
    made = ResumableLoader(ones(), seed=3)
    for batch in made:
        batch *= 0.5
    again = resumed(made.state_dict(), ones())
    with pytest.raises(ResumeMismatch, match="as the step left it"):
        next(iter(again))


def test_batches_that_an_earlier_epoch_has_changed_in_place_are_refused():
    def batches():
        return [torch.ones(2), torch.ones(2)]

    made = ResumableLoader(batches(), seed=3)
    for _ in range(2):
        for batch in made:
            batch += 1
    next(iter(made))
    with pytest.raises(ResumeMismatch, match="batch 1, the next one.*in place"):
        next(iter(resumed(made.state_dict(), batches())))


def test_a_difference_that_is_allowed_goes_on_behind_it():
    state = state_behind(ResumableLoader(loader(Noisy()), seed=3), 2)
    with pytest.warns(EngineWarning, match="fetched again"):
        rest = list(resumed(state, loader(Other()), on_mismatch="warn"))
    assert len(rest) == 4
    assert torch.equal(-rest[0], ResumableLoader(loader(Noisy()), seed=3).batch_at(0, 2))


def test_workers_end_when_a_resume_is_refused():
    state = state_behind(ResumableLoader(loader(Noisy()), seed=3), 2)
    made = resumed(state, loader(Other(), 2))
    before = multiprocessing.active_children()
    iterator = iter(made)
    with pytest.raises(ResumeMismatch):
        next(iterator)
    for worker in set(multiprocessing.active_children()) - set(before):
        worker.join(timeout=60)
        assert not worker.is_alive()


# ---------------------------------------------------------------------- no alarm


class Named(NamedTuple):
    x: torch.Tensor
    y: object


class Part:
    """Says nothing of what it holds."""

    def __init__(self, content):
        self.content = content


class Unreadable(collections.UserDict):
    def __getitem__(self, key):
        raise OSError("the file is away")


CONTENTS = {
    "nan": lambda x: torch.cat([x, torch.tensor([[float("nan")] * 5])]),
    "plain nan": lambda x: [float("nan"), float("inf"), None, True],
    "array": lambda x: x.numpy(),
    "array of objects": lambda x: np.array(["a", None, Part(1)], dtype=object),
    "dict": lambda x: {"x": x, 3: "text", Part(0): 1},
    "namedtuple": lambda x: Named(x, b"bytes"),
    "object": Part,
    "set": lambda x: {"one", "two", "three", "four"},
    "negative view": lambda x: torch.complex(x, x).conj().imag,
    "sparse": lambda x: x.to_sparse(),
    "grad": lambda x: x.clone().requires_grad_(),
    "unreadable": lambda x: Unreadable(x=x),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_honest_batches_of_any_content_raise_no_alarm(name):
    def make():
        return loader(Noisy(), collate_fn=lambda samples: CONTENTS[name](torch.stack(samples)))

    made = resumed(state_behind(ResumableLoader(make(), seed=3), 2), make())
    assert len(list(made)) == 4


def test_a_batch_that_the_loop_changes_in_place_raises_no_alarm():
    made = ResumableLoader(loader(Noisy(), collate_fn=lambda samples: {"x": torch.stack(samples), "y": [1]}), seed=3)
    batch = next(iter(made))
    batch["x"].numpy()[:] = 0
    batch["y"].clear()
    batch.pop("x")
    again = resumed(
        made.state_dict(), loader(Noisy(), collate_fn=lambda samples: {"x": torch.stack(samples), "y": [1]})
    )
    assert len(list(again)) == 5


@pytest.mark.parametrize("skip", [{(0, 1)}, {(0, 0), (0, 1)}, {(0, 2)}, {(0, 1), (0, 2), (0, 3)}])
@pytest.mark.parametrize("batches", [1, 2])
def test_what_is_left_out_before_or_after_a_resume_raises_no_alarm(skip, batches):
    whole = ResumableLoader(loader(Noisy()), seed=3)
    for before, after in [(skip, skip), ((), skip), (skip, ())]:
        made = ResumableLoader(loader(Noisy()), seed=3, skip=before)
        again = resumed(state_behind(made, batches), loader(Noisy()), skip=after)
        left = [number for number in range(made.index, 6) if (0, number) not in again.skip]
        for number, batch in zip(left, again, strict=True):
            assert torch.equal(batch, whole.batch_at(0, number))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resume_far_inside_an_endless_sampler_compares_too(workers):
    def make(dataset):
        return DataLoader(dataset, 2, sampler=EndlessSampler(), num_workers=workers)

    state = state_behind(ResumableLoader(make(Noisy()), seed=3), 9)
    assert next(iter(resumed(state, make(Noisy())))) is not None
    with pytest.raises(ResumeMismatch, match="batch 8, fetched again"):
        next(iter(resumed(state, make(Other()))))


class EndlessSampler:
    def __iter__(self):
        while True:
            yield random.randrange(11)


def test_a_dataset_that_is_told_its_epoch_raises_no_alarm_in_persistent_workers():
    def make():
        return loader(Told(), 2, persistent_workers=True)

    made = ResumableLoader(make(), seed=3)
    first = list(made)
    again = resumed(state_behind(made, 2), make())
    assert len(list(again)) == 4
    assert len(first) == len(list(again)) == 6


def test_the_generators_of_the_process_are_left_alone_by_the_comparison():
    state = state_behind(ResumableLoader(loader(Noisy()), seed=3), 2)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[2]
    next(iter(resumed(state, loader(Noisy()))))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[2])


def ended(made, epochs=1):
    """Return what a loader has saved after its loops, as a file has it."""
    for _ in range(epochs):
        for _batch in made:
            pass
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(("workers", "epochs"), [(0, 1), (0, 3), (1, 1)])
@pytest.mark.parametrize("name", FAULTS)
def test_what_a_batch_depends_on_beside_its_seeds_is_refused_between_two_epochs(name, workers, epochs):
    state = ended(ResumableLoader(FAULTS[name](workers), seed=3), epochs)
    made = resumed(state, FAULTS[name](workers))
    with pytest.raises(ResumeMismatch, match=rf"batch 5 of epoch {epochs - 1}, fetched again.*set_sample_seed"):
        next(iter(made))


@pytest.mark.parametrize("other", OTHERS)
def test_another_dataset_and_another_collate_fn_are_refused_between_two_epochs(other):
    state = ended(ResumableLoader(loader(Noisy()), seed=3))
    with pytest.raises(ResumeMismatch, match="batch 5 of epoch 0, fetched again"):
        next(iter(resumed(state, OTHERS[other]())))


class Fetching(Noisy):
    def __init__(self):
        self.fetched = [0]

    def __getitem__(self, index):
        self.fetched[0] += 1
        return noise(index)


def test_a_batch_of_one_sample_is_fetched_twice():
    state, data = ended(ResumableLoader(loader(Fetching()), seed=3)), Fetching()
    next(iter(resumed(state, loader(data))))
    assert data.fetched == [1 + 1 + 2]  # the last batch of the epoch has one sample, the next has two


def test_a_longer_batch_is_fetched_twice_and_as_many_samples_before_it():
    state, data = state_behind(ResumableLoader(loader(Fetching()), seed=3), 3), Fetching()
    next(iter(resumed(state, loader(data))))
    assert data.fetched == [2 + 2 * 2 + 2]  # of these the last two are new


@pytest.mark.parametrize("seed", range(40))
def test_what_was_seen_before_is_refused_wherever_samples_are_drawn_again_and_again(seed):
    def make():
        return ResumableLoader(
            DataLoader(Growing(), 4, sampler=RandomSampler(range(12), replacement=True, num_samples=40)), seed=seed
        )

    whole, refused = list(make()), 0
    for done in range(1, 10):
        saved, made = make(), make()
        for _ in itertools.islice(saved, done):
            pass
        made.load_state_dict(saved.state_dict())
        try:
            rest = list(made)
        except ResumeMismatch:
            refused += 1
        else:
            assert [*map(plain, whole[done:])] == [*map(plain, rest)]
    assert refused > 5


class Buffered:
    """Collates into a buffer of the size of the first batch."""

    buffer = None

    def __call__(self, samples):
        if self.buffer is None:
            self.buffer = torch.empty(len(samples), *samples[0].shape)
        return torch.stack(samples, out=self.buffer).clone()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_buffer_of_the_size_of_the_first_batch_fits(workers):
    def make():
        return DataLoader(Noisy(), 3, drop_last=True, num_workers=workers, collate_fn=Buffered())

    assert len(list(resumed(state_behind(ResumableLoader(make(), seed=3), 1), make()))) == 2


class CachingSome(Caching):
    def more(self, index):
        return super().more(index) if index % 2 else 0.0


def test_a_cache_of_some_augmented_samples_is_refused_in_large_batches():
    state = state_behind(ResumableLoader(DataLoader(CachingSome(), 6), seed=3), 1)
    with pytest.raises(ResumeMismatch, match="batch 0, fetched again"):
        next(iter(resumed(state, DataLoader(CachingSome(), 6))))


class FailingAtFirst(Fetching):
    def __getitem__(self, index):
        if self.fetched == [0]:
            self.fetched[0] += 1
            raise OSError("such a number cannot be used")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_sample_with_other_random_numbers_is_not_raised(workers):
    state = state_behind(ResumableLoader(loader(Fetching()), seed=3), 3)
    rest = list(resumed(state, loader(FailingAtFirst(), workers)))
    assert len(rest) == 3


class Dying(Fetching):
    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_at_the_first_sample_is_named():
    state = state_behind(ResumableLoader(loader(Fetching()), seed=3), 3)
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid.*") as raised:
        next(iter(resumed(state, loader(Dying(), 1))))
    assert "worker 0 of 1 was lost" in str(raised.value.__notes__)


class FailingSecond(Fetching):
    def __getitem__(self, index):
        if self.fetched == [1]:
            raise OSError("the disk is away")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_batch_that_is_fetched_again_says_what_it_was_for(workers):
    state = state_behind(ResumableLoader(loader(Fetching()), seed=3), 3)
    with pytest.raises(OSError, match="the disk is away") as raised:
        next(iter(resumed(state, loader(FailingSecond(), workers))))
    assert "batch 2 of pass 0, to compare it" in str(raised.value.__notes__)


class Sized(Noisy):
    scale = 1.0

    def __getitem__(self, index):
        return self.scale * noise(index)


class SizedInPlace(Noisy):
    def __init__(self):
        self.scales = [1.0]

    scale = property(lambda self: self.scales[0], lambda self, scale: self.scales.__setitem__(0, scale))

    def __getitem__(self, index):
        return self.scales[0] * noise(index)


def grown(made, data, epochs):
    """Go through the epochs, each with pictures of another size."""
    seen = []
    for epoch in range(made.epoch, epochs):
        data.scale = 1.0 + epoch
        seen.append([batch.tolist() for batch in made])
    return seen


@pytest.mark.parametrize("done", [1, 2])
@pytest.mark.parametrize("dataset", [Sized, SizedInPlace])
def test_what_the_program_sets_in_the_dataset_for_an_epoch_raises_no_alarm(dataset, done):
    first, second, third = dataset(), dataset(), dataset()
    whole = grown(ResumableLoader(loader(first), seed=3), first, 3)
    stopped = ResumableLoader(loader(second), seed=3)
    grown(stopped, second, done)
    assert grown(resumed(ended(stopped, 0), loader(third)), third, 3) == whole[done:]
