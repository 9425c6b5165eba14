"""Stop a training when a score no longer improves."""

from __future__ import annotations

import logging
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Literal

from camshaft.engine import StateDictError
from camshaft.handlers import EarlyStopping as CamshaftEarlyStopping
from ignite.base import ResettableHandler
from ignite.handlers._annotations import AnyEngine

__all__ = ["EarlyStopping"]


class EarlyStopping(CamshaftEarlyStopping, ResettableHandler):
    """Terminate a trainer when a score has not improved for some calls in a row.

    See :class:`camshaft.handlers.EarlyStopping`.

    Args:
        patience: calls in a row without improvement that end the training.
        score_function: ``f(engine)`` returns the score.
        trainer: the engine to terminate.
        threshold: the score must improve by more than this.
        cumulative: whether small gains add up until they exceed `threshold`.
        threshold_mode: "abs", or "rel" for a share of the best score.
        mode: "max" when a higher score is better, "min" when a lower one is.
        min_delta: the former name of `threshold`.
        min_delta_mode: the former name of `threshold_mode`.
        cumulative_delta: the former name of `cumulative`.

    Attributes:
        logger: where it writes.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        patience: int,
        score_function: Callable[[Any], float],
        trainer: AnyEngine,
        threshold: float = 0.0,
        cumulative: bool = False,
        threshold_mode: Literal["abs", "rel"] = "abs",
        mode: Literal["min", "max"] = "max",
        min_delta: float | None = None,
        min_delta_mode: Literal["abs", "rel"] | None = None,
        cumulative_delta: bool | None = None,
    ) -> None:
        super().__init__(
            patience,
            score_function,
            trainer,
            min_delta=_renamed("min_delta", min_delta, "threshold", threshold),
            cumulative_delta=_renamed("cumulative_delta", cumulative_delta, "cumulative", cumulative),
            threshold_mode=_renamed("min_delta_mode", min_delta_mode, "threshold_mode", threshold_mode),
            mode=mode,
        )
        self.logger = logging.getLogger(f"{__name__}.{type(self).__name__}")

    @property
    def threshold(self) -> float:
        """The score must improve by more than this."""
        return self.min_delta

    @property
    def cumulative(self) -> bool:
        """Whether small gains add up."""
        return self.cumulative_delta

    @property
    def min_delta_mode(self) -> str:
        """The former name of `threshold_mode`."""
        return self.threshold_mode

    def state_dict(self) -> dict[str, Any]:
        """Return the counter, the score to beat and the mode of the threshold."""
        return OrderedDict(super().state_dict(), threshold_mode=self.threshold_mode)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state_dict: what `state_dict` returned, here or in pytorch-ignite.

        Raises:
            ValueError: an entry is missing, unknown or out of its range; nothing is changed then.
        """
        own = dict(state_dict) if isinstance(state_dict, Mapping) else state_dict
        mode = own.pop("threshold_mode", self.threshold_mode) if isinstance(own, dict) else self.threshold_mode
        if mode not in ("abs", "rel"):
            raise StateDictError(f"`threshold_mode` must be 'abs' or 'rel', got {mode!r}")
        super().load_state_dict(own)
        self.threshold_mode = mode


def _renamed(former: str, former_value: Any, name: str, value: Any) -> Any:
    if former_value is None:
        return value
    warnings.warn(f"`{former}` is deprecated: it is called `{name}` now", DeprecationWarning, stacklevel=3)
    return former_value
