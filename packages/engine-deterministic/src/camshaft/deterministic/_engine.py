"""An engine whose runs continue bit for bit, through the public hooks of the core."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Self, TypeVar, get_args

from camshaft.deterministic._given_data import GivenData, find_lost_place, find_replaced
from camshaft.deterministic._kinds import describe, draws_from_process, find_differences, make_source, require_known
from camshaft.deterministic._loading._fetch import Seeding
from camshaft.deterministic._loading._ranks import ranks_of
from camshaft.deterministic._mismatch import NEXT_DATA, REPLACED, OnMismatch, report
from camshaft.deterministic._random._kernels import deterministic_kernels
from camshaft.deterministic._random._rng import check_seed, draw_seed
from camshaft.deterministic._random._rng_state import capture_rng, check_rng, restore_rng
from camshaft.deterministic._random._streams import seed_pass
from camshaft.engine import ArgumentError, DataSource, Engine, Position, RunPlan, State, StateDictError, last_values

Batch = TypeVar("Batch")
Output = TypeVar("Output")

# What this engine saves beside the keys of a plain one.
RNG_KEY, RUN_KEY = "rng_states", "deterministic"


class DeterministicEngine(Engine[Batch, Output]):
    """An engine that gives the same batches and the same random numbers wherever its run was started.

    Every sample is a function of (seed, pass over the data, place in its order). So the batches of a `DataLoader` are
    the same for any number of workers, and a run that was stopped anywhere goes on as if it had not been stopped.
    The random numbers of the step come from the global generators. They are seeded at the start of each pass, saved
    with the engine, and put back when its run is resumed.

    Takes loaders of map-style datasets (no sample is fetched to be skipped), data that saves its own place, and
    lists. Other data is drawn again up to its place: loaders of iterable-style datasets, loaders whose class iterates
    in its own way, generators and other iterables. Workers, persistent ones too, end with the run. During a run cuDNN
    is deterministic, and where there is an accelerator, torch uses deterministic algorithms; both settings are put
    back afterwards.

    Args:
        process_function: called as `process_function(engine, batch)`.
        on_mismatch: what to do when a saved run is resumed with another dataset length, batch size, sampler or seed,
            or when data that is drawn again comes out differently: "error" raises `ResumeMismatch`, "warn" goes on
            with a warning, "ignore" without one.
        seeding: "sample" seeds the generators before each sample, so that a sample does not depend on its batch; this
            takes about 8 us. "batch" seeds once per batch, which is as exact and cheaper, but another number of ranks
            then gives other samples. None means "batch" for datasets that fetch whole batches themselves
            (`__getitems__`), as nothing else reaches their samples, and "sample" for all others.

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
        if seeding is not None and seeding not in get_args(Seeding):
            raise ArgumentError(f"`seeding` must be None or one of {get_args(Seeding)}, got {seeding!r}")
        self.on_mismatch = on_mismatch
        self._seeding: Seeding | None = seeding
        self._source: DataSource | None = None  # of the data in use, or last used
        self._source_data: Any = None
        self._described: dict[str, Any] | None = None  # an iterator, before it was drawn from: it lets go of its loader
        self._given = GivenData(None, None, None)  # what the run was given
        self._is_given = False  # by `run`, and not by `set_data` before it
        self._goes_on_at: Position | None = None  # where a loaded run does
        self._rng: dict[str, Any] | None = None  # between runs: where the generators stood
        self._loaded_description: dict[str, Any] = {}  # until the next run: what the loaded one depends on
        self._is_loaded = False
        self._has_begun = False

    @property
    def on_mismatch(self) -> OnMismatch:
        """What to do when a saved run is resumed with something else; it may be changed before a run.

        Raises:
            ArgumentError: it is none of "error", "warn" and "ignore".
        """
        return self._on_mismatch

    @on_mismatch.setter
    def on_mismatch(self, value: OnMismatch) -> None:
        if value not in get_args(OnMismatch):
            raise ArgumentError(f"`on_mismatch` must be one of {get_args(OnMismatch)}, got {value!r}")
        self._on_mismatch = value

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
        self._has_begun, self._is_given = False, data is not None
        with deterministic_kernels():
            try:
                return super().run(data, max_epochs, epoch_length, seed, max_iters=max_iters)
            finally:
                if self._has_begun:
                    self._rng = capture_rng()
                    self._let_go_of_given()

    # ------------------------------------------------------------------ hooks of the core

    def prepare(self, plan: RunPlan) -> RunPlan:
        """Settle the base seed, and refuse a run that would not continue the saved one.

        Args:
            plan: what is known about the run.

        Returns:
            The plan with its seed.

        Raises:
            ArgumentError: there is no data, or the seed is out of range.
            ResumeMismatch: the run would not continue the saved one.
        """
        plan = super().prepare(plan)
        if plan.data is None:
            raise ArgumentError("`data` must be given to a DeterministicEngine, got None; use Engine for runs without")
        require_known(plan.data)
        if plan.seed is not None:
            check_seed(plan.seed)
        if plan.resumed:
            report(self._find_differences(plan), self._on_mismatch)
            if plan.position.over:
                return plan  # nothing will be run
        self._begin(plan)
        return plan if plan.seed is not None else plan.replace(seed=draw_seed())

    def make_source(self, data: Any) -> DataSource:
        """Return what opens `data` at any position, by what kind of data it is.

        Args:
            data: the data of a run. In one that goes on in this process, the same object keeps its source.
        """
        if self._source is None or self._source_data is not data:
            tell = partial(report, on_mismatch=self._on_mismatch)
            self._source = make_source(data, self._base_seed(), self._seeding, tell)
            self._source_data = data
            self._described = describe(data, self._seeding) if isinstance(data, Iterator) else None
        return self._source

    def resumed(self, position: Position) -> None:
        """Put the generators back to where the saved run left them.

        Args:
            position: where the run goes on.

        Raises:
            ResumeMismatch: a handler of STARTED has set other data, which does not go on where it was left.
        """
        report(find_lost_place(self._goes_on_at, position), self._on_mismatch)
        rng, self._rng = self._rng, None
        data = self.state.dataloader
        if rng is not None:
            restore_rng(rng)
        elif position.pass_open and not draws_from_process(data):
            seed_pass(self._base_seed(), ranks_of(data), position.data_pass, position.batch)

    # ------------------------------------------------------------------ saving

    def state_dict(self) -> OrderedDict[str, Any]:
        """Return where the run stands, with its seed, its generators and what it depends on.

        Entries: those of `Engine.state_dict`, always with the last output and metrics; `rng_states`, the generators
        now, or where the last run left them; `deterministic`, which is compared when the run is resumed. Tensors,
        numbers, strings, lists and dicts only, for `torch.load(weights_only=True)`.
        """
        entries = super().state_dict()
        if "last_values" not in entries and (last := last_values(self.state)):
            entries["last_values"] = last  # a plain engine's state has it where the counters do not tell the position
        entries[RNG_KEY] = self._present_rng()
        entries[RUN_KEY] = self._description()
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
        self._source = self._source_data = None
        self._loaded_description = dict(description or {})
        self._rng = rng
        self._is_loaded = True

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy that stands where this engine stands, and is not running; it opens the data by itself."""
        own: dict[str, Any] = {
            "_source": None,  # it has iterators and workers
            "_source_data": None,
            "_given": GivenData(None, None, None),
            "_rng": self._present_rng(),
            "_loaded_description": self._description(),
            "_is_loaded": True,
            "_has_begun": False,
        }
        memo[id(self._source)] = memo[id(self._given)] = None
        copied = super().__deepcopy__(memo)
        vars(copied).update(own)
        return copied

    # ------------------------------------------------------------------ parts of the above

    def _present_rng(self) -> dict[str, Any] | None:
        """Return the generators now, or where the last run left them; while STARTED is handled, those to come."""
        return capture_rng() if self.is_running and self._rng is None else self._rng

    def _find_differences(self, plan: RunPlan) -> dict[str, tuple[Any, Any]]:
        """Return what stands against continuing; other data in the same process is a wish, not a mistake."""
        differing: dict[str, tuple[Any, Any]] = {}
        if self._is_loaded and self._loaded_description:
            describe_now = partial(describe, plan.data, self._seeding)
            saved, position = self._loaded_description, plan.position
            differing = find_differences(saved, plan.data, describe_now, position)
            if self._is_given:
                differing |= find_replaced(saved, plan.data, describe_now, position.data_state)
            if NEXT_DATA in saved:
                differing[NEXT_DATA] = saved[NEXT_DATA], "unknown"
        if self.state.seed is not None and plan.seed != self.state.seed:
            differing["seed"] = (self.state.seed, plan.seed)
        return differing

    def _begin(self, plan: RunPlan) -> None:
        """Note what the run needs to know; from here on nothing refuses it."""
        saved_by = self._loaded_description.get("rank") if self._is_loaded else None
        if not plan.resumed or saved_by not in (None, ranks_of(plan.data).rank):
            self._rng = None  # those of another rank would give this one its numbers
        self._goes_on_at = plan.position if plan.resumed and self._is_loaded else None
        replaced = None
        if plan.resumed and not self._is_given:
            loaded, here = self._loaded_description.get(REPLACED), self._given.replaced_by(plan.data, self._seeding)
            replaced = loaded if self._is_loaded else here
        described = describe(plan.data, self._seeding) if isinstance(plan.data, Iterator) else None
        self._given = GivenData(plan.data, described, replaced)
        if not plan.resumed:
            self._source = self._source_data = None
        self._is_loaded = False
        self._has_begun = True

    def _description(self) -> dict[str, Any]:
        """Return what the run depends on: as it was loaded, until a run has begun; then, the data in use."""
        if self._is_loaded or not self._has_begun:
            return dict(self._loaded_description)
        data, known = self.state.dataloader, self._described
        is_opened = self._source_data is data
        described = dict(known) if known is not None and is_opened else describe(data, self._seeding)
        if (replaced := self._replaced()) is not None:
            described[REPLACED] = dict(replaced)
        return {**described, NEXT_DATA: "waits"} if self.position.pass_open and not is_opened else described

    def _replaced(self) -> Mapping[str, Any] | None:
        return self._given.replaced_by(self.state.dataloader, self._seeding)

    def _let_go_of_given(self) -> None:
        """Keep no data alive that is not in use any more, only its description."""
        self._given = GivenData(self.state.dataloader, None, self._replaced())

    def _base_seed(self) -> int:
        seed = self.state.seed
        if seed is None:
            raise ArgumentError("`state.seed` must stay what the run began with, got None")
        return seed
