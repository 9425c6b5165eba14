"""What is known of the streams of Hugging Face's `datasets` and of `torchdata.nodes`: when their state is not all."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from types import BuiltinFunctionType, MethodType
from typing import Any, NamedTuple

import torch
from torch.utils.data import RandomSampler, SequentialSampler

from camshaft.deterministic._inside import holds_class, search
from camshaft.deterministic._kinds._kind import entries_of
from camshaft.deterministic._random._rng_state import Mark, mark_private, mark_rng
from camshaft.engine import EngineWarning

_HUGGING_FACE, _NODES = "datasets.iterable_dataset", "torchdata.nodes"
# Stages of Hugging Face's that take an example when they give one. They hold nothing back, so their state is all.
# "ExamplesIterable", the user's own generator, is none of them: it is run again up to the place of a state.
_ONE_BY_ONE = {
    "ArrowExamplesIterable", "FilteredExamplesIterable", "FormattedExamplesIterable",
    "HorizontallyConcatenatedMultiSourcesExamplesIterable", "MappedExamplesIterable", "RepeatExamplesIterable",
    "SelectColumnsIterable", "SkipExamplesIterable", "StepExamplesIterable", "TakeExamplesIterable",
    "VerticallyConcatenatedMultiSourcesExamplesIterable",
}  # fmt: skip
# Nodes that go through what they have once.
_FORWARD = {
    "Batcher", "IterableWrapper", "Loader", "LoaderIterator", "ParallelMapper", "PinMemory", "Prefetcher", "Unbatcher",
    "_InlineMapperIter", "_ParallelMapperImpl",
}  # fmt: skip
_BUFFER = "BufferShuffledExamplesIterable"
_IN_THREADS = ("CyclingMultiSourcesExamplesIterable", "RandomlyCyclingMultiSourcesExamplesIterable", "Prefetcher")


class Pipeline(NamedTuple):
    """What some data does with random numbers that it draws.

    Attributes:
        holds_back: whether it draws them for samples that it gives out later, and its state does not say which.
        threads: the stages that draw in threads of their own.
        loses: whether its state lacks samples that it has drawn already.
        orders: how many orders it may draw with its first sample, as torch's `RandomSampler` does.
        has_own_order: whether it may draw an order in another way, too.
    """

    holds_back: bool = False
    threads: tuple[str, ...] = ()
    loses: bool = False
    orders: int = 0
    has_own_order: bool = False

    def watch(self) -> DrawWatch:
        """Return what watches a new pass."""
        return DrawWatch(self.orders, ignores_first=bool(self.threads) and self.has_own_order)

    def warn_of_threads(self) -> None:
        """Warn that random numbers were drawn in threads."""
        warnings.warn(
            f"{', '.join(self.threads)} draws random numbers in threads, which nobody can seed: no run over this data "
            "can be repeated, and it will not be resumed exactly. Draw them in a stage without threads, or seed a "
            "generator of your own in each sample",
            EngineWarning,
            stacklevel=2,
        )


def is_pipeline(data: Any) -> bool:
    """Return whether some data is a stream of Hugging Face's or a loader of torchdata's nodes."""
    return type(data).__module__.startswith((_HUGGING_FACE, _NODES))


def streams_in(data: Any) -> list[Any]:
    """Return the datasets of Hugging Face's that some data holds and that save their place."""
    parts = [each.value for each in search(("", data))]
    return [part for part in parts if type(part).__module__ == _HUGGING_FACE and hasattr(part, "set_epoch")]


def functions_in(data: Any) -> list[Any]:
    """Return the user's functions, methods and callable objects that the stages of such data call."""
    if not is_pipeline(data):
        return []
    found: list[Any] = []
    for stage in (each.value for each in search(("", data)) if is_pipeline(each.value)):
        kept = getattr(stage, "__dict__", {})
        found += [each for each in (*kept.values(), *entries_of(kept.get("kwargs")).values()) if _is_function(each)]
    return found


def remembering_in(data: Any) -> list[Any]:
    """Return what may remember something of these functions, which no state has; of methods their objects, too."""
    functions = [each for each in functions_in(data) if getattr(each, "__name__", "") != "__getitem__"]  # of a dataset
    parts = [(each.__self__, each.__func__) if isinstance(each, MethodType) else (each,) for each in functions]
    return [*{id(part): part for pair in parts for part in pair}.values()]


def _may_restart(data: Any, stages: Sequence[Any]) -> bool:
    """Return whether a node may begin a stream of Hugging Face's anew in a pass: after loading, it begins elsewhere."""
    nodes = {type(stage).__name__ for stage in stages if type(stage).__module__.startswith(_NODES)}
    return bool(nodes - _FORWARD and streams_in(data))


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, type | BuiltinFunctionType) and not is_pipeline(value)


def pipeline_of(data: Any) -> Pipeline | None:
    """Return what is known of some data; None if it is neither of Hugging Face's nor of torchdata's."""
    if not is_pipeline(data):
        return None
    parts = [each.value for each in search(("", data))]
    stages = [part for part in parts if type(part).__module__.startswith((_HUGGING_FACE, _NODES))]
    threads = tuple(dict.fromkeys(type(part).__name__ for part in stages if _works_in_threads(part)))
    samplers = [stage.sampler for stage in stages if type(stage).__name__ == "SamplerWrapper"]
    return Pipeline(
        holds_back=any(map(_holds_back, stages)),
        threads=threads,
        loses=any(type(part).__name__ == _BUFFER for part in parts) or _may_restart(data, stages),
        orders=sum(type(sampler) is RandomSampler for sampler in samplers),
        has_own_order=any(type(sampler) not in (RandomSampler, SequentialSampler) for sampler in samplers),
    )


def holds_back(dataset: Any) -> bool:
    """Return whether the state of a dataset may lack what it has drawn already: samples, or random numbers."""
    pipeline = pipeline_of(dataset)
    return pipeline is not None and pipeline.holds_back


def loses_samples(dataset: Any) -> bool:
    """Return whether the state of a dataset lacks samples that it has drawn already.

    That of Hugging Face's datasets does behind a shuffle buffer.
    """
    is_theirs = type(dataset).__module__.startswith("datasets.")
    return is_theirs and holds_class(dataset, _BUFFER)


def _works_in_threads(stage: Any) -> bool:
    """Return whether a stage runs code of the user's in threads: that may draw."""
    name = type(stage).__name__
    if name not in _IN_THREADS and not (name == "ParallelMapper" and stage.num_workers > 0):
        return False
    return any(_calls_user(each.value) for each in search(("", stage)))


def _calls_user(part: Any) -> bool:
    """Return whether a part of a stage calls a function of the user's."""
    if type(part).__module__.startswith(_HUGGING_FACE):
        return hasattr(part, "function") or "generator" in getattr(part, "kwargs", {})
    called = getattr(part, "map_fn", None) if type(part).__module__.startswith(_NODES) else None
    return called is not None and not isinstance(called, type | BuiltinFunctionType)


def _holds_back(stage: Any) -> bool:
    name = type(stage).__name__
    if type(stage).__module__.startswith(_NODES):
        return name in ("Prefetcher", "Unbatcher") or (name == "ParallelMapper" and stage.num_workers > 0)
    if not name.endswith(("Iterable", "IterableColumn")):
        return False
    is_async = inspect.iscoroutinefunction(getattr(stage, "function", None))
    return name not in _ONE_BY_ONE or is_async or bool(getattr(stage, "batched", False))


class DrawWatch:
    """Notices whether some data has drawn random numbers, beside its order.

    Attributes:
        has_drawn: whether it has.

    Args:
        orders: how many orders may be drawn with the first batch, each with one number of torch's.
        ignores_first: whether the first batch says nothing.
    """

    def __init__(self, orders: int = 0, *, ignores_first: bool = False) -> None:
        self.has_drawn = False
        self._ignores_first = ignores_first
        self._orders = orders
        self._before: Mark | None = None
        self._private: list[bytes] = []

    def begin(self, private: Sequence[Any] = ()) -> None:
        """Note where the generators stand before a batch is drawn.

        Args:
            private: generators of the data's own.
        """
        self._before = None if self.has_drawn else mark_rng()
        self._private = [] if self.has_drawn else [mark_private(each) for each in private]

    def end(self, private: Sequence[Any] = (), *, is_first: bool) -> None:
        """Look at them when it has been drawn."""
        before, self._before = self._before, None
        if before is not None and not (is_first and self._ignores_first):
            now = mark_rng()
            self.has_drawn = not now.is_at(before) and not (is_first and self._is_order(before, now))
            self.has_drawn |= [mark_private(each) for each in private] != self._private

    def _is_order(self, before: Mark, now: Mark) -> bool:
        generator = torch.Generator()
        generator.set_state(before.torch)
        for _ in range(self._orders):
            torch.empty((), dtype=torch.int64).random_(generator=generator)
            if now.is_at(before._replace(torch=generator.get_state())):
                return True
        return False


class ThreadWatch:
    """Notices and tells random numbers that some data draws in threads.

    Args:
        data: the data.
    """

    def __init__(self, data: Any) -> None:
        self._pipeline = pipeline_of(data)
        self._watch: DrawWatch | None = None

    def begin(self) -> DrawWatch | None:
        """Return what watches a new pass, None where there are no threads."""
        if self._pipeline is not None and self._pipeline.threads:
            self._watch = self._pipeline.watch()
        return self._watch

    def warn(self) -> None:
        """Warn if random numbers were drawn in threads."""
        if self._pipeline is not None and self._watch is not None and self._watch.has_drawn:
            self._pipeline.warn_of_threads()
