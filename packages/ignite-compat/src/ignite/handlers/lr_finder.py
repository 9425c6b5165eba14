"""Find a learning rate: raise it while training for a while, and watch the loss."""

from __future__ import annotations

import copy
import math
import numbers
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from camshaft.engine import ArgumentError, ArgumentTypeError, EngineWarning, is_integer
from ignite.engine import Events
from ignite.handlers._annotations import AnyEngine
from ignite.handlers._piecewise import interpolate

__all__ = ["FastaiLRFinder"]


class FastaiLRFinder:
    """Train with a growing learning rate, then put model and optimizer back as they were.

    The learning rate grows from `start_lr` to `end_lr` from iteration to iteration, until the loss
    grows beyond `diverge_th` times its best. All other handlers of the trainer are called as usual.

    Examples:
        >>> from ignite.engine import Engine
        >>> weight = torch.nn.Parameter(torch.tensor(1.0))
        >>> optimizer = torch.optim.SGD([weight], lr=1e-4)
        >>> def step(engine, batch):
        ...     optimizer.zero_grad()
        ...     loss = (weight - batch) ** 2
        ...     loss.backward()
        ...     optimizer.step()
        ...     return loss.item()
        >>> finder = FastaiLRFinder()
        >>> with finder.attach(Engine(step), to_save={"optimizer": optimizer}, smooth_f=0.3) as trainer:
        ...     state = trainer.run([0.0, 0.3, -0.2, 0.1] * 15)
        >>> 0.01 < finder.lr_suggestion() < 1
        True

    Sources:
        L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3.
    """

    def __init__(self) -> None:
        self._history: dict[str, list[Any]] = {}
        self._best_loss = math.inf
        self._has_diverged = False

    @contextmanager
    def attach(
        self,
        trainer: AnyEngine,
        to_save: Mapping[str, Any],
        output_transform: Callable[[Any], Any] = lambda output: output,
        num_iter: int | None = None,
        start_lr: float | list[float] | None = None,
        end_lr: float | list[float] | None = 10.0,
        step_mode: str = "exp",
        smooth_f: float = 0.05,
        diverge_th: float = 5.0,
    ) -> Iterator[AnyEngine]:
        """Let the trainer's runs inside a `with` block search for a learning rate.

        Behind the block everything in `to_save` is as it was before, and the trainer's next run is a new one.

        Args:
            trainer: the trainer.
            to_save: what a step changes, by name: "optimizer" the optimizer, and the model.
            output_transform: makes the loss from the trainer's output.
            num_iter: iterations until the learning rate is `end_lr`; None for all of the run.
            start_lr: the first learning rate, or one per group; None for the optimizer's own.
            end_lr: the last learning rate, or one per group.
            step_mode: "exp": it grows by the same factor each time; "linear": by the same amount.
            smooth_f: share of a new loss in the average that is looked at; from 0 up to 1, where 0
                takes the loss as it is.
            diverge_th: the run ends when that average is so many times its smallest value; at least 1.

        Yields:
            The trainer.

        Raises:
            TypeError: an argument is of the wrong kind.
            ValueError: an argument is out of its range.
        """
        _require_savable(to_save)
        optimizer = to_save["optimizer"]
        if num_iter is not None:
            if not is_integer(num_iter):
                raise ArgumentTypeError(f"`num_iter` must be an integer, got {num_iter!r}")
            if num_iter < 1:
                raise ArgumentError(f"`num_iter` must be at least 1, got {num_iter!r}")
        if not 0 <= smooth_f < 1:
            raise ArgumentError(f"`smooth_f` must be at least 0 and below 1, got {smooth_f!r}")
        if diverge_th < 1:
            raise ArgumentError(f"`diverge_th` must be at least 1, got {diverge_th!r}")
        if step_mode not in ("exp", "linear"):
            raise ArgumentError(f"`step_mode` must be 'exp' or 'linear', got {step_mode!r}")
        starts = _per_group(optimizer, start_lr, "start_lr")
        ends = _per_group(optimizer, end_lr, "end_lr")
        if any(start >= end for start, end in zip(starts, ends, strict=True)):
            raise ArgumentError(f"`start_lr` must be below `end_lr`, got {starts} and {ends}")
        sweep = _Sweep(optimizer, starts, ends, num_iter, step_mode)
        saved = {name: copy.deepcopy(each.state_dict()) for name, each in to_save.items()}
        handles = [
            trainer.add_event_handler(Events.STARTED, self._start, sweep),
            trainer.add_event_handler(
                Events.ITERATION_COMPLETED, self._note, sweep, output_transform, smooth_f, diverge_th
            ),
            trainer.add_event_handler(Events.COMPLETED, self._warn_if_sound),
        ]
        try:
            yield trainer
        finally:
            for handle in handles:
                handle.remove()
            for name, state in saved.items():
                to_save[name].load_state_dict(state)
            state = trainer.state
            state.iteration = state.epoch = 0
            state.epoch_length = state.max_epochs = state.max_iters = None

    def get_results(self) -> dict[str, list[Any]]:
        """Return the learning rates, under "lr", and the averaged losses, under "loss", of the last run."""
        return self._history

    def lr_suggestion(self) -> Any:
        """Return the learning rate at which the loss falls fastest, or a list of one per group.

        Raises:
            RuntimeError: nothing was run yet, or the loss never falls.
        """
        self._require_run("lr_suggestion")
        losses = torch.tensor(self._history["loss"])
        losses = losses[: int(torch.argmin(losses)) + 1]
        if len(losses) < 3:
            raise RuntimeError(
                "the loss must fall first and then rise, and did not; give a smaller `start_lr` or a larger `end_lr`"
            )
        gradients = 0.5 * (losses[2:] - losses[:-2])
        return self._history["lr"][int(torch.argmin(gradients)) + 1]

    def apply_suggested_lr(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the learning rate of an optimizer to the suggestion.

        Args:
            optimizer: the optimizer that was searched for, or one with as many groups.

        Raises:
            RuntimeError: nothing was run yet, or it has another number of groups.
        """
        suggestion = self.lr_suggestion()
        values = suggestion if isinstance(suggestion, list) else [suggestion]
        if len(values) != len(optimizer.param_groups):
            raise RuntimeError(
                f"`optimizer` must have {len(values)} groups like the one searched for, got "
                f"{len(optimizer.param_groups)}"
            )
        for group, value in zip(optimizer.param_groups, values, strict=True):
            group["lr"] = value

    def plot(
        self,
        skip_start: int = 10,
        skip_end: int = 5,
        log_lr: bool = True,
        display_suggestion: bool = True,
        ax: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Draw the loss over the learning rate with matplotlib.

        Args:
            skip_start: how many of the first iterations to leave out.
            skip_end: how many of the last iterations to leave out.
            log_lr: whether the learning rate's axis is logarithmic.
            display_suggestion: whether the suggestion is marked.
            ax: the axes to draw into; None makes new ones.
            kwargs: for `pyplot.subplots`.

        Returns:
            The axes.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
            RuntimeError: nothing was run yet.
            ValueError: `skip_start` or `skip_end` is negative.
        """
        self._require_run("plot")
        for name, value in (("skip_start", skip_start), ("skip_end", skip_end)):
            if value < 0:
                raise ArgumentError(f"`{name}` must be at least 0, got {value!r}")
        try:
            from matplotlib import pyplot as plt
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("plot needs matplotlib; pip install matplotlib", name=error.name) from error
        axes = plt.subplots(**kwargs)[1] if ax is None else ax
        shown = slice(skip_start, -skip_end or None)
        lrs, losses = self._history["lr"][shown], self._history["loss"][shown]
        axes.plot(lrs, losses)
        if display_suggestion:
            self._mark_suggestion(axes, lrs, losses)
        axes.set_xscale("log" if log_lr else "linear")
        axes.set(xlabel="Learning rate", ylabel="Loss")
        return axes

    def _mark_suggestion(self, axes: Any, lrs: list[Any], losses: list[float]) -> None:
        suggestion = self.lr_suggestion()
        if suggestion not in lrs:
            warnings.warn(
                f"the suggestion, {suggestion}, is among the iterations left out; lower `skip_start` to see it",
                EngineWarning,
                stacklevel=3,
            )
            return
        place = lrs.index(suggestion)
        values = suggestion if isinstance(suggestion, list) else [suggestion]
        axes.scatter(values, [losses[place]] * len(values), s=75, marker="o", color="red", zorder=3)

    def _require_run(self, method: str) -> None:
        if not self._history.get("lr"):
            raise RuntimeError(f"{method}() needs a run inside the block of attach()")

    def _start(self, trainer: AnyEngine, sweep: _Sweep) -> None:
        self._history = {"lr": [], "loss": []}
        self._best_loss = math.inf
        self._has_diverged = False
        state = trainer.state
        in_all = state.max_iters
        if in_all is None and state.epoch_length is not None and state.max_epochs is not None:
            in_all = state.epoch_length * state.max_epochs
        if in_all is None and sweep.asked is None:
            raise ArgumentError("`num_iter` must be given when the length of the data is not known, got None")
        sweep.start(in_all)
        if state.max_iters is None and state.epoch_length is not None and in_all is not None and in_all < sweep.count:
            state.max_epochs = math.ceil(sweep.count / state.epoch_length)
            sweep.last = sweep.count

    def _note(
        self,
        trainer: AnyEngine,
        sweep: _Sweep,
        output_transform: Callable[[Any], Any],
        smooth_f: float,
        diverge_th: float,
    ) -> None:
        loss = _as_loss(output_transform(trainer.state.output))
        losses = self._history["loss"]
        if losses and smooth_f > 0:
            loss = smooth_f * loss + (1 - smooth_f) * losses[-1]
        self._best_loss = min(self._best_loss, loss)
        losses.append(loss)
        values = sweep.advance()
        self._history["lr"].append(values if len(values) > 1 else values[0])
        if loss > diverge_th * self._best_loss:
            self._has_diverged = True
            trainer.terminate()
        elif sweep.is_over:
            trainer.terminate()

    def _warn_if_sound(self) -> None:
        if not self._has_diverged:
            warnings.warn(
                "the loss did not diverge; raise `end_lr` or lower `diverge_th`, or look at plot()",
                EngineWarning,
                stacklevel=2,
            )


class _Sweep:
    """The way from the first learning rate to the last one.

    As in pytorch-ignite, the value noted for an iteration is set behind it, for the next one; the
    first iteration takes one step of the way from the optimizer's own learning rate ("exp"), or none.
    """

    def __init__(
        self, optimizer: Any, starts: list[float], ends: list[float], asked: int | None, step_mode: str
    ) -> None:
        self._optimizer = optimizer
        self._starts, self._ends = starts, ends
        self._is_exponential = step_mode == "exp"
        self.asked = asked
        self.count = self.last = 1
        self._done = 0

    def start(self, in_all: int | None) -> None:
        """Begin, with so many iterations in the run."""
        self.count = self.asked if self.asked is not None else in_all or 1
        # As in pytorch-ignite, a run that is long enough goes one iteration beyond what was asked for.
        self.last = self.count + 1
        self._done = 0
        if self._is_exponential:
            own = [float(group["lr"]) for group in self._optimizer.param_groups]
            self._set(self._along(own, 1))

    def advance(self) -> list[float]:
        """Set the next value of each group, and return it."""
        done = self._done
        self._done += 1
        values = self._along(self._starts, done + self._is_exponential)
        self._set(values)
        return values

    @property
    def is_over(self) -> bool:
        """Whether the last value was tried."""
        return self._done >= self.last

    def _along(self, starts: list[float], place: int) -> list[float]:
        """Return the value of each group at a place between 0 and `count`."""
        pairs = zip(starts, self._ends, strict=True)
        if self._is_exponential:
            return [start * (end / start) ** (place / self.count) for start, end in pairs]
        return [interpolate([0, self.count], pair, place) for pair in pairs]

    def _set(self, values: list[float]) -> None:
        for group, value in zip(self._optimizer.param_groups, values, strict=True):
            group["lr"] = value


def _require_savable(to_save: object) -> None:
    if not isinstance(to_save, Mapping):
        raise ArgumentTypeError(f"`to_save` must be a mapping, got {type(to_save)}")
    if "optimizer" not in to_save:
        raise ArgumentError(f"`to_save` must have the key 'optimizer', got {list(to_save)}")
    for name, each in to_save.items():
        for method in ("state_dict", "load_state_dict"):
            if not hasattr(each, method):
                raise ArgumentTypeError(f"`to_save` must hold objects with {method!r}, got {each!r} for {name!r}")


def _per_group(optimizer: Any, value: Any, name: str) -> list[float]:
    """Return a learning rate for each group."""
    groups = optimizer.param_groups
    if value is None:
        return [float(group["lr"]) for group in groups]
    if isinstance(value, list):
        if len(value) != len(groups):
            raise ArgumentError(f"`{name}` must be one for each of {len(groups)} groups, got {len(value)}")
        return [float(each) for each in value]
    if not isinstance(value, numbers.Real):
        raise ArgumentTypeError(f"`{name}` must be a number or a list of numbers, got {type(value)}")
    return [float(value)] * len(groups)


def _as_loss(output: Any) -> float:
    if isinstance(output, torch.Tensor):
        if output.numel() != 1 or output.ndim > 1:
            raise ArgumentError(f"`output_transform` must return a single number, got shape {tuple(output.shape)}")
        return float(output.detach())
    if not isinstance(output, numbers.Real):
        raise ArgumentTypeError(
            f"`output_transform` must return a number or a tensor of one, got {type(output)}; "
            'output_transform=lambda output: output["loss"], say'
        )
    return float(output)
