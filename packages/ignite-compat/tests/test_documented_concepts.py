"""The examples of Ignite's pages on the engine, on resuming and on determinism, with their own imports.

Completed only where a page leaves something out. The digits on the pages come from older generators of random numbers:
what they show (a resumed run sees the batches of the original one, a handler's seed repeats them) is checked instead.
Corrected misprints: `from import DataLoader`, and calls of `trainer.run` that the pages cut off.
"""

import pytest
import torch
from torch.utils.data import DataLoader

from ignite.engine import DeterministicEngine, Engine, Events
from ignite.engine.deterministic import keep_random_state
from ignite.handlers import Checkpoint, DiskSaver
from ignite.metrics import Accuracy
from ignite.utils import manual_seed


def random_train_data_loader(size):
    data = torch.arange(0, size)
    return DataLoader(data, batch_size=4, shuffle=True)


def random_train_data_generator():
    while True:
        yield torch.randint(0, 100, size=(1,))


def printing_engine(printed, engine_class=DeterministicEngine):
    def print_train_data(engine, batch):
        i = engine.state.iteration
        e = engine.state.epoch
        printed.append((e, i, batch.tolist()))

    return engine_class(print_train_data)


class Training:
    """Everything that the page on resuming leaves out."""

    def __init__(self):
        torch.manual_seed(0)
        x = torch.randn(24, 3)
        self.data_loader = list(zip(x.split(4), (x.sum(dim=1) > 0).long().split(4), strict=True))
        self.model = torch.nn.Linear(3, 2)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.lr_scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 2)
        self.metric = Accuracy()
        self.trainer = Engine(self.step)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: self.lr_scheduler.step())
        self.metric.attach(self.trainer, "accuracy")

    def step(self, engine, batch):
        x, y = batch
        self.optimizer.zero_grad()
        y_pred = self.model(x)
        torch.nn.functional.cross_entropy(y_pred, y).backward()
        self.optimizer.step()
        return y_pred, y

    def objects(self):
        return {
            "trainer": self.trainer,
            "model": self.model,
            "optimizer": self.optimizer,
            "lr_scheduler": self.lr_scheduler,
            "metric": self.metric,
        }

    def result(self):
        weights = [value.tolist() for value in self.model.state_dict().values()]
        state = self.trainer.state
        return weights, state.iteration, state.metrics["accuracy"], self.optimizer.param_groups[0]["lr"]


def test_a_training_resumes_from_its_last_checkpoint(tmp_path):
    whole = Training()
    whole.trainer.run(whole.data_loader, max_epochs=6)

    first = Training()
    to_save = first.objects()
    handler = Checkpoint(to_save, DiskSaver(str(tmp_path), create_dir=True))
    first.trainer.add_event_handler(Events.EPOCH_COMPLETED, handler)
    first.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=3), lambda: first.trainer.terminate())
    first.trainer.run(first.data_loader, max_epochs=6)
    assert ["checkpoint_18.pt"] == [file.name for file in tmp_path.iterdir()]

    second = Training()
    to_load = second.objects()
    checkpoint = torch.load(tmp_path / "checkpoint_18.pt")
    Checkpoint.load_objects(to_load=to_load, checkpoint=checkpoint)
    second.trainer.run(second.data_loader, max_epochs=6)
    assert whole.result() == second.result()


def test_a_resumed_run_sees_the_batches_of_the_original_one():
    printed = []
    trainer = printing_engine(printed)
    manual_seed(56)
    trainer.run(random_train_data_loader(40), max_epochs=2, epoch_length=5)
    original = list(printed)
    assert [(1 + i // 5, i + 1) for i in range(10)] == [(e, i) for e, i, _ in original]
    assert list(range(40)) == sorted(index for *_, batch in original for index in batch)

    printed.clear()
    trainer.load_state_dict({"epoch": 1, "epoch_length": 5, "max_epochs": 2, "rng_states": None})
    manual_seed(56)
    trainer.run(random_train_data_loader(40))
    assert original[5:] == printed


@pytest.mark.parametrize("guarded", [False, True])
def test_a_handler_that_seeds_repeats_batches_unless_it_keeps_the_state(guarded):
    printed = []
    trainer = printing_engine(printed)

    def user_handler():
        torch.manual_seed(12)
        torch.rand(1)

    handler = keep_random_state(user_handler) if guarded else user_handler
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=3), handler)
    manual_seed(15)
    trainer.run(random_train_data_generator(), max_epochs=3, epoch_length=5)
    numbers = [batch for *_, batch in printed]
    cycles = [numbers[start : start + 3] for start in (3, 6, 9, 12)]
    assert guarded == (cycles[0] != cycles[1])
    if not guarded:
        assert [cycles[0]] * 3 == cycles[1:]


def test_a_trainer_loops_over_the_data():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)

    def train_step(trainer, batch):
        x, y = batch
        loss = (parameter * x - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    trainer = Engine(train_step)
    trainer.run([(torch.ones(2), 3 * torch.ones(2))], max_epochs=100)
    assert trainer.state.output < 1e-6


def test_an_epoch_can_be_a_number_of_iterations_over_an_iterator():
    trainer = Engine(lambda engine, batch: batch)
    state = trainer.run(iter(range(20_000)), max_epochs=100, epoch_length=200)
    assert (100, 20_000, 19_999) == (state.epoch, state.iteration, state.output)


def test_the_length_of_an_iterator_is_found():
    state = Engine(lambda engine, batch: batch).run(iter(range(7)))
    assert (1, 7, 7) == (state.epoch, state.iteration, state.epoch_length)


def test_a_step_may_return_anything_of_several_models():
    model_1, model_2 = torch.nn.Linear(2, 1), torch.nn.Linear(3, 1)

    def train_step(trainer, batch):
        loss_1 = model_1(batch["data_1"]).mean()
        loss_2 = model_2(batch["data_2"]).mean()
        return {"loss_1": loss_1, "loss_2": loss_2}

    trainer = Engine(train_step)
    trainer.run([{"data_1": torch.ones(4, 2), "data_2": torch.ones(4, 3)}], max_epochs=100)
    assert {"loss_1", "loss_2"} == set(trainer.state.output)
