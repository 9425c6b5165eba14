"""Samplers that learn from the training: what they have learned by the middle of a pass is put back."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from looping import resume_everywhere, seeding_steps
from torch.utils.data import DataLoader, Sampler

from camshaft.deterministic import DeterministicEngine, ResumableLoader, ResumeMismatch
from camshaft.deterministic.testing import check_data
from camshaft.engine import Events

SAMPLES, BATCHES, EPOCHS = 12, 3, 4


class Hard(Sampler):
    """Begins each pass with the last hard samples."""

    def __init__(self) -> None:
        self.hard: list[int] = []

    def __len__(self) -> int:
        return SAMPLES

    def __iter__(self):
        order = torch.randperm(SAMPLES).tolist()
        return iter((self.hard[-4:] + order)[:SAMPLES])

    def learn(self, batch: torch.Tensor) -> None:
        self.hard.append(int(batch.max()))


class Generated(Hard):
    """Decides on the order when the first sample is asked for."""

    def __iter__(self):
        order = torch.randperm(SAMPLES).tolist()
        yield from (self.hard[-4:] + order)[:SAMPLES]


class SavesItself(Hard):
    def state_dict(self):
        return {"hard": list(self.hard)}

    def load_state_dict(self, state):
        self.hard = list(state["hard"])


class Weighted(Hard):
    """Draws by weights that change one at a time, in a tensor that is longer than what a fingerprint reads."""

    def __init__(self) -> None:
        self.weights = torch.ones(5000)
        self.weights[SAMPLES:] = 0

    def __iter__(self):
        return iter(torch.multinomial(self.weights, SAMPLES, replacement=True).tolist())

    def learn(self, batch: torch.Tensor) -> None:
        self.weights[batch[0]] *= 3


class Counting(Hard):
    """Counts what it gives out, and learns as well."""

    def __init__(self) -> None:
        super().__init__()
        self.given = 0

    def __iter__(self):
        for index in (self.hard[-4:] + torch.randperm(SAMPLES).tolist())[:SAMPLES]:
            self.given += 1
            yield (index + self.given // SAMPLES) % SAMPLES


class Adaptive(Hard):
    """Looks at what it has learned before each sample: its order cannot be drawn again."""

    def __iter__(self):
        for index in range(SAMPLES):
            yield (index + sum(self.hard)) % SAMPLES


def run(sampler: Hard, state: Any = None, stop: int | None = None) -> tuple[list[Any], Any]:
    """Train with a sampler, from a state or from the start; return the batches and the state at the stop."""
    seen: list[Any] = []

    def step(engine, batch):
        seen.append(batch.tolist())
        sampler.learn(batch)

    engine = DeterministicEngine(step)
    if stop is not None:
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=stop), engine.terminate)
    if state is not None:
        engine.load_state_dict(state)
    loader = DataLoader(range(SAMPLES), SAMPLES // BATCHES, sampler=sampler)
    engine.run(loader, **({} if state is not None else {"max_epochs": EPOCHS, "seed": 5}))
    return seen, copy.deepcopy(engine.state_dict())


@pytest.mark.parametrize("kind", [Hard, Generated, SavesItself, Weighted, Counting])
def test_what_was_learned_is_put_back_from_every_iteration(kind):
    whole, _ = run(kind())
    for stop in range(1, EPOCHS * BATCHES):
        _, state = run(kind(), stop=stop)
        rest, _ = run(kind(), state)
        assert rest == whole[stop:], f"resumed after {stop} iterations"


def test_what_the_user_has_loaded_into_a_sampler_does_not_change_that():
    whole, _ = run(SavesItself())
    first = SavesItself()
    _, state = run(first, stop=5)
    second = SavesItself()
    second.load_state_dict(first.state_dict())

    assert run(second, state)[0] == whole[5:]


def test_an_order_that_follows_what_is_learned_at_once_is_refused():
    _, state = run(Adaptive(), stop=2)

    with pytest.raises(ResumeMismatch, match="order of the sampler"):
        run(Adaptive(), state)


@pytest.mark.parametrize("kind", [Hard, SavesItself, Weighted])
def test_a_resumable_loader_puts_it_back_as_well(kind):
    def train(sampler, loader):
        seen = []
        for batch in loader:
            sampler.learn(batch)
            seen.append((batch.tolist(), copy.deepcopy(loader.state_dict())))
        return seen

    def make():
        sampler = kind()
        return sampler, ResumableLoader(DataLoader(range(SAMPLES), 4, sampler=sampler), seed=5)

    sampler, loader = make()
    whole = [train(sampler, loader) for _ in range(3)]
    for number, (_, state) in enumerate(whole[1]):
        sampler, loader = make()
        loader.load_state_dict(state)
        rest = [batch for batch, _ in train(sampler, loader)]
        assert rest == [batch for batch, _ in whole[1][number + 1 :]]
        assert [batch for batch, _ in train(sampler, loader)] == [batch for batch, _ in whole[2]]


class Scored(torch.utils.data.Dataset):
    """Notes of each sample how hard it is, when it is fetched."""

    def __init__(self) -> None:
        self.score = np.zeros(SAMPLES)
        self.cache: dict[int, float] = {}
        self.last = -1

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> float:
        self.score[index] = float(torch.rand(())) + index % 3
        self.cache[index] = self.score[index]
        return index + float(torch.rand(()))

    def hardest(self):
        return np.argsort(-self.score)


class Mining(Sampler):
    """Begins with the samples that its dataset has found hard."""

    def __init__(self, dataset: Scored) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return SAMPLES

    def __iter__(self):
        return iter(np.argsort(-self.dataset.score).tolist())


class MiningByMethod(Mining):
    def __iter__(self):
        return iter(self.dataset.hardest().tolist())


class MiningByHelper(Mining):
    def __init__(self, dataset: Scored) -> None:
        self.hardest = lambda: np.argsort(-dataset.score).tolist()

    def __iter__(self):
        return iter(self.hardest())


@pytest.mark.parametrize("kind", [Mining, MiningByMethod, MiningByHelper])
def test_what_a_sampler_reads_in_the_dataset_is_put_back(kind):
    def make():
        dataset = Scored()
        return DataLoader(dataset, 4, sampler=kind(dataset))

    assert resume_everywhere(seeding_steps(make), epochs=4) > 12
    assert check_data(make, max_epochs=3, epoch_length=BATCHES, every=3) > 5


def test_what_no_sampler_reads_in_the_dataset_is_left_alone():
    dataset = Scored()
    sampler = Mining(dataset)
    loader = ResumableLoader(DataLoader(dataset, 4, sampler=sampler), seed=5)
    list(loader)
    text = repr(loader.state_dict())
    assert "'dataset.score'" in text
    assert "cache" not in text


class CountingPasses(Hard):
    """Shifts its order by the number of its passes, whoever has begun them."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return iter([(place + self.passes) % SAMPLES for place in range(SAMPLES)])


class CountingAtTheEnd(CountingPasses):
    def __iter__(self):
        yield from [(place + self.passes) % SAMPLES for place in range(SAMPLES)]
        self.passes += 1


def evaluated_on_the_training_data(kind, state=None):
    """Train, and evaluate on the same loader after each epoch, or look at its first batch after every second step."""
    seen, states = [], []
    loader = DataLoader(range(SAMPLES), SAMPLES // BATCHES, sampler=kind())
    engine = DeterministicEngine(lambda engine, batch: seen.append(batch.tolist()))
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda: next(iter(loader)))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: DeterministicEngine(lambda *_: None).run(loader, seed=1))
    for event in (Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED):
        engine.add_event_handler(event, lambda: states.append((len(seen), copy.deepcopy(engine.state_dict()))))
    if state is not None:
        engine.load_state_dict(state)
    engine.run(loader, **({} if state is not None else {"max_epochs": EPOCHS, "seed": 5}))
    return seen, states


@pytest.mark.parametrize("kind", [CountingPasses, CountingAtTheEnd, Hard])
def test_what_others_have_drawn_from_the_sampler_meanwhile_counts(kind):
    whole, states = evaluated_on_the_training_data(kind)
    for count, state in states:
        assert evaluated_on_the_training_data(kind, state)[0] == whole[count:], f"resumed after {count} iterations"
