"""A training with everything in it that has a state, and with handlers that draw random numbers all over it."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import warnings
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from exact_data import KINDS
from exact_samples import BATCH_SIZE, Noisy, Workers, mix
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric, MeanSquaredError

from camshaft.deterministic import DeterministicEngine
from camshaft.engine import Engine, EngineWarning, Events
from camshaft.handlers import Checkpoint, EarlyStopping
from camshaft.supervised import attach_metrics, create_supervised_evaluator, create_supervised_trainer

EVERYWHERE = tuple(
    event.name
    for event in Events
    if event.name not in ("EXCEPTION_RAISED", "INTERRUPT", "TERMINATE", "TERMINATE_SINGLE_EPOCH")
)


class Setting(NamedTuple):
    """One training.

    Attributes:
        kind: name of the kind of data.
        workers: how its loader fetches.
        epoch_length: as for `run`.
        max_epochs: as for `run`.
        accumulation: iterations that share an optimizer step.
        precision: "full", "bfloat16", or "float16", which has a scaler.
        optimizer: name of a class in `torch.optim`.
        seeding: as for `DeterministicEngine`, without accumulation and scaler; None is the trainer factory's choice.
        saves_at: names of the events at which a checkpoint is asked for.
        order: whether the checkpoint's handler is the "first" or the "last" of each event.
        ends_early: iterations after which an epoch is ended.
        patience: of the early stopping.
        device: where the model is.
        prefetch: whether the next batch is fetched while a step runs; on a GPU only, and not with a `seeding`.
        graph: whether a step is launched as a CUDA graph; on a GPU only, and not with a `seeding`.
    """

    kind: str
    workers: Workers = Workers()
    epoch_length: int | None = None
    max_epochs: int = 2
    accumulation: int = 1
    precision: str = "full"
    optimizer: str = "SGD"
    seeding: str | None = None
    saves_at: tuple[str, ...] = EVERYWHERE
    order: str = "first"
    ends_early: tuple[int, ...] = ()
    patience: int = 50
    device: str = "cpu"
    prefetch: bool = False
    graph: bool = False


Entry = tuple[Any, ...]


class Saved(NamedTuple):
    """A checkpoint: how many entries the log had by then, and its bytes."""

    done: int
    event: str
    content: bytes


class Job:
    """All parts of a training, made anew as a new process would make them.

    Attributes:
        log: what has happened: each event, with a hash of everything that has a state.
        saved: the checkpoints taken.

    Args:
        setting: which training.
        left_out: name of a part that is kept out of the checkpoints.
    """

    def __init__(self, setting: Setting, left_out: str | None = None) -> None:
        self.setting = setting
        self.log: list[Entry] = []
        self.saved: list[Saved] = []
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 1)).to(setting.device)
        self.optimizer = getattr(torch.optim, setting.optimizer)(model.parameters(), lr=0.05, **self._for_graph())
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.7)
        follow: Any = get_ema_multi_avg_fn
        self.average = AveragedModel(model, multi_avg_fn=follow(0.9))
        self.model = model
        self.trainer = self._make_trainer()
        self.evaluator = self._make_evaluator()
        stopping = EarlyStopping(setting.patience, lambda engine: -engine.state.metrics["error"], self.trainer)
        self.parts: dict[str, Any] = {
            "trainer": self.trainer, "model": model, "optimizer": self.optimizer, "schedule": self.schedule,
            "average": self.average, "stopping": stopping,
        }  # fmt: skip
        self.saved_parts = {name: part for name, part in self.parts.items() if name != left_out}
        self._checkpoint = Checkpoint(self.saved_parts, self._keep, n_saved=None)
        stopping.attach(self.evaluator)
        self._attach_handlers()

    # ------------------------------------------------------------------ the parts

    def _make_trainer(self) -> Engine[Any, Any]:
        setting = self.setting
        amp: dict[str, Any] = {"amp_mode": None if setting.precision == "full" else "amp"}
        amp["scaler"] = setting.precision == "float16"
        trainer = create_supervised_trainer(
            self.model, self.optimizer, nn.functional.mse_loss, setting.device, prepare_batch=split,
            deterministic=True, gradient_accumulation_steps=setting.accumulation, prefetch=setting.prefetch,
            cuda_graph=setting.graph, **amp,
        )  # fmt: skip
        if setting.seeding is not None:
            trainer = rebuilt(trainer, seeding=setting.seeding)
        attach_metrics(trainer, {"loss": MeanMetric()}, device=setting.device)
        return trainer

    def _for_graph(self) -> dict[str, bool]:
        """Return the options of the optimizer that a graph needs."""
        if not self.setting.graph:
            return {}
        return {"fused": True} if self.setting.optimizer == "SGD" else {"fused": True, "capturable": True}

    def _make_evaluator(self) -> Engine[Any, Any]:
        """Return an evaluator whose data and whose step draw from the global generators."""

        def noisy_model(model: nn.Module, x: Tensor) -> Tensor:
            output: Tensor = model(x + torch.rand_like(x) * random.random())
            return output

        metrics = {"error": MeanSquaredError()}
        return create_supervised_evaluator(
            self.model, metrics, self.setting.device, prepare_batch=split, model_fn=noisy_model
        )

    def _attach_handlers(self) -> None:
        trainer, setting = self.trainer, self.setting
        for event in Events:
            if event is not Events.STARTED:  # fired again by each process
                trainer.add_event_handler(event, self._note, event.name)
        if setting.order == "first":
            self._attach_checkpoint()
        often = Events.ITERATION_COMPLETED(every=3)
        trainer.add_event_handler(often | Events.EPOCH_STARTED | Events.EPOCH_COMPLETED, self._draw)
        trainer.add_event_handler(Events.GET_BATCH_STARTED(every=5) | Events.ITERATION_STARTED(every=4), self._draw)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: self.average.update_parameters(self.model))
        trainer.add_event_handler(Events.EPOCH_COMPLETED | Events.ITERATION_COMPLETED(every=5), self._evaluate)
        trainer.add_event_handler(Events.EPOCH_COMPLETED | often, lambda: self.schedule.step())
        trainer.add_event_handler(Events.EPOCH_STARTED, self._set_epoch)
        if setting.ends_early:
            early = Events.ITERATION_COMPLETED(once=list(setting.ends_early))
            trainer.add_event_handler(early, lambda: trainer.terminate_epoch())
        if setting.order == "last":
            self._attach_checkpoint()

    def _attach_checkpoint(self) -> None:
        for name in self.setting.saves_at:
            self.trainer.add_event_handler(Events[name], self._checkpoint)
        self.evaluator.add_event_handler(Events.COMPLETED, self._checkpoint)

    # ------------------------------------------------------------------ what handlers do

    def _note(self, name: str) -> None:
        state = self.trainer.state
        seen: tuple[Any, ...] = (state.batch, state.output) if name == "ITERATION_COMPLETED" else ()
        self.log.append((name, state.epoch, state.iteration, fingerprint([generators(self.setting.device), *seen])))

    def _draw(self) -> None:
        on_device = torch.rand(1, device=self.setting.device).item()
        self.log.append(("drawn", torch.rand(1).item(), random.random(), float(np.random.randn()), on_device))

    def _evaluate(self) -> None:
        """Evaluate with an engine of either kind, each over a shuffling loader of its own with noise."""
        results = self.evaluator.run(DataLoader(Noisy(9), BATCH_SIZE, shuffle=True, collate_fn=mix)).metrics
        seen: list[Any] = []
        engine: DeterministicEngine[Any, Any] = DeterministicEngine(lambda _, batch: seen.append(batch))
        engine.run(DataLoader(Noisy(7), BATCH_SIZE, shuffle=True, collate_fn=mix))
        self.log.append(("evaluated", results["error"], fingerprint(seen)))

    def _set_epoch(self) -> None:
        """Tell the sampler the epoch, as a plain loop has to: the engine knows better."""
        sampler: Any = getattr(self.trainer.state.dataloader, "sampler", None)
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(self.trainer.state.epoch + 7)

    def _keep(self, checkpoint: Mapping[str, Any], filename: str) -> None:
        """Keep a checkpoint, at the safe point; one that ends the run goes on in its own way."""
        del filename
        if self.trainer.should_terminate:
            return
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        event = getattr(self.trainer.last_event_name, "name", "")
        self.saved.append(Saved(len(self.log), event, buffer.getvalue()))

    # ------------------------------------------------------------------ running it

    def load(self, content: bytes) -> None:
        """Take over a checkpoint."""
        checkpoint = torch.load(io.BytesIO(content), weights_only=True)
        Checkpoint.load_objects(self.saved_parts, checkpoint, map_location=self.setting.device)

    def run(self, *, resumed: bool = False, iterations: int | None = None) -> None:
        """Run to the end, or for some more iterations; then note where everything stands."""
        trainer, setting = self.trainer, self.setting
        if iterations is not None:
            last = Events.ITERATION_COMPLETED(once=trainer.position.iteration + iterations)
            trainer.add_event_handler(last, self._stop)
        limits: dict[str, Any] = {} if resumed else {"max_epochs": setting.max_epochs}
        if setting.epoch_length is not None:
            limits["epoch_length"] = setting.epoch_length
        with warnings.catch_warnings():
            for message, category in EXPECTED:
                warnings.filterwarnings("ignore", message, category)
            data = KINDS[setting.kind].make(setting.workers)
            trainer.run(data, **limits)
        self.log.append(("standing", *self.standing()))
        if isinstance(data, Generator):  # else its loader is freed in a cycle: torch then waits 5 s for its workers
            data.close()

    def _stop(self) -> None:
        if not self.trainer.should_terminate:
            self.trainer.terminate(skip_completed=True)

    def standing(self) -> tuple[str, ...]:
        """Return a hash of each part's state, but for the engine's position."""
        parts = {name: part.state_dict() for name, part in self.parts.items() if name != "trainer"}
        parts["stateful"] = self.trainer.state_dict().get("stateful")
        return tuple(f"{name} {fingerprint(state)}" for name, state in parts.items())


EXPECTED = (
    ("the run is finished", EngineWarning),  # the last checkpoint of a run has nothing left to do
    ("Detected call of `lr_scheduler.step", UserWarning),  # an epoch's end to come is before the first step here
    ("the data gave .* batches though its len", EngineWarning),  # torch asks a stream no matter what
    ("This DataLoader will create", UserWarning),  # more workers than cores, on purpose
    ("'set_vital' is deprecated", UserWarning),  # torchdata's own
    ("Length of IterableDataset", UserWarning),
)  # fmt: skip


def split(batch: Tensor, device: Any = None, non_blocking: bool = False) -> tuple[Tensor, Tensor]:
    """Return the rows, and what is to be predicted of them."""
    batch = batch.to(device=device, non_blocking=non_blocking)
    return batch, batch.mean(1, keepdim=True)


def rebuilt(trainer: Engine[Any, Any], **options: Any) -> Engine[Any, Any]:
    """Return a deterministic engine with options around the step of a trainer that has no handlers yet."""
    return DeterministicEngine(trainer.process_function, **options)


def generators(device: str) -> list[Any]:
    """Return where the generators of the process stand, and that of the device."""
    states = [random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()]
    return states if device == "cpu" else [*states, torch.get_device_module(device).get_rng_state()]


def fingerprint(value: Any) -> str:
    """Return a hash of nested values, bit for bit."""
    hasher = hashlib.blake2b(digest_size=8)
    _feed(hasher, value)
    return hasher.hexdigest()


def _feed(hasher: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        hasher.update(f"{value.dtype}{tuple(value.shape)}".encode())
        hasher.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray):
        hasher.update(value.tobytes())
    elif isinstance(value, Mapping):
        for key in value:
            _feed(hasher, (key, value[key]))
    elif isinstance(value, list | tuple):
        hasher.update(b"(")
        for item in value:
            _feed(hasher, item)
        hasher.update(b")")
    elif isinstance(value, float):
        hasher.update(struct.pack("d", value))
    else:
        hasher.update(repr(value).encode() + b";")
