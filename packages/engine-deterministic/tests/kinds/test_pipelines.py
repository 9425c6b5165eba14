"""Streams of Hugging Face and of torchdata: exact, also where they draw random numbers for samples to come; or told."""

from __future__ import annotations

import random
import warnings

import pytest
import torch
from looping import dumped, epochs_of, loaded, resumable, resume_everywhere
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, SubsetRandomSampler

from camshaft.deterministic import DeterministicEngine, ResumableLoader, ResumeMismatch
from camshaft.deterministic.testing import check_data
from camshaft.engine import EngineWarning, Events


@pytest.fixture(scope="module")
def datasets():
    # A file system that it imports is warned of in some versions.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def nodes():
    return pytest.importorskip("torchdata.nodes")


def noisy(example):
    return {"a": example["a"] + random.random()}


def noisy_block(examples):
    return {"a": [value + random.random() for value in examples["a"]]}


def doubled_block(examples):
    return {"a": [2 * value for value in examples["a"]]}


class OfItsOwn:
    """Adds numbers of a generator of its own, and a count."""

    def __init__(self):
        self.rng = random.Random(3)
        self.count = 0

    def __call__(self, example):
        self.count += 1
        return {"a": example["a"] + self.rng.random() + 100 * self.count}


def rarely(example):
    return example["a"] < 3 or random.random() < 0.7


def noisy_item(index):
    return index, random.random()


STREAMS = {
    "mapped one by one": lambda stream: stream.map(noisy),
    "mapped in blocks": lambda stream: stream.map(noisy_block, batched=True, batch_size=5),
    "mapped in blocks without numbers": lambda stream: stream.map(doubled_block, batched=True, batch_size=5),
    "filtered and batched": lambda stream: stream.filter(rarely).batch(3),
    "shuffled": lambda stream: stream.shuffle(buffer_size=4, seed=1),
    "generator and count of the function's own": lambda stream: stream.map(OfItsOwn()),
    "generator and count of a method's object": lambda stream: stream.map(OfItsOwn().__call__),
    "generator and count, held back": lambda stream: stream.map(OfItsOwn()).batch(2),
}
ALONE = ("filtered and batched", "generator and count, held back")


def stream_of(datasets):
    return datasets.Dataset.from_dict({"a": list(range(12))}).to_iterable_dataset()


def seeding_steps(make):
    return lambda: ResumableLoader(make(), 7, seed_steps=True)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_of_hugging_face_resumes_from_everywhere(name, datasets):
    assert resume_everywhere(seeding_steps(lambda: STREAMS[name](stream_of(datasets))), every=5) > 1
    assert check_data(lambda: STREAMS[name](stream_of(datasets)), epoch_length=4, max_epochs=2, every=9) > 3


@pytest.mark.parametrize("name", STREAMS)
def test_a_loader_of_a_stream_of_hugging_face_resumes_from_everywhere(name, datasets):
    def make():
        return DataLoader(STREAMS[name](stream_of(datasets)), None if name in ALONE else 3)

    assert resume_everywhere(seeding_steps(make), every=3) > 2
    assert check_data(make, epoch_length=3, max_epochs=2, every=9) > 2


def shuffled_samples():
    """Yield samples in an order of its own, with noise."""
    for index in random.sample(range(8), 8):
        yield {"a": index + random.random()}


def test_a_stream_made_of_a_generator_that_draws_resumes_from_everywhere(datasets):
    def make():
        return datasets.IterableDataset.from_generator(shuffled_samples)

    assert resume_everywhere(seeding_steps(make), every=3) > 1
    assert resume_everywhere(seeding_steps(lambda: DataLoader(make(), 2))) > 1


class Done:
    """What was done; with a state of its own it is no memory of the stream's."""

    def __init__(self):
        self.values = []

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_a_stream_whose_blocks_draw_no_numbers_is_not_drawn_again(datasets):
    done = Done()

    def counted(examples):
        done.values.extend(examples["a"])
        return doubled_block(examples)

    def make():
        return resumable(lambda: stream_of(datasets).map(counted, batched=True, batch_size=2))

    stopped, resumed = make(), make()
    for _, _ in zip(range(8), stopped, strict=False):
        state = stopped.state_dict()
    resumed.load_state_dict(state)
    done.values.clear()
    next(iter(resumed))
    assert min(done.values) >= 6


PIPELINES = {
    "items": lambda nodes, order: order,
    "prefetched": lambda nodes, order: nodes.Prefetcher(order, 3),
    "unbatched": lambda nodes, order: nodes.Unbatcher(nodes.Batcher(order, 4, drop_last=False)),
    "noisy": lambda nodes, order: nodes.Mapper(order, noisy_item),
    "noisy and unbatched": lambda nodes, order: nodes.Unbatcher(nodes.Batcher(nodes.Mapper(order, noisy_item), 4)),
    "mapped in blocks": lambda nodes, order: nodes.ParallelMapper(order, noisy_item, num_workers=0, prebatch=4),
    "mapped in threads": lambda nodes, order: nodes.ParallelMapper(order, str, num_workers=2),
}
SAMPLERS = {"random": RandomSampler, "subset": SubsetRandomSampler}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_of_torchdata_resumes_from_everywhere(name, nodes):
    def make():
        sampler = SAMPLERS["subset" if name == "prefetched" else "random"](range(9))
        return nodes.Loader(PIPELINES[name](nodes, nodes.SamplerWrapper(sampler)))

    assert resume_everywhere(seeding_steps(make), every=4) > 3
    assert check_data(make, epoch_length=4, max_epochs=2, every=9) > 2


IN_THREADS = {
    "prefetcher": lambda nodes, order: nodes.Prefetcher(nodes.Mapper(order, noisy_item), 3),
    "mapper": lambda nodes, order: nodes.ParallelMapper(order, noisy_item, num_workers=2),
}


def assert_warns_of_threads(data):
    made = resumable(lambda: data)
    iterator = iter(made)
    next(iterator)
    with pytest.warns(EngineWarning, match="draws random numbers in threads"):
        made.state_dict()
    made.load_state_dict({"epoch": 0, "index": 0})


@pytest.mark.parametrize("name", IN_THREADS)
def test_a_pipeline_that_draws_in_threads_is_warned_of_when_its_state_is_taken(name, nodes):
    assert_warns_of_threads(nodes.Loader(IN_THREADS[name](nodes, nodes.SamplerWrapper(SequentialSampler(range(9))))))


def test_a_stream_that_draws_in_threads_is_warned_of_when_its_state_is_taken(datasets):
    def make():
        return datasets.interleave_datasets([stream_of(datasets).map(noisy) for _ in range(2)])

    for each in (make(), DataLoader(make(), 2)):
        assert_warns_of_threads(each)


def test_numbers_that_are_drawn_behind_a_stage_with_threads_are_no_alarm(datasets):
    def make():
        return datasets.interleave_datasets([stream_of(datasets) for _ in range(2)]).map(noisy)

    assert resume_everywhere(seeding_steps(make), epochs=1, every=5) > 2


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
def test_a_stateful_loader_whose_workers_hold_samples_back_draws_them_again(datasets):
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def make(name):
        return stateful.StatefulDataLoader(STREAMS[name](stream_of(datasets)), 3, num_workers=1)

    for name in ("shuffled", "mapped in blocks"):
        assert resume_everywhere(seeding_steps(lambda name=name: make(name)), epochs=1, every=3) > 1


# ---------------------------------------------------------------------- what is checked behind an earlier state


def items(nodes, secret):
    """Return items that depend on something that no seed decides."""
    return nodes.Loader(nodes.Mapper(nodes.SamplerWrapper(SequentialSampler(range(9))), lambda index: (index, secret)))


def test_another_function_is_told_by_the_batch_behind_an_earlier_state(nodes):
    made, other = resumable(lambda: items(nodes, 1)), resumable(lambda: items(nodes, 2))
    iterator = iter(made)
    next(iterator)
    made.state_dict()
    next(iterator)
    other.load_state_dict(loaded(dumped(made.state_dict())))
    with pytest.raises(ResumeMismatch, match="batch 1, drawn again"):
        next(iter(other))


def test_saving_draws_nothing_from_the_generators_of_the_process_that_a_run_over_a_pipeline_uses(nodes):
    def run(saves):
        seen = []
        engine = DeterministicEngine(lambda engine, batch: seen.append((batch, torch.rand(()))))
        if saves:
            engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: engine.state_dict())
        order = nodes.SamplerWrapper(RandomSampler(range(9)))
        engine.run(nodes.Loader(nodes.Mapper(order, noisy_item)), max_epochs=2, epoch_length=6, seed=3)
        return seen

    assert repr(run(saves=False)) == repr(run(saves=True))


def test_epochs_of_a_pipeline_differ(nodes):
    made = resumable(lambda: nodes.Loader(nodes.Prefetcher(nodes.SamplerWrapper(RandomSampler(range(9))), 2)))
    first, second = epochs_of(made, 2)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(9))


def weighted(nodes, **options):
    """Return a loader whose order follows from a number of the epoch that its nodes count by themselves."""
    sources = {"a": nodes.IterableWrapper(range(6)), "b": nodes.IterableWrapper(range(10, 20))}
    mixed = nodes.MultiNodeWeightedSampler(sources, {"a": 1.0, "b": 2.0}, stop_criteria="ALL_DATASETS_EXHAUSTED")
    return nodes.Loader(nodes.Batcher(mixed, 4), **options)


@pytest.mark.parametrize("restarts", [True, False])
def test_a_pipeline_that_counts_its_epochs_goes_on_between_two_of_them(restarts, nodes):
    def make():
        return weighted(nodes, restart_on_stop_iteration=restarts)

    first, second, _ = epochs_of(resumable(make), 3)
    assert first != second
    assert resume_everywhere(seeding_steps(make), epochs=3) > 9
    assert resume_everywhere(seeding_steps(make), epochs=3, most=2) > 6
    assert check_data(make, max_epochs=3, every=7) > 3


def mixed(nodes, datasets):
    parts = {name: nodes.IterableWrapper(stream_of(datasets)) for name in "ab"}
    return nodes.MultiNodeWeightedSampler(parts, {"a": 1.0, "b": 2.0}, stop_criteria="ALL_DATASETS_EXHAUSTED")


AROUND_STREAMS = {
    "stream": lambda nodes, datasets: nodes.IterableWrapper(stream_of(datasets)),
    "shuffled stream": lambda nodes, datasets: nodes.IterableWrapper(
        stream_of(datasets).shuffle(seed=1, buffer_size=5)
    ),
    "two streams": mixed,
    "function of its own": lambda nodes, datasets: nodes.Mapper(nodes.IterableWrapper(stream_of(datasets)), OfItsOwn()),
}


@pytest.mark.filterwarnings("ignore:Loading a state dict of a shuffle buffer")
@pytest.mark.parametrize("name", AROUND_STREAMS)
def test_nodes_around_a_stream_of_hugging_face_go_on_in_all_later_epochs(name, nodes, datasets):
    def make():
        return nodes.Loader(nodes.Batcher(AROUND_STREAMS[name](nodes, datasets), 3))

    assert resume_everywhere(seeding_steps(make), epochs=3) > 8
    assert check_data(make, epoch_length=4, max_epochs=2, every=9) > 3
