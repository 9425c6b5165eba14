"""An engine whose runs continue bit for bit, through the public hooks of the core."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, get_args

import torch

from camshaft.deterministic._data import kind_of, require_known
from camshaft.deterministic._fetch import Seeding
from camshaft.deterministic._kernels import deterministic_kernels
from camshaft.deterministic._mismatch import OnMismatch, compare_runs, describe_run, report
from camshaft.deterministic._rng import check_seed
from camshaft.deterministic._rng_state import capture_rng, check_rng, restore_rng
from camshaft.deterministic._source import DataSource as OpenedData
from camshaft.deterministic._source import seed_pass
from camshaft.engine import ArgumentError, DataSource, Engine, Position, RunPlan, State, StateDictError

Batch = TypeVar("Batch")
Output = TypeVar("Output")

# What this engine saves beside the keys of a plain one.
RNG_KEY, RUN_KEY = "rng_states", "deterministic"


class DeterministicEngine(Engine[Batch, Output]):
    """An engine that gives the same batches and the same random numbers wherever its run was started.

    Every sample is a function of (seed, pass over the data, index), so the batches of a `DataLoader`
    are the same for any number of workers, and a run that was stopped at any point continues as if
    it had not been. Random numbers of the step come from the global generators, which are seeded at
    the start of each pass, saved with the engine and put back when its run is resumed.

    Works with loaders of data sets with indices (nothing is fetched to be skipped), with data that saves
    its own position, with lists, and by drawing again with loaders of an `IterableDataset`, generators and
    other iterables. Workers, persistent ones too, end with the run. During a run cuDNN is deterministic
    and, where there is an accelerator, torch uses deterministic algorithms; both are put back afterwards.

    Args:
        process_function: called as `process_function(engine, batch)`.
        on_mismatch: what to do when a saved run is resumed with another data set length, batch size,
            sampler, seed, ...: "error" raises `ResumeMismatch`, "warn" goes on with a warning, "ignore" without.
        seeding: "sample": the generators are seeded before each sample, so that a sample does not depend on
            its batch; about 8 us each. "batch": once per batch, which is as exact and cheaper, but another
            number of ranks then gives other samples. None: "batch" for data sets that fetch whole batches
            themselves (`__getitems__`), as no other way reaches their samples, "sample" for all others.

    Raises:
        ArgumentError: `process_function` is not callable with two arguments, or an option is unknown.

    Examples:
        >>> from camshaft.engine import Events
        >>> from torch.utils.data import DataLoader
        >>> def loader() -> DataLoader:
        ...     return DataLoader(range(8), batch_size=2, shuffle=True)
        >>> def engine(seen: list) -> DeterministicEngine:
        ...     return DeterministicEngine(lambda engine, batch: seen.append(batch.tolist()))
        >>> whole, parts = [], []
        >>> state = engine(whole).run(loader(), seed=7)
        >>> first, second = engine(parts), engine(parts)
        >>> handle = first.add_event_handler(Events.ITERATION_COMPLETED(once=3), first.terminate)
        >>> state = first.run(loader(), seed=7)
        >>> second.load_state_dict(first.state_dict())
        >>> state = second.run(loader())
        >>> len(whole), parts == whole
        (4, True)
    """

    def __init__(
        self,
        process_function: Callable[[Engine[Batch, Output], Batch], Output],
        *,
        on_mismatch: OnMismatch = "error",
        seeding: Seeding | None = None,
    ) -> None:
        super().__init__(process_function)
        if on_mismatch not in get_args(OnMismatch):
            raise ArgumentError(f"`on_mismatch` must be one of {get_args(OnMismatch)}, got {on_mismatch!r}")
        if seeding is not None and seeding not in get_args(Seeding):
            raise ArgumentError(f"`seeding` must be None or one of {get_args(Seeding)}, got {seeding!r}")
        self._on_mismatch: OnMismatch = on_mismatch
        self._seeding: Seeding | None = seeding
        self._source = OpenedData(seeding)
        self._rng: dict[str, Any] | None = None  # between runs: where the generators stood
        self._description: dict[str, Any] = {}  # what the run depends on
        self._described: Any = None  # during a run: the data that it is about
        self._is_loaded = False
        self._has_begun = False

    def run(
        self,
        data: Any = None,
        max_epochs: int | None = None,
        epoch_length: int | None = None,
        seed: int | None = None,
        *,
        max_iters: int | None = None,
    ) -> State[Batch, Output]:
        """Run the process function over `data`; everything else is as for `Engine.run`.

        Args:
            data: an iterable of batches or an iterator; on a continued run None means the data it had.
            max_epochs: epochs to run in all, default 1.
            epoch_length: iterations in an epoch, default `len(data)`.
            seed: base seed, -2**63 to 2**64 - 1. Default: the one that a continued run has; in a new run it is
                drawn from torch's default generator, so `manual_seed` before the run decides it.
            max_iters: iterations to run in all, instead of `max_epochs`.

        Returns:
            The engine's state.

        Raises:
            ArgumentError: there is no data, or as for `Engine.run`.
            ResumeMismatch: a saved run cannot be continued bit for bit with these arguments; the engine
                is unchanged.
        """
        if self.is_running:
            return super().run(data, max_epochs, epoch_length, seed, max_iters=max_iters)
        self._has_begun = False
        with deterministic_kernels():
            try:
                return super().run(data, max_epochs, epoch_length, seed, max_iters=max_iters)
            finally:
                if self._has_begun:
                    self._rng, self._described = capture_rng(), None
                    if not self.should_interrupt:
                        self._source.leave()

    # ------------------------------------------------------------------ hooks of the core

    def prepare(self, plan: RunPlan) -> RunPlan:
        """Settle the base seed, and refuse a run that would not continue the saved one."""
        plan = super().prepare(plan)
        if plan.data is None:
            raise ArgumentError("`data` must be given to a DeterministicEngine, got None; use Engine for runs without")
        require_known(plan.data)
        if plan.seed is not None:
            check_seed(plan.seed)
        description = describe_run(plan.data, self._seeding)
        if plan.resumed:
            report(self._find_differences(plan, description), self._on_mismatch)
            if plan.position.over:
                return plan  # nothing will be run
        self._begin(plan, description)
        return plan if plan.seed is not None else plan.replace(seed=_draw_seed())

    def make_source(self, data: Any) -> DataSource:
        """Return what opens `data` at a position, seeded."""
        return _EngineSource(self, data, super().make_source(data))

    def resumed(self, position: Position) -> None:
        """Put the generators back to where they were left."""
        data, rng, self._rng = self.state.dataloader, self._rng, None
        if rng is not None:
            restore_rng(rng)
        elif position.pass_open and (kind_of(data) != "replayed" or self._description["world_size"] > 1):
            seed_pass(data, self._base_seed(), position.data_pass, position.batch)

    def open_at(self, data: Any, position: Position, plain: DataSource) -> Iterator[Any]:
        """Open the data of this run, seeded."""
        if data is not self._described:  # set_data, or a handler, has put in other data
            self._description = describe_run(data, self._seeding)
            self._described = data
            self._source.forget()
        return self._source.open(data, self._base_seed(), position, lambda _, position: plain.open(position))

    def saved_by(self, data: Any, position: Position) -> Any:
        """Return what is needed to open the pass again beside its position."""
        if not self._source.is_open:  # while STARTED is handled in a continued run
            return position.data_state
        return self._source.data_state(data, holds_batch=position.holds_batch)

    # ------------------------------------------------------------------ saving

    def state_dict(self) -> OrderedDict[str, Any]:
        """Return where the run stands, with its seed, its generators and what it depends on.

        Entries: those of `Engine.state_dict`; `rng_states`, the generators now, or where the last run
        left them; `deterministic`, which is compared when the run is resumed. Tensors, numbers,
        strings, lists and dicts only, for `torch.load(weights_only=True)`.
        """
        entries = super().state_dict()
        # In a continued run they are still to be put back while STARTED is handled.
        entries[RNG_KEY] = capture_rng() if self.is_running and self._rng is None else self._rng
        entries[RUN_KEY] = {**self._description, "has_ended": self._source.has_ended}
        position = self.position
        if position.iteration and not position.pass_open and not position.over:
            entries[RUN_KEY]["between"] = self._source.state_between(self.state.dataloader)
        return entries

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a saved state; the next `run` continues there.

        Args:
            state_dict: what `state_dict` gave out, that of a plain `Engine`, or a plain dict as for
                `Engine.load_state_dict`; `rng_states` may be missing or None.

        Raises:
            ArgumentTypeError: not a mapping.
            StateDictError: an entry is missing, unknown or malformed; the engine is unchanged.
        """
        if not isinstance(state_dict, Mapping):
            super().load_state_dict(state_dict)
            return
        rng, description = state_dict.get(RNG_KEY), state_dict.get(RUN_KEY)
        if rng is not None:
            check_rng(rng)
        if description is not None and not isinstance(description, Mapping):
            raise StateDictError(f"`{RUN_KEY}` must be a mapping, got {description!r}; the engine is unchanged")
        super().load_state_dict({key: state_dict[key] for key in state_dict if key not in (RNG_KEY, RUN_KEY)})
        description = dict(description or {})
        self._source.leave()
        self._source.forget()
        self._source.has_ended = bool(description.pop("has_ended", False))
        self._source.between = description.pop("between", None)
        self._description = description
        self._rng = rng
        self._is_loaded = True

    # ------------------------------------------------------------------ parts of the above

    def _find_differences(self, plan: RunPlan, description: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Return what stands against continuing; other data in the same process is a wish, not a mistake."""
        differing: dict[str, tuple[Any, Any]] = {}
        if self._is_loaded and self._description:
            differing = compare_runs(self._description, description)
        if self.state.seed is not None and plan.seed != self.state.seed:
            differing["seed"] = (self.state.seed, plan.seed)
        return differing

    def _begin(self, plan: RunPlan, description: dict[str, Any]) -> None:
        """Note what the run needs to know; from here on nothing refuses it."""
        goes_on = plan.resumed and not self._is_loaded
        is_own = self._description.get("rank", 0) == description["rank"]
        if not plan.resumed or not is_own:
            self._rng = None  # those of another rank would give this one its numbers
        elif goes_on and self.should_interrupt and self._rng is not None:
            restore_rng(self._rng)  # a suspended run goes on without `resume`
            self._rng = None
        goes_on = goes_on and plan.data is self.state.dataloader
        self._source.begin(is_new=not plan.resumed, goes_on=goes_on, is_own=is_own)
        self._description, self._described = description, plan.data
        self._is_loaded = False
        self._has_begun = True

    def _base_seed(self) -> int:
        seed = self.state.seed
        if seed is None:
            raise ArgumentError("`state.seed` must stay what the run began with, got None")
        return seed


def _draw_seed() -> int:
    """Return a base seed from torch's default generator."""
    return int(torch.randint(0, 2**63 - 1, ()).item())


class _EngineSource:
    """The data of one run, as the engine's own source opens it."""

    def __init__(self, engine: DeterministicEngine[Any, Any], data: Any, plain: DataSource) -> None:
        self._engine = engine
        self._data = data
        self._plain = plain

    def open(self, position: Position) -> Iterator[Any]:
        return self._engine.open_at(self._data, position, self._plain)

    def state(self, position: Position) -> Any:
        return self._engine.saved_by(self._data, position) if position.pass_open else None

    def close(self) -> None:
        """Do nothing: the engine leaves its data when the run ends."""
