"""The examples of Ignite's documentation of `ignite.engine`, with its own imports.

Each is completed only where the page leaves something out (data, models). What it prints is checked, digits that depend
on torch's generator as relations. Corrected misprints: a missing colon after `def predict_on_batch(engine, batch)`.
"""

from enum import Enum

import pytest
import torch

from ignite.engine import DeterministicEngine, Engine, EventEnum, Events, State
from ignite.engine.deterministic import ReproducibleBatchSampler, update_dataloader
from ignite.engine.events import RemovableEventHandle
from ignite.metrics import Accuracy, Average


def same(engine, batch):
    return batch


def classification(batches, size=4):
    torch.manual_seed(0)
    inputs = torch.randn(batches * size, 3)
    targets = (inputs.sum(dim=1) > 0).long()
    return list(zip(inputs.split(size), targets.split(size), strict=True))


def test_a_trainer_logs_every_hundredth_iteration():
    data_loader = classification(850)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    criterion = torch.nn.CrossEntropyLoss()
    printed = []

    def update_model(engine, batch):
        inputs, targets = batch
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    trainer = Engine(update_model)

    @trainer.on(Events.ITERATION_COMPLETED(every=100))
    def log_training(engine):
        batch_loss = engine.state.output
        lr = optimizer.param_groups[0]["lr"]
        e = engine.state.epoch
        n = engine.state.max_epochs
        i = engine.state.iteration
        printed.append((f"Epoch {e}/{n} : {i} - batch loss: ", batch_loss, f", lr: {lr}"))

    trainer.run(data_loader, max_epochs=5)
    assert ("Epoch 1/5 : 100 - batch loss: ", ", lr: 0.01") == printed[0][::2]
    assert "Epoch 2/5 : 1700 - batch loss: " == printed[16][0]
    assert 42 == len(printed)
    assert printed[-1][1] < printed[0][1]


def test_an_evaluator_computes_a_metric():
    model = torch.nn.Linear(3, 2)
    val_dataloader = classification(5)

    def predict_on_batch(engine, batch):
        model.eval()
        with torch.no_grad():
            x, y = batch
            y_pred = model(x)

        return y_pred, y

    evaluator = Engine(predict_on_batch)
    Accuracy().attach(evaluator, "val_acc")
    evaluator.run(val_dataloader)
    correct = sum(int((model(x).argmax(dim=1) == y).sum()) for x, y in val_dataloader)
    assert correct / 20 == evaluator.state.metrics["val_acc"]


def test_an_engine_computes_mean_and_deviation_of_images():
    torch.manual_seed(0)
    images = torch.rand(10, 3, 4, 4)
    train_loader = [{"image": part} for part in images.split(2)]

    def compute_mean_std(engine, batch):
        b, c, *_ = batch["image"].shape
        data = batch["image"].reshape(b, c, -1).to(dtype=torch.float64)
        mean = torch.mean(data, dim=-1).sum(dim=0)
        mean2 = torch.mean(data**2, dim=-1).sum(dim=0)
        return {"mean": mean, "mean^2": mean2}

    compute_engine = Engine(compute_mean_std)
    img_mean = Average(output_transform=lambda output: output["mean"])
    img_mean.attach(compute_engine, "mean")
    img_mean2 = Average(output_transform=lambda output: output["mean^2"])
    img_mean2.attach(compute_engine, "mean2")
    state = compute_engine.run(train_loader)
    state.metrics["std"] = torch.sqrt(state.metrics["mean2"] - state.metrics["mean"] ** 2)
    mean = state.metrics["mean"].tolist()
    std = state.metrics["std"].tolist()
    # Each batch adds the sum over its two images, and the average is taken over batches.
    sums = images.double().mean(dim=(2, 3)).sum(dim=0) / 5
    squares = (images.double() ** 2).mean(dim=(2, 3)).sum(dim=0) / 5
    assert pytest.approx(sums.tolist()) == mean
    assert pytest.approx(torch.sqrt(squares - sums**2).tolist(), nan_ok=True) == std


@pytest.mark.parametrize(
    ("position", "first"), [({"epoch": 3}, (4, 16)), ({"iteration": 500}, (101, 501)), ({"iteration": 499}, (100, 500))]
)
def test_a_run_resumes_from_an_epoch_or_an_iteration(position, first):
    data_loader = list(range(5))
    state_dict = position | {"max_epochs": 102, "epoch_length": len(data_loader)}
    seen = []
    trainer = Engine(same)
    trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda engine: seen.append((engine.state.epoch, engine.state.iteration))
    )
    trainer.load_state_dict(state_dict)
    trainer.run(data_loader)
    assert (first, (102, 510)) == (seen[0], seen[-1])


def test_handlers_take_the_engine_or_nothing():
    engine = Engine(same)
    printed = []

    def print_epoch(engine):
        printed.append(f"Epoch: {engine.state.epoch}")

    engine.add_event_handler(Events.EPOCH_COMPLETED, print_epoch)

    events_list = Events.EPOCH_COMPLETED | Events.COMPLETED

    def execute_something():
        printed.append("something")

    engine.add_event_handler(events_list, execute_something)
    engine.run([0], max_epochs=2)
    assert ["Epoch: 1", "something", "Epoch: 2", "something", "something"] == printed


def test_handlers_are_attached_by_a_decorator():
    engine = Engine(same)
    printed = []

    @engine.on(Events.EPOCH_COMPLETED)
    def print_epoch():
        printed.append(f"Epoch: {engine.state.epoch}")

    @engine.on(Events.EPOCH_COMPLETED | Events.COMPLETED)
    def execute_something():
        printed.append("something")

    engine.run([0])
    assert ["Epoch: 1", "something", "something"] == printed


def test_events_of_ones_own_are_registered():
    class CustomEvents(EventEnum):
        FOO_EVENT = "foo_event"
        BAR_EVENT = "bar_event"

    engine = Engine(same)
    engine.register_events(*CustomEvents)
    fired = []
    engine.add_event_handler(CustomEvents.FOO_EVENT, lambda: fired.append("foo"))
    engine.fire_event(CustomEvents.FOO_EVENT)
    engine.fire_event(CustomEvents.BAR_EVENT)
    assert ["foo"] == fired


def test_events_of_ones_own_have_a_counter():
    class TBPTT_Events(EventEnum):  # noqa: N801  # the page's name
        TIME_ITERATION_STARTED = "time_iteration_started"
        TIME_ITERATION_COMPLETED = "time_iteration_completed"

    TBPTT_event_to_attr = {  # noqa: N806  # the page's name
        TBPTT_Events.TIME_ITERATION_STARTED: "time_iteration",
        TBPTT_Events.TIME_ITERATION_COMPLETED: "time_iteration",
    }

    def step(engine, batch):
        for _ in range(3):
            engine.state.time_iteration += 1
            engine.fire_event(TBPTT_Events.TIME_ITERATION_STARTED)

    engine = Engine(step)
    engine.register_events(*TBPTT_Events, event_to_attr=TBPTT_event_to_attr)
    seen = []
    engine.add_event_handler(
        TBPTT_Events.TIME_ITERATION_STARTED(every=2), lambda: seen.append(engine.state.time_iteration)
    )
    engine.run([0, 1])
    assert ([2, 4, 6], 6) == (seen, engine.state.time_iteration)
    assert issubclass(EventEnum, Enum)


def test_a_handler_may_replace_the_batch():
    seen = []
    trainer = Engine(lambda engine, batch: seen.append(batch))

    @trainer.on(Events.ITERATION_STARTED)
    def switch_batch(engine):
        engine.state.batch = -engine.state.batch

    trainer.run([1, 2])
    assert [-1, -2] == seen


def test_the_data_can_be_switched_in_a_run():
    data1, data2 = [1] * 10, [2] * 10
    switch_iteration = 15
    seen = []

    def train_step(e, batch):
        seen.append(batch)

    trainer = Engine(train_step)

    @trainer.on(Events.ITERATION_COMPLETED(once=switch_iteration))
    def switch_dataloader():
        trainer.set_data(data2)

    trainer.run(data1, max_epochs=3)
    assert [1] * 15 + [2] * 15 == seen


def test_a_state_holds_keys_of_the_user(tmp_path):
    engine = Engine(same)
    engine.state_dict_user_keys.append("alpha")
    engine.state_dict_user_keys.append("beta")

    @engine.on(Events.STARTED)
    def init_user_value(_):
        engine.state.alpha = 0.1
        engine.state.beta = 1.0

    @engine.on(Events.COMPLETED)
    def save_engine(_):
        state_dict = engine.state_dict()
        assert "alpha" in state_dict
        assert "beta" in state_dict
        torch.save(state_dict, tmp_path / "engine.pt")

    engine.run([0, 1], max_epochs=3)
    expected = {"epoch_length": 2, "max_epochs": 3, "iteration": 6, "alpha": 0.1, "beta": 1.0}
    assert expected == dict(torch.load(tmp_path / "engine.pt"))


def test_events_are_filtered():
    engine = Engine(same)
    calls = {"special": [], "every": [], "once": []}

    def custom_event_filter(engine, event):
        return event in [1, 2, 5, 10, 50, 100]

    @engine.on(Events.ITERATION_STARTED(event_filter=custom_event_filter))
    def call_on_special_event(engine):
        calls["special"].append(engine.state.iteration)

    @engine.on(Events.ITERATION_STARTED(every=10))
    def call_every(engine):
        calls["every"].append(engine.state.iteration)

    @engine.on(Events.ITERATION_STARTED(once=50))
    def call_once(engine):
        calls["once"].append(engine.state.iteration)

    engine.run(range(60))
    assert {"special": [1, 2, 5, 10, 50], "every": [10, 20, 30, 40, 50, 60], "once": [50]} == calls


def test_events_are_combined():
    events = Events.STARTED | Events.COMPLETED | Events.ITERATION_STARTED(every=3)
    engine = Engine(same)
    calls = []

    @engine.on(events)
    def call_on_events(engine):
        calls.append((engine.last_event_name, engine.state.iteration))

    engine.run(range(7))
    expected = [
        (Events.STARTED, 0),
        (Events.ITERATION_STARTED, 3),
        (Events.ITERATION_STARTED, 6),
        (Events.COMPLETED, 7),
    ]
    assert expected == calls


def test_a_state_has_the_documented_attributes():
    data = [1, 2]
    state = Engine(same).run(data, max_epochs=2)
    assert isinstance(state, State)
    assert (4, 2, 2, 2, 2) == (state.iteration, state.epoch, state.epoch_length, state.max_epochs, state.output)
    assert (None, data, {}) == (state.seed, state.dataloader, state.metrics)
    assert {Events.EPOCH_COMPLETED.name, Events.COMPLETED.name} == set(state.times)
    assert all(seconds >= 0 for seconds in state.times.values())


def test_a_handler_is_there_for_one_run_only():
    engine = Engine(same)
    printed = []

    def print_epoch(engine):
        printed.append(f"Epoch: {engine.state.epoch}")

    handle = engine.add_event_handler(Events.EPOCH_COMPLETED, print_epoch)
    assert isinstance(handle, RemovableEventHandle)
    with handle:
        engine.run([0])
    engine.run([0])
    assert ["Epoch: 1"] == printed


def test_a_loader_starts_from_a_batch():
    dataloader = torch.utils.data.DataLoader(range(12), batch_size=3)
    start_iteration = 2
    dataloader = update_dataloader(dataloader, ReproducibleBatchSampler(dataloader.batch_sampler))
    dataloader.batch_sampler.start_iteration = start_iteration
    assert [[6, 7, 8], [9, 10, 11]] == [batch.tolist() for batch in dataloader]
    assert 4 == len(list(dataloader))


def test_a_deterministic_engine_saves_its_seed():
    engine = DeterministicEngine(same)
    engine.run([0, 1], max_epochs=2)
    assert {"seed", "epoch_length", "max_epochs", "iteration"} <= set(engine.state_dict())
