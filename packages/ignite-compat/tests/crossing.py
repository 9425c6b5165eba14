"""A training that is saved by one package and continued by another: this one, or pytorch-ignite.

`benchmarks/ignite_checkpoints.py` runs both halves with whichever is installed as `ignite`; those in `crossing_files`
were written by pytorch-ignite 0.5.5.
"""

from __future__ import annotations

import torch
from torch.optim.lr_scheduler import StepLR

from ignite.engine import Engine, Events
from ignite.handlers import (
    Checkpoint,
    DiskSaver,
    EarlyStopping,
    EMAHandler,
    LinearCyclicalScheduler,
    LRScheduler,
    PiecewiseLinear,
    create_lr_scheduler_with_warmup,
)

EPOCHS, EPOCH_LENGTH = 5, 6


def make_batches():
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(4, 3, generator=generator) for _ in range(EPOCH_LENGTH)]
    return [(x, (x.sum(1) > 0).long()) for x in inputs]


class Training:
    """A small network with everything that a checkpoint may hold."""

    def __init__(self, folder, **options):
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.05)
        self.trainer = Engine(self.step)
        self.scheduler = LRScheduler(StepLR(self.optimizer, step_size=4, gamma=0.8))
        # More schedulers, of options that Adam does not mind to be told, and of an optimizer of no use.
        self.cyclical = LinearCyclicalScheduler(self.optimizer, "eps", 1e-8, 1e-7, 5, cycle_mult=1.5)
        self.piecewise = PiecewiseLinear(self.optimizer, "weight_decay", [(2, 0.0), (20, 0.01)])
        self.other = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        self.warm = create_lr_scheduler_with_warmup(
            LinearCyclicalScheduler(self.other, "lr", 1.0, 0.0, 6), 0.0, 4, warmup_end_value=0.5
        )
        self.ema = EMAHandler(self.model, momentum=0.1)
        self.stopping = EarlyStopping(9, lambda engine: -engine.state.output, self.trainer)
        self.losses, self.rates = [], []
        for handler in (self.scheduler, self.cyclical, self.piecewise, self.warm):
            self.trainer.add_event_handler(Events.ITERATION_STARTED, handler)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.note)
        self.ema.attach(self.trainer)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.stopping)
        self.objects = {
            "model": self.model, "optimizer": self.optimizer, "trainer": self.trainer, "lr_scheduler": self.scheduler,
            "cyclical": self.cyclical, "piecewise": self.piecewise, "warm": self.warm, "ema": self.ema.ema_model,
            "early_stopping": self.stopping,
        }  # fmt: skip
        self.checkpointer = Checkpoint(
            self.objects, DiskSaver(folder, require_empty=False), n_saved=2, include_self=True, **options
        )

    def step(self, engine, batch):
        self.model.train()
        self.optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def note(self, engine):
        self.losses.append(engine.state.output)
        rates = [self.optimizer.param_groups[0][name] for name in ("lr", "eps", "weight_decay")]
        self.rates.append([*rates, self.other.param_groups[0]["lr"]])

    def run(self):
        self.trainer.run(make_batches(), max_epochs=EPOCHS)

    def results(self):
        """Return what can be compared, as JSON would keep it."""
        average = [value.tolist() for value in self.ema.ema_model.parameters()]
        return {
            "losses": self.losses, "rates": self.rates, "average": average, "iteration": self.trainer.state.iteration,
            "stopping": dict(self.stopping.state_dict()),
        }  # fmt: skip


def write(folder):
    """Train to the end, and save behind the third epoch and inside the fourth; return the results."""
    training = Training(folder)
    events = Events.EPOCH_COMPLETED(once=3) | Events.ITERATION_COMPLETED(once=21)
    training.trainer.add_event_handler(events, training.checkpointer)
    training.run()
    return training.results()


def go_on(folder, iteration):
    """Load the checkpoint of an iteration, train to the end; return the results from there on."""
    training = Training(folder)
    objects = {**training.objects, "checkpointer": training.checkpointer}
    path = f"{folder}/checkpoint_{iteration}.pt"
    Checkpoint.load_objects(objects, path)
    kept = dict(training.checkpointer.state_dict())
    training.run()
    return {**training.results(), "kept": kept}
