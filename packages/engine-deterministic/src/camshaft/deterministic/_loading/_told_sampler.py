"""The sampler of a loader, as training libraries see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


class ToldSampler:
    """Stands before a sampler and passes `set_epoch` on to the loader, which tells the sampler itself.

    Loops for several ranks call `loader.sampler.set_epoch(epoch)`, and so does Lightning. Everything else is the
    sampler's.

    Args:
        sampler: the sampler of the loader's data; None if it has none.
        set_epoch: the loader's.
    """

    def __init__(self, sampler: Any, set_epoch: Callable[[int], None]) -> None:
        self._sampler = sampler
        self.set_epoch = set_epoch

    def __iter__(self) -> Iterator[Any]:
        return iter(self._sampler)

    def __len__(self) -> int:
        return len(self._sampler)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_sampler":  # protocols that it does not have; a half-made copy
            raise AttributeError(name)
        return getattr(self._sampler, name)
