"""The update of a training step as a CUDA graph: captured once for each shape of batch, and replayed."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from camshaft.engine import EngineWarning, imported
from camshaft.supervised._batch import map_tensors
from camshaft.supervised._graph_key import (
    describe_batch,
    describe_gradients,
    describe_modules,
    describe_optimizer,
    describe_scaler,
)
from camshaft.supervised._hook import call_post_step_hooks, without_post_step_hooks
from camshaft.supervised._optimizer_step import parameters_of

if TYPE_CHECKING:
    from torch.amp.grad_scaler import GradScaler

    from camshaft.supervised._accumulation import MicroBatch
    from camshaft.supervised._cuda_graph import Recorder
    from camshaft.supervised._learning_rate import LearningRates
    from camshaft.supervised._train_step import Update

WARM_UPS = 3  # iterations in which libraries choose their kernels and an optimizer makes its state
MOST_GRAPHS = 16  # each has gradients of its own
MOST_COUNTED = 1000  # shapes of batches
MOST_MOVES = 10


class Graphing(NamedTuple):
    """What it takes to make a graph of an update.

    Attributes:
        recorder: runs and records the update.
        rates: the learning rates that its optimizer reads.
        device: where everything is.
        scaler: scales its loss; None scales nothing.
    """

    recorder: Recorder
    rates: LearningRates
    device: torch.device
    scaler: GradScaler | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A captured update.

    Attributes:
        replay: computes it on what `inputs` hold.
        inputs: the tensors of a batch.
        y_pred, loss: what each replay fills.
        gradients: parameters, and the gradients that each replay fills.
    """

    replay: Callable[[], None]
    inputs: list[torch.Tensor]
    y_pred: Any
    loss: torch.Tensor
    gradients: list[tuple[torch.Tensor, torch.Tensor | None]]


class GraphedUpdate:
    """An update that launches all its kernels at once.

    The first iterations of each shape run as usual; then the update is captured and from there on replayed. What a
    graph has in it is compared before each iteration. When memory has moved, a loaded optimizer say, all graphs are
    given up. When an option has changed, a momentum or a layer that is frozen now, that is another graph.

    Args:
        update: what `make_update` returned.
        modules: what it computes with: the model, and the loss function if that is a module.
        optimizer: steps in it.
        graphing: what it takes to make a graph of it.
    """

    def __init__(
        self,
        update: Update,
        modules: list[torch.nn.Module],
        optimizer: torch.optim.Optimizer,
        graphing: Graphing,
    ) -> None:
        self._update = update
        self._modules = modules
        self._optimizer = optimizer
        self._recorder, self._rates, self._device, self._scaler = graphing
        self._graphs: dict[Hashable, Graph] = {}
        self._warm_ups: dict[Hashable, int] = {}
        self._places: Hashable = None
        self._moves = 0  # since the last capture
        self._told: set[str] = set()

    def zero_grad(self) -> None:
        """Do nothing: zeroing the gradients is part of the update, where a graph has it at no cost."""

    def __call__(self, x: Any, y: Any, micro_batch: MicroBatch) -> tuple[Any, torch.Tensor]:
        """Update the parameters; return the prediction, None if nobody looks at it, and the loss.

        Both are tensors of this iteration alone, without an autograd graph.
        """
        tensors: list[torch.Tensor] = []
        key = (describe_batch((x, y), self._device, tensors), micro_batch, self._settings(micro_batch))
        graph = self._graphs.get(key)
        if graph is None:
            if not self._is_due(key):
                return self._run(key, x, y, micro_batch)
            graph = self._graphs[key] = self._capture(x, y, micro_batch)
            self._moves = 0
        for own, tensor in zip(graph.inputs, tensors, strict=True):
            own.copy_(tensor, non_blocking=True)
        self._rates.fill()
        graph.replay()
        for parameter, gradient in graph.gradients:
            if parameter.grad is not gradient:  # another graph has run, or somebody has zeroed them
                parameter.grad = gradient
        if micro_batch.is_last:
            call_post_step_hooks(self._optimizer)
        y_pred, loss = map_tensors(torch.clone, (graph.y_pred, graph.loss))
        return y_pred, loss

    def _settings(self, micro_batch: MicroBatch) -> Hashable:
        """Return what decides which graph fits; None while none can."""
        modules, optimizer = describe_modules(self._modules), describe_optimizer(self._optimizer)
        places = modules.places, optimizer.places
        if places != self._places:
            self._graphs.clear()
            self._warm_ups.clear()
            self._places = places
            self._moves += 1
            if self._moves > MOST_MOVES:
                self._tell("parameters, or the states of the optimizer, are at another place in each iteration")
        if modules.has_hooks or optimizer.has_hooks:
            self._tell("the model, a parameter or the optimizer has hooks, which a graph cannot call")
            return None
        gradients = None if micro_batch.is_first else describe_gradients(self._optimizer)
        return modules.settings, optimizer.settings, describe_scaler(self._scaler), gradients

    def _is_due(self, key: tuple[Hashable, ...]) -> bool:
        if key[-1] is None or self._warm_ups.get(key, 0) < WARM_UPS:
            return False
        if len(self._graphs) >= MOST_GRAPHS:
            self._tell(f"there are {MOST_GRAPHS} graphs for batches of other shapes; pad batches to a few sizes")
            return False
        return True

    def _run(self, key: Hashable, x: Any, y: Any, micro_batch: MicroBatch) -> tuple[Any, torch.Tensor]:
        """Update as usual, and count that as warming up, unless no graph could do the same."""
        if len(self._warm_ups) >= MOST_COUNTED:
            self._warm_ups.clear()
        done = self._warm_ups.get(key, 0)
        before = _host_generators() if done == WARM_UPS - 1 else None
        y_pred, loss = self._recorder.run(lambda: self._compute(x, y, micro_batch))
        if before is None or before == _host_generators():
            self._warm_ups[key] = done + 1
        else:
            self._tell("the step draws random numbers on the CPU, and a graph would repeat them")
        y_pred, loss = map_tensors(torch.Tensor.detach, (y_pred, loss))
        return y_pred, loss

    def _capture(self, x: Any, y: Any, micro_batch: MicroBatch) -> Graph:
        inputs: list[torch.Tensor] = []

        def own(tensor: torch.Tensor) -> torch.Tensor:
            inputs.append(torch.empty_like(tensor))
            return inputs[-1]

        x, y = map_tensors(own, (x, y))
        with without_post_step_hooks(self._optimizer):
            replay, (y_pred, loss) = self._recorder.record(lambda: self._compute(x, y, micro_batch))
        gradients = [(parameter, parameter.grad) for parameter in parameters_of(self._optimizer)]
        y_pred, loss = map_tensors(torch.Tensor.detach, (y_pred, loss))
        return Graph(replay, inputs, y_pred, loss, gradients)

    def _compute(self, x: Any, y: Any, micro_batch: MicroBatch) -> tuple[Any, torch.Tensor]:
        if micro_batch.is_first:
            self._optimizer.zero_grad()
        return self._update(x, y, micro_batch)

    def _tell(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            warnings.warn(f"`cuda_graph`: a step runs without a graph, because {reason}", EngineWarning, stacklevel=2)


def _host_generators() -> tuple[object, ...]:
    """Return the states of the random number generators that Python code draws from."""
    numpy: Any = imported("numpy.random")  # who has not imported it does not draw from it
    arrays = None if numpy is None else numpy.get_state(legacy=True)
    own = None if arrays is None else (arrays[1].tobytes(), *arrays[2:])
    return random.getstate(), own, torch.get_rng_state().numpy().tobytes()
