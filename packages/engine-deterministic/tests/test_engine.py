from __future__ import annotations

import gc
import io
import multiprocessing
import random
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, RandomSampler, get_worker_info
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic import DeterministicEngine, KeyedSampler, ResumeMismatch, keep_random_state, manual_seed
from camshaft.engine import ArgumentError, Engine, EngineWarning, Events, StateDictError


def shuffled(size=40, batch_size=4, **options):
    return DataLoader(torch.arange(size), batch_size=batch_size, shuffle=True, **options)


def recorder(**options):
    seen = []

    def step(engine, batch):
        seen.append(batch.tolist())

    return DeterministicEngine(step, **options), seen


def flat(batches):
    return [sample for batch in batches for sample in batch]


def numbers():
    while True:
        yield torch.randint(0, 100, size=(1,))


def reseed():
    torch.manual_seed(12)
    torch.rand(1)


def through_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


# ---------------------------------------------------------------------- the examples that users know


def test_an_epoch_may_be_half_a_pass_and_the_second_half_resumes_from_a_plain_dict():
    engine, original = recorder()
    manual_seed(56)
    engine.run(shuffled(), max_epochs=2, epoch_length=5)
    engine, resumed = recorder()
    engine.load_state_dict({"epoch": 1, "epoch_length": 5, "max_epochs": 2, "rng_states": None})
    manual_seed(56)
    engine.run(shuffled())
    assert sorted(flat(original)) == list(range(40))
    assert original[5:] == resumed


def test_a_generator_draws_from_the_stream_as_a_reseeding_handler_leaves_it():
    engine, seen = recorder()
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=3), reseed)
    engine.run(numbers(), max_epochs=3, epoch_length=5)
    values = flat(seen)
    assert values[3:] == [3, 22, 77] * 4
    assert values[:3] != [3, 22, 77]


def test_a_handler_that_keeps_the_random_state_leaves_a_generator_undisturbed():
    alone, disturbed = recorder(), recorder()
    disturbed[0].add_event_handler(Events.ITERATION_COMPLETED(every=3), keep_random_state(reseed))
    for engine, _ in (alone, disturbed):
        engine.run(numbers(), max_epochs=3, epoch_length=5, seed=1)
    assert alone[1] == disturbed[1]


def test_a_loader_with_indices_is_not_reached_by_a_reseeding_handler():
    alone, disturbed = recorder(), recorder()
    disturbed[0].add_event_handler(Events.ITERATION_STARTED(every=3), reseed)
    for engine, _ in (alone, disturbed):
        engine.run(shuffled(), max_epochs=2, seed=1)
    assert alone[1] == disturbed[1]


# ---------------------------------------------------------------------- the seed


def test_manual_seed_decides_a_new_run():
    runs = []
    for seed in (56, 56, 57):
        engine, seen = recorder()
        manual_seed(seed)
        engine.run(shuffled())
        runs.append((engine.state.seed, seen))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0]
    assert runs[0][1] != runs[2][1]


def test_a_new_run_of_the_same_engine_has_a_seed_of_its_own():
    engine, _ = recorder()
    seeds = {engine.run(shuffled()).seed for _ in range(3)}
    assert len(seeds) == 3


def test_the_argument_wins_over_the_generator():
    runs = []
    for seed in (1, 2):
        engine, seen = recorder()
        manual_seed(seed)
        assert engine.run(shuffled(), seed=7).seed == 7
        runs.append(seen)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("seed", [0, -1, 2**64 - 1])
def test_any_seed_of_torch_is_taken(seed):
    engine, seen = recorder()
    engine.run(shuffled(), seed=seed)
    again, seen_again = recorder()
    again.run(shuffled(), seed=seed)
    assert seen == seen_again


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_a_seed_out_of_range_is_refused(seed):
    engine, seen = recorder()
    with pytest.raises(ValueError, match="`seed`"):
        engine.run(shuffled(), seed=seed)
    assert seen == []


def test_passes_differ_in_order_and_neighbouring_seeds_share_none():
    engine, first = recorder()
    engine.run(shuffled(), max_epochs=2, seed=1)
    engine, second = recorder()
    engine.run(shuffled(), max_epochs=2, seed=2)
    passes = [str(seen[start : start + 10]) for seen in (first, second) for start in (0, 10)]
    assert len(set(passes)) == 4


# ---------------------------------------------------------------------- the step's own stream


class Noisy(Dataset):
    def __init__(self, size=10):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return torch.tensor([index, random.random(), np.random.rand(), torch.rand(1).item()], dtype=torch.float64)


def noisy(**options):
    return DataLoader(Noisy(), batch_size=4, shuffle=True, **options)


def draw():
    return random.random(), np.random.randn(), torch.rand(1).item()


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_and_the_steps_numbers_are_the_same_for_any_number_of_workers(workers):
    runs = []
    for count in (0, workers):
        seen = []
        engine = DeterministicEngine(lambda engine, batch, seen=seen: seen.append((batch.tolist(), draw())))
        engine.run(noisy(num_workers=count), max_epochs=2, seed=3)
        runs.append(seen)
    assert runs[0] == runs[1]


def test_an_augmentation_depends_on_the_place_in_the_order_and_not_on_the_batch():
    samples = []
    for batch_size in (2, 5):
        engine, seen = recorder()
        engine.run(DataLoader(Noisy(), batch_size=batch_size, shuffle=True), seed=3)
        samples.append({sample[0]: sample[1:] for batch in seen for sample in batch})
    assert samples[0] == samples[1]
    assert len({tuple(noise) for noise in samples[0].values()}) == 10


def test_an_index_that_comes_twice_is_augmented_twice():
    engine, seen = recorder()
    engine.run(DataLoader(Noisy(), 4, sampler=RandomSampler(Noisy(), replacement=True, num_samples=40)), seed=3)
    samples = [tuple(sample) for sample in flat(seen)]
    assert len({sample[0] for sample in samples}) <= 10
    assert len(set(samples)) == 40


def test_each_pass_augments_anew():
    engine, seen = recorder()
    engine.run(DataLoader(Noisy(), batch_size=10), max_epochs=2, seed=3)
    assert seen[0] != seen[1]


def test_a_custom_dataset_sees_itself_in_its_workers():
    class Curious(Noisy):
        def __getitem__(self, index):
            return torch.tensor(float(get_worker_info().dataset is self) + self.mark)

    def set_up(worker_id):
        get_worker_info().dataset.mark = worker_id * 0 + 5

    engine, seen = recorder()
    engine.run(DataLoader(Curious(), batch_size=5, num_workers=1, worker_init_fn=set_up))
    assert seen == [[6.0] * 5] * 2


# ---------------------------------------------------------------------- the users' loaders


def test_the_users_loader_stays_as_it_was():
    loader = shuffled(num_workers=1, persistent_workers=True, generator=torch.Generator().manual_seed(1))
    before = dict(vars(loader))
    state = loader.generator.get_state()
    engine, _ = recorder()
    assert engine.run(loader, max_epochs=2).dataloader is loader
    assert before == vars(loader)
    assert torch.equal(state, loader.generator.get_state())


def test_a_subclass_keeps_its_own_iteration():
    class Doubling(DataLoader):
        def __init__(self, data):
            super().__init__(data, batch_size=2)

        def __iter__(self):
            for batch in super().__iter__():
                yield batch * 2

    engine, seen = recorder()
    engine.run(Doubling(torch.arange(4)))
    assert seen == [[0, 2], [4, 6]]


def test_a_loader_with_an_iterator_of_its_own_is_refused():
    class Forever(DataLoader):
        def __init__(self, data):
            super().__init__(data)
            self.iterator = super().__iter__()

    engine, _ = recorder()
    with pytest.raises(ValueError, match="iterator"):
        engine.run(Forever(torch.arange(3)))


class Broken(Noisy):
    def __getitem__(self, index):
        raise LookupError("broken")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failing_sample_is_named(workers):
    engine, _ = recorder()
    with pytest.raises(LookupError, match="sample 0 of batch 0, pass 0"):
        engine.run(DataLoader(Broken(), batch_size=4, num_workers=workers))


@pytest.mark.parametrize("persistent", [False, True])
def test_after_a_failure_no_worker_lives_though_the_error_does(persistent):
    engine, _ = recorder()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda engine: engine.state.nothing)
    for data in (Broken(), Noisy()):
        with pytest.raises((LookupError, AttributeError)) as caught:
            engine.run(DataLoader(data, batch_size=2, num_workers=2, persistent_workers=persistent))
        assert multiprocessing.active_children() == []
        assert caught.tb is not None


@pytest.mark.parametrize("where", ["fetch", "step", "handler"])
def test_a_lost_worker_is_named_wherever_the_program_is_and_the_run_goes_on_with_new_ones(warm_python, where):
    run = warm_python.run(Path(__file__).parent / "programs" / "lost_worker.py", where)
    assert run.returncode == 0, run.stderr


def test_data_put_in_during_a_run_starts_from_its_beginning():
    engine, seen = recorder()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: engine.set_data(shuffled(8)))
    engine.run(shuffled(), epoch_length=5, seed=1)
    assert sorted(seen[3] + seen[4]) == list(range(8))
    again, seen_again = recorder()
    again.load_state_dict(engine.state_dict())
    again.run(shuffled(8), max_epochs=2)
    assert sorted(seen_again[0] + seen_again[1]) == list(range(8))


@pytest.mark.parametrize("at", [Events.ITERATION_COMPLETED(once=3), Events.EPOCH_COMPLETED])
def test_what_is_saved_after_other_data_was_put_in_is_about_that_data(at):
    def run(engine, data):
        engine.add_event_handler(at, lambda: engine.set_data(shuffled(12, batch_size=2)))
        engine.add_event_handler(at, lambda: engine.at_safe_point(lambda: states.append(engine.state_dict())))
        engine.run(data, epoch_length=5, max_epochs=2, seed=1)

    states = []
    engine, expected = recorder()
    run(engine, shuffled())
    for data, is_right in ((shuffled(12, batch_size=2), True), (shuffled(), False)):
        resumed, seen = recorder()
        resumed.load_state_dict(through_file(states[0]))
        if is_right:
            resumed.run(data)
            assert expected[resumed.state.iteration - len(seen) :] == seen
        else:
            with pytest.raises(ResumeMismatch, match="dataset_length"):
                resumed.run(data)


class Growing(Dataset):
    def __init__(self, size=8):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return index


def save_while_growing(event):
    """Run over a dataset that doubles at the end of its first epoch; return what was seen, and a state."""
    data, states = Growing(), []
    engine, seen = recorder()

    def grow():
        data.size = 16

    engine.add_event_handler(Events.EPOCH_COMPLETED(once=1), grow)
    engine.add_event_handler(event, lambda: engine.at_safe_point(lambda: states.append(engine.state_dict())))
    engine.run(DataLoader(data, batch_size=2, shuffle=True), epoch_length=4, max_epochs=3, seed=1)
    return seen, states[0]


@pytest.mark.filterwarnings("ignore:the data gave 4 batches")
@pytest.mark.parametrize("event", [Events.EPOCH_COMPLETED(once=1), Events.ITERATION_COMPLETED(once=6)])
def test_a_dataset_that_has_grown_resumes_as_it_is_now(event):
    seen, state = save_while_growing(event)
    assert sorted(flat(seen[4:])) == list(range(16))
    engine, again = recorder()
    engine.load_state_dict(through_file(state))
    engine.run(DataLoader(Growing(16), batch_size=2, shuffle=True))
    assert seen[-len(again) :] == again
    engine, _ = recorder()
    engine.load_state_dict(through_file(state))
    with pytest.raises(ResumeMismatch, match="dataset_length"):
        engine.run(DataLoader(Growing(8), batch_size=2, shuffle=True))


def test_a_dataset_that_has_grown_inside_a_pass_is_refused_there():
    data, states = Growing(), []
    engine, _ = recorder()

    def grow():
        data.size = 16
        engine.at_safe_point(lambda: states.append(engine.state_dict()))

    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), grow)
    engine.run(DataLoader(data, batch_size=2, shuffle=True), seed=1)
    resumed, _ = recorder()
    resumed.load_state_dict(states[0])
    with pytest.raises(ResumeMismatch, match="dataset_length of the pass"):
        resumed.run(DataLoader(Growing(16), batch_size=2, shuffle=True))


def test_runs_without_data_are_refused():
    engine, _ = recorder()
    with pytest.raises(ValueError, match="`data` must be given"):
        engine.run(None, epoch_length=3)


@pytest.mark.parametrize("options", [{"on_mismatch": "explode"}, {"seeding": "never"}])
def test_unknown_options_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        DeterministicEngine(lambda engine, batch: None, **options)


# ---------------------------------------------------------------------- kernels


def test_kernels_are_deterministic_in_a_run_only():
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = False, True
    try:
        seen = []
        engine = DeterministicEngine(lambda engine, batch: seen.append((cudnn.deterministic, cudnn.benchmark)))
        engine.run([1])
        assert seen == [(True, False)]
        assert (cudnn.deterministic, cudnn.benchmark) == (False, True)
    finally:
        cudnn.deterministic, cudnn.benchmark = before


# ---------------------------------------------------------------------- saving and loading


def stopped_engine(make=shuffled):
    """An engine of two epochs of ten iterations, ended after four."""
    engine, seen = recorder()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda engine: engine.terminate())
    engine.run(make(), seed=1, max_epochs=2)
    return engine, seen


def test_the_state_loads_as_weights_only_and_has_the_promised_keys():
    engine, _ = stopped_engine()
    state = engine.state_dict()
    plain = {"epoch_length", "iteration", "max_epochs", "seed"}
    assert plain <= set(state)
    assert {"rng_states", "deterministic"} == set(state) - plain - {"position"}
    assert (state["iteration"], state["seed"]) == (4, 1)
    loaded = through_file(state)
    assert loaded["deterministic"] == state["deterministic"]


def test_a_loaded_state_is_given_out_again_as_it_was():
    state = stopped_engine()[0].state_dict()
    engine, _ = recorder()
    engine.load_state_dict(through_file(state))
    again = engine.state_dict()
    assert set(state) == set(again)
    assert state["deterministic"] == again["deterministic"]
    assert torch.equal(state["rng_states"]["torch"], again["rng_states"]["torch"])


def test_the_state_of_a_plain_engine_is_taken():
    plain = Engine(lambda engine, batch: None)
    plain.add_event_handler(Events.ITERATION_COMPLETED(once=4), plain.terminate)
    plain.run(shuffled(), seed=1, max_epochs=2)
    engine, seen = recorder()
    engine.load_state_dict(plain.state_dict())
    engine.run(shuffled())
    whole, expected = recorder()
    whole.run(shuffled(), seed=1, max_epochs=2)
    assert expected[4:] == seen


def test_a_plain_engine_takes_the_state_with_a_warning():
    state = stopped_engine(lambda: list(torch.arange(10)))[0].state_dict()
    seen = []
    plain = Engine(lambda engine, batch: seen.append(int(batch)))
    with pytest.warns(EngineWarning, match="rng_states"):
        plain.load_state_dict(state)
    plain.run(list(torch.arange(10)))
    assert seen == [4, 5, 6, 7, 8, 9, *range(10)]


@pytest.mark.parametrize(
    "change",
    [{"rng_states": 3}, {"rng_states": {}}, {"deterministic": 3}, {"iteration": -1}, {"unknown": 1}],
    ids=str,
)
def test_a_malformed_state_changes_nothing(change):
    engine, seen = stopped_engine()
    before = engine.state_dict()
    with pytest.raises(StateDictError):
        engine.load_state_dict({**before, **change})
    assert before["deterministic"] == engine.state_dict()["deterministic"]
    engine.run()
    assert len(seen) == 20


def test_something_that_is_no_mapping_is_refused():
    with pytest.raises(TypeError, match="mapping"):
        recorder()[0].load_state_dict(3)


def test_a_state_without_generators_resumes_the_data():
    whole, expected = recorder()
    whole.run(shuffled(), max_epochs=2, seed=1)
    state = {**stopped_engine()[0].state_dict(), "rng_states": None}
    engine, seen = recorder()
    engine.load_state_dict(state)
    engine.run(shuffled())
    assert expected[4:] == seen


@given(
    size=st.integers(1, 30),
    batch_size=st.integers(1, 7),
    drop_last=st.booleans(),
    epoch_length=st.none() | st.integers(1, 12),
    epochs=st.integers(1, 3),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_a_run_stopped_anywhere_and_resumed_is_the_whole_run(size, batch_size, drop_last, epoch_length, epochs, data):
    if drop_last and size < batch_size:
        size = batch_size

    def make():
        return DataLoader(Noise(size), batch_size=batch_size, shuffle=True, drop_last=drop_last)

    limits = {"max_epochs": epochs, "epoch_length": epoch_length}
    whole, expected = recorder()
    total = whole.run(make(), seed=9, **limits).iteration
    parts, state = [], None
    stops = sorted(data.draw(st.sets(st.integers(1, total), max_size=3)))
    for stop in [*stops, None]:
        engine, seen = recorder()
        if stop is not None:
            engine.add_event_handler(Events.ITERATION_COMPLETED(once=stop), engine.terminate)
        if state is None:
            engine.run(make(), seed=9, **limits)
        else:
            engine.load_state_dict(state)
            engine.run(make())
        state = engine.state_dict()
        parts += seen
    assert expected == parts


class Noise(Dataset):
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return torch.rand(1, dtype=torch.float64) + index


# ---------------------------------------------------------------------- mismatches


MISMATCHES = {
    "dataset_length": lambda: shuffled(37),
    "batch_size": lambda: shuffled(batch_size=5),
    "drop_last": lambda: shuffled(drop_last=True),
    "sampler": lambda: DataLoader(torch.arange(40), batch_size=4),
    "data": lambda: list(torch.arange(40).split(4)),
}


def state_of(engine):
    return repr({name: value for name, value in vars(engine.state).items() if name != "dataloader"})


@pytest.mark.parametrize("field", MISMATCHES)
def test_other_data_than_was_saved_is_refused_and_nothing_changes(field):
    state = stopped_engine()[0].state_dict()
    engine, seen = recorder()
    started = []
    engine.add_event_handler(Events.STARTED, started.append, 1)
    engine.load_state_dict(state)
    before = state_of(engine)
    generator = torch.get_rng_state()
    with pytest.raises(ResumeMismatch, match=field) as caught:
        engine.run(MISMATCHES[field]())
    assert isinstance(caught.value, ValueError)
    assert field in caught.value.fields
    assert (started, seen) == ([], [])
    assert before == state_of(engine)
    assert torch.equal(generator, torch.get_rng_state())
    engine.run(shuffled())
    assert len(seen) == 16


def test_all_differing_fields_are_listed():
    engine, _ = recorder()
    engine.load_state_dict(stopped_engine()[0].state_dict())
    with pytest.raises(ResumeMismatch) as caught:
        engine.run(DataLoader(torch.arange(30), batch_size=3), seed=2)
    assert {"dataset_length", "batch_size", "sampler", "seed"} == set(caught.value.fields)
    assert caught.value.fields["dataset_length"] == (40, 30)
    assert caught.value.fields["seed"] == (1, 2)


def test_another_seed_is_refused_within_the_process_too():
    engine, _ = stopped_engine()
    with pytest.raises(ResumeMismatch, match="seed"):
        engine.run(seed=2)
    assert engine.run(seed=1).iteration == 20


def test_another_way_of_seeding_is_refused():
    engine, _ = recorder(seeding="batch")
    engine.load_state_dict(stopped_engine()[0].state_dict())
    with pytest.raises(ResumeMismatch, match="seeding"):
        engine.run(shuffled())


def test_another_environment_is_refused():
    state = stopped_engine()[0].state_dict()
    state["deterministic"] = {**state["deterministic"], "environment": {"torch": "1.0", "accelerator": "none"}}
    engine, _ = recorder()
    engine.load_state_dict(state)
    with pytest.raises(ResumeMismatch, match=r"environment\.torch"):
        engine.run(shuffled())


def test_a_mismatch_can_be_allowed_with_a_warning_or_without():
    state = stopped_engine()[0].state_dict()
    engine, seen = recorder(on_mismatch="warn")
    engine.load_state_dict(state)
    with (
        pytest.warns(EngineWarning, match="dataset_length was 40 and is 36"),
        pytest.warns(EngineWarning, match="batch 3, fetched again"),
    ):
        engine.run(shuffled(36), seed=1)
    assert len(seen) == 16
    engine, seen = recorder(on_mismatch="ignore")
    engine.load_state_dict(state)
    engine.run(shuffled(36), seed=2)
    assert len(seen) == 16
    assert engine.state.seed == 2


def test_other_data_within_the_process_is_started_from_its_beginning():
    engine, seen = stopped_engine()
    engine.run(shuffled(12, batch_size=2))
    assert sorted(flat(seen[4:10])) == list(range(12))


def ranks(world_size, batch_size):
    data = torch.arange(80)
    return [
        DataLoader(data, batch_size, sampler=DistributedSampler(data, num_replicas=world_size, rank=rank))
        for rank in range(world_size)
    ]


def test_another_number_of_ranks_is_no_mismatch_where_the_global_batch_stays():
    whole, expected = recorder()
    whole.run(ranks(1, 8)[0], seed=1, max_epochs=2)
    state = stopped_engine(lambda: ranks(1, 8)[0])[0].state_dict()
    parts = []
    for rank in range(2):
        engine, seen = recorder()
        engine.load_state_dict(state)
        engine.run(ranks(2, 4)[rank])
        parts.append(seen)
    together = [sorted(mine + other) for mine, other in zip(*parts, strict=True)]
    assert [sorted(batch) for batch in expected[4:]] == together


def test_another_number_of_ranks_is_a_mismatch_where_it_fills_up_to_another_length():
    def rank(world_size, batch_size):
        sampler = DistributedSampler(range(22), num_replicas=world_size, rank=0)
        return DataLoader(range(22), batch_size, sampler=sampler)

    engine, _ = recorder()
    engine.load_state_dict(stopped_engine(lambda: rank(2, 4))[0].state_dict())
    with pytest.raises(ResumeMismatch, match="samples_of_all_ranks"):
        engine.run(rank(4, 2))


def test_another_global_batch_is_a_mismatch():
    engine, _ = recorder()
    engine.load_state_dict(stopped_engine(lambda: ranks(1, 8)[0])[0].state_dict())
    with pytest.raises(ResumeMismatch) as caught:
        engine.run(ranks(2, 8)[0])
    assert caught.value.fields["world_size"] == (1, 2)


def test_another_rank_does_not_take_the_generators_of_the_one_that_saved():
    state = stopped_engine(lambda: ranks(2, 4)[0])[0].state_dict()
    drawn = []
    for rank in range(2):
        engine = DeterministicEngine(lambda engine, batch: drawn.append(torch.rand(1).item()))
        engine.load_state_dict(state)
        engine.run(ranks(2, 4)[rank])
    assert len(set(drawn)) == len(drawn) == 32


# ---------------------------------------------------------------------- order without a list


def test_a_huge_dataset_is_resumed_at_its_end_without_delay_or_memory():
    class Huge(Dataset):
        def __len__(self):
            return 10**12

        def __getitem__(self, index):
            return index

    def make():
        return DataLoader(Huge(), batch_size=4, sampler=KeyedSampler(Huge()))

    last = 10**12 // 4
    engine, seen = recorder()
    engine.load_state_dict({"iteration": last - 2, "epoch_length": last, "max_epochs": 1, "seed": 3})
    engine.run(make())
    assert len(seen) == 2
    assert len(set(flat(seen))) == 8


# ---------------------------------------------------------------------- what is left behind


def test_after_a_run_no_worker_lives_and_nothing_is_held():
    class Batch:
        pass

    held = []

    def collate(samples):
        batch = Batch()
        held.append(weakref.ref(batch))
        return batch

    engine = DeterministicEngine(lambda engine, batch: None)
    engine.run(DataLoader(range(6), batch_size=2, collate_fn=collate), max_epochs=2)
    assert [reference() for reference in held] == [None] * 6
    engine.run(shuffled(num_workers=2, persistent_workers=True), max_epochs=2)
    assert multiprocessing.active_children() == []


def test_an_unreferenced_engine_is_freed_at_once():
    gc.collect()
    gc.disable()
    try:
        engine, _ = stopped_engine()
        reference = weakref.ref(engine)
        del engine
        assert reference() is None
    finally:
        gc.enable()


def test_what_to_do_about_a_mismatch_may_be_set_later_and_is_checked():
    saved = DeterministicEngine(lambda engine, batch: None)
    saved.add_event_handler(Events.ITERATION_COMPLETED(once=2), saved.terminate)
    saved.run(DataLoader(range(12), batch_size=2), seed=1)
    engine = DeterministicEngine(lambda engine, batch: None)
    engine.load_state_dict(saved.state_dict())
    engine.on_mismatch = "warn"

    with pytest.raises(ArgumentError, match="`on_mismatch` must be one of"):
        engine.on_mismatch = "never"
    with pytest.warns(EngineWarning) as told:
        engine.run(DataLoader(range(12), batch_size=3))
    assert "batch_size was 2 and is 3" in str(told[0].message)
