"""The promise: a run resumed from any of its checkpoints is bitwise the run that was never stopped."""

from __future__ import annotations

import hashlib
import io
import random
import signal
import subprocess
import sys
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from noisy_data import Keeping, Noisy, Stream, noise
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
)
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic import DeterministicEngine, KeyedSampler
from camshaft.engine import Engine, EngineWarning, Events

SIZE = Noisy.size


def mix(samples):
    batch = default_collate(samples)
    share = np.random.beta(1, 1)
    return share * batch + (1 - share) * batch[torch.randperm(len(batch))] + random.random()


class AtOnce(Noisy):
    def __getitems__(self, indices):
        return [noise(index) for index in indices]


class SizedStream(Stream):
    def __len__(self):
        return SIZE


class SavingStream(Keeping, IterableDataset):
    pass


class SavingData(SavingStream):
    """Data, not a data set: its own batches, its own state."""

    def __iter__(self):
        for sample in super().__iter__():
            yield sample.unsqueeze(0)


class Unknown(Sampler):
    """A sampler with generators of its own that nobody seeds."""

    def __init__(self):
        self.rng = np.random.default_rng()
        self.generator = torch.Generator()

    def __iter__(self):
        order = self.rng.permutation(SIZE) + torch.randperm(SIZE, generator=self.generator).numpy()
        for index in order:
            yield (int(index) + random.randrange(SIZE)) % SIZE

    def __len__(self):
        return SIZE


class Endless:
    def __iter__(self):
        while True:
            yield [random.randrange(SIZE) for _ in range(3)]


class Lazy:
    """Batches that are drawn only when they are looked at."""

    def __iter__(self):
        for _ in range(5):
            yield (random.randrange(SIZE) for _ in range(3))


class Iterable:
    """Can be iterated again and again, and only from its start."""

    def __iter__(self):
        for index in torch.randperm(7):
            yield noise(index).unsqueeze(0)


def generate():
    """Never ends, and draws from wherever the generators stand."""
    scale = random.random()
    while True:
        yield torch.rand(2, 5) * scale


def loader(dataset=None, workers=0, **options):
    persistent = options.pop("persistent", False) and workers > 0
    return DataLoader(
        Noisy() if dataset is None else dataset,
        4 if not {"batch_size", "batch_sampler"} & set(options) else options.pop("batch_size", 1),
        num_workers=workers,
        collate_fn=options.pop("collate_fn", mix),
        persistent_workers=persistent,
        **options,
    )


DATA = {
    "shuffled": lambda: loader(shuffle=True),
    "in order": loader,
    "drop last": lambda: loader(shuffle=True, drop_last=True),
    "own generator": lambda: loader(shuffle=True, generator=torch.Generator()),
    "with replacement": lambda: loader(sampler=RandomSampler(Noisy(), replacement=True, num_samples=30)),
    "weighted": lambda: loader(sampler=WeightedRandomSampler([1.0, 2.0] * 11, 30)),
    "subset": lambda: loader(sampler=SubsetRandomSampler(range(3, 20))),
    "distributed": lambda: loader(sampler=DistributedSampler(Noisy(), num_replicas=2, rank=1)),
    "keyed": lambda: loader(sampler=KeyedSampler(Noisy())),
    "unknown sampler": lambda: loader(sampler=Unknown()),
    "lazy batches": lambda: loader(batch_sampler=Lazy()),
    "list of batches": lambda: loader(batch_sampler=[[1, 2, 3], [4], [5, 6]]),
    "single samples": lambda: loader(batch_size=None, shuffle=True, collate_fn=torch.clone),
    "whole batches": lambda: loader(AtOnce(), shuffle=True),
    "stream": lambda: loader(Stream()),
    "sized stream": lambda: loader(SizedStream()),
    "saving stream": lambda: loader(SavingStream()),
    "saving data": SavingData,
    "list": lambda: [noise(index).unsqueeze(0) for index in map(Seeded(), range(6))],
    "iterable": Iterable,
}
# Without an end, or with a length that only the epoch gives.
ENDLESS = {"generator": generate, "endless sampler": lambda: loader(batch_sampler=Endless())}


class Seeded:
    """Seeds before each element, so that a list of noise is the same each time it is made."""

    def __call__(self, index):
        random.seed(index)
        np.random.seed(index)
        torch.manual_seed(index)
        return index


class Trial:
    """A training with dropout and noise from three libraries; writes down all that happens."""

    def __init__(self, **options):
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        self.log = []
        self.saved = []
        self.engine = DeterministicEngine(self.step, **options)
        for event in Events:
            if event is not Events.STARTED:
                self.engine.add_event_handler(event, self.note, event.name)
        self.engine.add_event_handler(Events.EPOCH_STARTED | Events.EPOCH_COMPLETED, self.draw)
        self.engine.add_event_handler(
            Events.ITERATION_COMPLETED(every=2) | Events.GET_BATCH_STARTED(every=5), self.draw
        )

    def step(self, engine, batch):
        self.optimizer.zero_grad()
        loss = self.model(batch).square().mean() + random.random() + np.random.rand()
        loss.backward()
        self.optimizer.step()
        self.log.append((hashlib.sha256(batch.numpy().tobytes()).hexdigest(), loss.item()))

    def note(self, name):
        self.log.append((name, self.engine.state.epoch, self.engine.state.iteration))

    def draw(self):
        self.log.append((torch.rand(1).item(), random.random(), np.random.randn()))

    def parts(self):
        return {"engine": self.engine, "model": self.model, "optimizer": self.optimizer}

    def save(self):
        """Keep a checkpoint and how much had been written down by then."""
        buffer = io.BytesIO()
        torch.save({name: part.state_dict() for name, part in self.parts().items()}, buffer)
        self.saved.append((len(self.log), buffer.getvalue()))

    def save_at(self, *events):
        for event in events:
            self.engine.add_event_handler(event, lambda: self.engine.at_safe_point(self.save))

    def load(self, checkpoint):
        saved = torch.load(io.BytesIO(checkpoint), weights_only=True)
        for name, part in self.parts().items():
            part.load_state_dict(saved[name])

    def run(self, data, **limits):
        if isinstance(data, list):
            Seeded()(3)
        with warnings.catch_warnings():
            # The last checkpoint of a run has nothing left to do.
            warnings.filterwarnings("ignore", message="the run is finished", category=EngineWarning)
            # An epoch's end that is still to come is one before the first step of this process.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step", category=UserWarning)
            self.engine.run(data, **limits)
        parameters = b"".join(value.detach().numpy().tobytes() for value in self.model.parameters())
        self.log.append(hashlib.sha256(parameters).hexdigest())


EVERYWHERE = (
    Events.STARTED, Events.EPOCH_STARTED, Events.GET_BATCH_STARTED, Events.ITERATION_COMPLETED,
    Events.DATALOADER_STOP_ITERATION, Events.EPOCH_COMPLETED, Events.COMPLETED,
)  # fmt: skip


def whole_run(make, events=EVERYWHERE, extend=None, **limits):
    trial = Trial()
    if extend is not None:
        extend(trial)
    trial.save_at(*events)
    Seeded()(7)
    trial.run(make(), **limits)
    return trial


def count_mismatches(whole, make, extend=None, every=1, **options):
    """Resume from the checkpoints of a run; return how many resumes there were and how many went another way."""
    resumed = wrong = 0
    for done, checkpoint in islice(whole.saved, 0, None, every):
        trial = Trial(**options)
        if extend is not None:
            extend(trial)
        Seeded()(done)
        trial.load(checkpoint)
        trial.run(make())
        resumed += 1
        wrong += whole.log[done:] != trial.log
    return resumed, wrong


@pytest.mark.parametrize("name", DATA)
def test_every_checkpoint_of_two_epochs_resumes_exactly(name):
    whole = whole_run(DATA[name], max_epochs=2)
    resumed, wrong = count_mismatches(whole, DATA[name])
    assert resumed > 15
    assert wrong == 0


@pytest.mark.parametrize("epoch_length", [3, 4, 6, 8, 13])
@pytest.mark.parametrize("name", ["shuffled", "sized stream", "iterable"])
def test_an_epoch_may_be_shorter_or_longer_than_the_data(name, epoch_length):
    whole = whole_run(
        DATA[name], (Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED), epoch_length=epoch_length, max_epochs=2
    )
    resumed, wrong = count_mismatches(whole, DATA[name])
    assert resumed == 2 * epoch_length + 2
    assert wrong == 0


@pytest.mark.parametrize("name", ENDLESS)
def test_data_without_an_end_resumes_exactly(name):
    whole = whole_run(ENDLESS[name], max_epochs=2, epoch_length=5)
    resumed, wrong = count_mismatches(whole, ENDLESS[name])
    assert resumed > 15
    assert wrong == 0


def test_a_run_limited_by_iterations_resumes_exactly():
    whole = whole_run(DATA["shuffled"], max_iters=9)
    assert count_mismatches(whole, DATA["shuffled"]) == (len(whole.saved), 0)


@pytest.mark.parametrize("seeding", ["sample", "batch"])
def test_either_way_of_seeding_resumes_exactly(seeding):
    trial = Trial(seeding=seeding)
    trial.save_at(Events.ITERATION_COMPLETED)
    trial.run(DATA["shuffled"](), max_epochs=2, seed=1)
    assert count_mismatches(trial, DATA["shuffled"], seeding=seeding) == (12, 0)


def evaluate(trial):
    """Evaluate in a handler, drawing random numbers there, with an engine of either kind."""

    def score(engine, batch):
        trial.log.append(trial.model(batch).sum().item())

    def run_both():
        Engine(score).run(DATA["shuffled"]())
        DeterministicEngine(score).run(DATA["shuffled"]())

    trial.engine.add_event_handler(Events.EPOCH_COMPLETED | Events.ITERATION_COMPLETED(every=5), run_both)


def end_epochs_early(trial):
    trial.engine.add_event_handler(Events.ITERATION_COMPLETED(once=[3, 8]), lambda: trial.engine.terminate_epoch())


def reseed(trial):
    trial.engine.add_event_handler(Events.ITERATION_STARTED(every=3), lambda: torch.manual_seed(12))


def schedule(trial):
    scheduler = torch.optim.lr_scheduler.StepLR(trial.optimizer, 1, 0.5)
    trial.parts = lambda: {**Trial.parts(trial), "schedule": scheduler}
    trial.engine.add_event_handler(Events.EPOCH_COMPLETED, scheduler.step)


@pytest.mark.parametrize("extend", [evaluate, end_epochs_early, reseed, schedule])
@pytest.mark.parametrize("name", ["shuffled", "list", "iterable"])
def test_handlers_may_evaluate_reseed_schedule_and_end_epochs(name, extend):
    whole = whole_run(DATA[name], (Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED), extend, max_epochs=2)
    resumed, wrong = count_mismatches(whole, DATA[name], extend)
    assert resumed >= 9
    assert wrong == 0


@pytest.mark.parametrize("name", ["saving stream", "saving data", "generator"])
def test_data_that_keeps_its_place_goes_on_there_after_epochs_that_were_ended(name):
    make = {**DATA, **ENDLESS}[name]
    whole = whole_run(make, extend=end_epochs_early, max_epochs=4, epoch_length=5)
    resumed, wrong = count_mismatches(whole, make, end_epochs_early)
    assert resumed > 30
    assert wrong == 0


@pytest.mark.parametrize("name", ["shuffled", "stream", "saving stream", "saving data", "iterable"])
def test_a_resumed_run_is_resumed_again_from_where_it_started_and_further_on(name):
    whole = whole_run(DATA[name], (Events.ITERATION_COMPLETED,), max_epochs=2)
    for done, checkpoint in islice(whole.saved, 1, None, 3):
        second = Trial()
        second.save_at(Events.STARTED, Events.ITERATION_COMPLETED)
        second.load(checkpoint)
        second.run(DATA[name]())
        for further, again in (second.saved[0], second.saved[len(second.saved) // 2]):
            third = Trial()
            third.load(again)
            third.run(DATA[name]())
            assert whole.log[done:] == second.log[:further] + third.log


@pytest.mark.parametrize("name", ["shuffled", "list", "stream", "saving data", "iterable"])
@pytest.mark.parametrize("stop", ["terminate", "interrupt", "fail"])
def test_a_stopped_run_goes_on_in_the_same_process(name, stop):
    whole = whole_run(DATA[name], (), max_epochs=2)
    ends = {"TERMINATE", "INTERRUPT", "EXCEPTION_RAISED", "COMPLETED"}
    for at in (1, 4, 6, 7, 9):
        trial = Trial()

        def end(trial=trial):
            if stop == "fail":
                raise LookupError
            getattr(trial.engine, stop)()

        trial.engine.add_event_handler(Events.ITERATION_COMPLETED(once=at), end)
        Seeded()(7)
        data = DATA[name]()
        if isinstance(data, list):
            Seeded()(3)
        try:
            trial.engine.run(data, max_epochs=2)
        except LookupError:
            assert stop == "fail"
        Seeded()(at)  # whatever is drawn in between makes no difference
        trial.run(data)
        happened = [entry for entry in trial.log if entry[0] not in ends]
        assert [entry for entry in whole.log if entry[0] not in ends] == happened


@pytest.mark.parametrize("name", ["shuffled", "stream", "saving stream", "saving data", "iterable"])
def test_what_is_saved_after_an_interruption_resumes_exactly(name):
    def interrupt(trial):
        trial.engine.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda: trial.engine.interrupt())

    whole = whole_run(DATA[name], (), interrupt, max_epochs=2)
    suspended = len(whole.log)
    whole.save()
    whole.save_at(Events.ITERATION_COMPLETED)
    whole.run(whole.engine.state.dataloader)
    del whole.log[suspended - 1]  # the hash of the parameters halfway
    whole.saved = [(done - 1, checkpoint) for done, checkpoint in whole.saved]
    resumed, wrong = count_mismatches(whole, DATA[name])
    assert resumed > 6
    assert wrong == 0


@pytest.mark.parametrize(("saved", "resumed"), [(0, 2), (2, 0), (2, 2), (1, 3)])
@pytest.mark.parametrize("persistent", [False, True])
def test_the_number_of_workers_may_change(saved, resumed, persistent):
    def make(workers):
        options = {"prefetch_factor": 5} if workers == 3 else {}
        return lambda: loader(shuffle=True, workers=workers, persistent=persistent, **options)

    whole = whole_run(make(saved), (Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED), max_epochs=2, epoch_length=8)
    assert whole_run(make(0), (), max_epochs=2, epoch_length=8).log == whole.log
    assert count_mismatches(whole, make(resumed), every=4) == (5, 0)


@pytest.mark.parametrize("name", [Stream, SavingStream])
def test_a_stream_with_workers_resumes_exactly(name):
    def make():
        return loader(name(), workers=2, persistent=True)

    whole = whole_run(make, (Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED), max_epochs=2, epoch_length=4)
    assert count_mismatches(whole, make, every=3) == (4, 0)


def test_of_what_is_skipped_only_the_last_batch_is_fetched_to_compare_it():
    fetched = []

    class Counting(Noisy):
        def __getitem__(self, index):
            fetched.append(index)
            return noise(index)

    def make():
        return loader(Counting(), shuffle=True)

    whole = whole_run(make, (Events.ITERATION_COMPLETED,), max_epochs=1)
    for done, (_, checkpoint) in enumerate(whole.saved, 1):
        fetched.clear()
        trial = Trial()
        trial.load(checkpoint)
        trial.run(make())
        size = min(SIZE, 4 * done) - 4 * (done - 1)
        before, last, again = fetched[:size], fetched[size : 2 * size], fetched[2 * size : 3 * size]
        assert set(before) == set(last[: size // 2])  # under other random numbers
        assert last == again
        assert max(0, SIZE - 4 * done) == len(fetched) - 3 * size


def test_a_run_resumed_at_the_end_of_its_data_starts_workers_once_to_compare_the_last_batch():
    made = []

    def make():
        made.append(WorkerCount())
        return loader(shuffle=True, workers=2, worker_init_fn=made[-1])

    whole = whole_run(make, (Events.EPOCH_COMPLETED,), max_epochs=1)
    trial = Trial()
    trial.load(whole.saved[0][1])
    trial.run(make())
    assert whole.log[whole.saved[0][0] :] == trial.log
    assert made[-1].count() == 2
    assert made[0].count() == 2


class WorkerCount:
    """A `worker_init_fn` that counts, across processes, how often it was called."""

    def __init__(self):
        self.value = torch.multiprocessing.get_context("fork").Value("i", 0)

    def __call__(self, worker_id):
        with self.value.get_lock():
            self.value.value += 1

    def count(self):
        return self.value.value


PROGRAM = Path(__file__).parent / "programs" / "train.py"


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Return what a run prints that was never stopped, in a fresh process."""
    command = [sys.executable, str(PROGRAM), str(tmp_path_factory.mktemp("whole") / "run.pt"), "--epoch-length", "5"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_killed_process_resumes_exactly_with_other_workers_again_and_again(warm_python, tmp_path, expected):
    checkpoint = tmp_path / "run.pt"
    for kill_at, workers in ((4, 0), (9, 2)):
        run = warm_python.run(
            PROGRAM, checkpoint, "--kill-at", kill_at, "--workers", workers, "--epoch-length", 5, "--every", 2
        )
        assert -signal.SIGKILL == run.returncode, run.stderr
    run = warm_python.run(PROGRAM, checkpoint, "--workers", 2)
    assert run.returncode == 0, run.stderr
    assert expected == run.stdout


def test_workers_may_be_spawned(warm_python, tmp_path, expected):
    run = warm_python.run(PROGRAM, tmp_path / "run.pt", "--workers", 1, "--start-method", "spawn", "--epoch-length", 5)
    assert run.returncode == 0, run.stderr
    assert expected == run.stdout
