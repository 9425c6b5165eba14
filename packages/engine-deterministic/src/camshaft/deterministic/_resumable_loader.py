"""A loader that resumes exactly in any loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import Any, ClassVar, NamedTuple, TypeAlias, get_args

from camshaft.deterministic._kinds import describe, find_differences, make_source, require_known, require_single_batches
from camshaft.deterministic._kinds._ranked import RankedSource
from camshaft.deterministic._loader_state import LoaderState, read_state, write_state
from camshaft.deterministic._loading._copy import is_iterable_style
from camshaft.deterministic._loading._fetch import Seeding
from camshaft.deterministic._loading._ranks import ranks_of
from camshaft.deterministic._loading._told_sampler import ToldSampler
from camshaft.deterministic._mismatch import OnMismatch, report
from camshaft.deterministic._random._rng import check_seed, draw_seed
from camshaft.deterministic._reader import Iteration, MakeSource, Reader
from camshaft.deterministic._skip import Skip, as_skip
from camshaft.engine import ArgumentError, ArgumentTypeError, as_integer, length_of

Tell: TypeAlias = Callable[[Mapping[str, tuple[Any, Any]]], None]


class ResumableLoader:
    """A loader for loops of your own whose `state_dict` continues it bit for bit, inside an epoch, too.

    Wraps a `DataLoader`, or any data that a `DeterministicEngine` takes. Every batch is a function of (seed, epoch,
    place in the epoch). So the number of workers, prefetching, and the number of ranks with the same global batch may
    change when it is resumed. The data draws from streams of its own. The generators of the process are left alone,
    unless `seed_steps` asks to seed them.

    Each `for` loop over it is one epoch. A batch counts when the loop gets it, however many the workers have fetched
    ahead. So a state that is taken in the body of the loop goes on with the next batch: `epoch` and `index` say which
    that is, and the batch in the body is `batch_at(loader.epoch, loader.index - 1)`.

    After the last batch the state is still inside the epoch: the resumed loop is empty, and what comes after it is
    done. A state that is taken after a `break` goes on inside that epoch, too. In the same process the next `for` loop
    begins the next epoch. If you break out of loops, call `set_epoch` before each.

    It stands at one place: when an iteration begins, or a state is loaded, an older iteration raises RuntimeError. A
    batch whose fetch has failed is fetched again when it is asked for again.

    Args:
        loader: a `DataLoader`, or other data; it is not changed.
        seed: base seed, -2**63 to 2**64 - 1. None: that of the state that is loaded, else it is drawn from torch's
            default generator now. Several ranks need the same one.
        seed_steps: seed `random`, `numpy.random`, torch and the accelerators for each batch, just before the loop
            gets it, and once more at the end of an epoch. Then dropout and everything else that the step draws is
            exact, with nothing else to save.
        skip: places (epoch, index) of batches to leave out, 0-based; those in a loaded state are left out as well. They
            keep their place: the batches after them are the same as without it, and `len` counts them.
        seeding: as for `DeterministicEngine`.
        on_mismatch: what to do about a state of other data, another seed, or other settings: "error" raises
            `ResumeMismatch`, "warn" goes on with a warning, "ignore" without one.

    Raises:
        ArgumentTypeError: `loader` cannot be iterated over, or is a `ResumableLoader`.
        ArgumentError: an option is unknown or out of range; or the data holds a `ResumableLoader`, or, being a loader,
            an iterator of its own.

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> def loader() -> ResumableLoader:
        ...     return ResumableLoader(DataLoader(range(6), batch_size=2, shuffle=True), seed=7)
        >>> whole = [batch.tolist() for batch in loader()]
        >>> stopped, resumed = loader(), loader()
        >>> first = next(iter(stopped)).tolist()
        >>> resumed.load_state_dict(stopped.state_dict())
        >>> [first] + [batch.tolist() for batch in resumed] == whole
        True
        >>> resumed.epoch, loader().batch_at(0, 2).tolist() == whole[2]
        (1, True)
    """

    # For engines, whose data it may be: iterating it again begins a new pass.
    keeps_place: ClassVar[bool] = False

    def __init__(
        self,
        loader: Iterable[Any],
        seed: int | None = None,
        *,
        seed_steps: bool = False,
        skip: Iterable[tuple[int, int]] = (),
        seeding: Seeding | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> None:
        _require_data(loader)
        if on_mismatch not in get_args(OnMismatch):
            raise ArgumentError(f"`on_mismatch` must be one of {get_args(OnMismatch)}, got {on_mismatch!r}")
        if seeding is not None and seeding not in get_args(Seeding):
            raise ArgumentError(f"`seeding` must be None or one of {get_args(Seeding)}, got {seeding!r}")
        chosen = None if seed is None else as_integer("seed", seed)
        if chosen is not None:
            check_seed(chosen)
        self.loader = loader
        self._seed_steps = bool(seed_steps)
        self._seeding: Seeding | None = seeding
        self._on_mismatch: OnMismatch = on_mismatch
        self._given_seed = chosen
        self._is_seed_drawn = chosen is None
        self._seed = draw_seed() if chosen is None else chosen
        # An iterator lets go of its loader when it has ended; other data is described as it is when it is asked.
        self._described = describe(loader, seeding) if isinstance(loader, Iterator) else None
        self._told: int | None = None  # the epoch that the sampler was told last
        self._loaded: LoaderState | None = None  # until an iteration begins
        self._reader = self._make_reader(as_skip(skip))

    # ------------------------------------------------------------------ iterating

    def __iter__(self) -> Iterator[Any]:
        """Return the batches of the next epoch; after loading a state, those that are left of its epoch.

        Raises:
            ResumeMismatch: by the iterator: what was drawn or fetched again comes out differently.
            RuntimeError: by the iterator: a newer one has begun, a state was loaded, or it is asked in the middle of a
                fetch.
        """
        return Iteration(self._reader)

    def __len__(self) -> int:
        """Return how many batches a whole epoch has, also while only a part of one is left.

        Raises:
            TypeError: the data has no length.
        """
        return len(self.loader)  # type: ignore[arg-type]  # the error is that of the data

    @property
    def epoch(self) -> int:
        """Epoch of the next batch, from 0."""
        return self._reader.epoch

    @property
    def index(self) -> int:
        """Place of the next batch in its epoch, from 0."""
        return self._reader.given

    @property
    def seed(self) -> int:
        """Base seed."""
        return self._seed

    @property
    def skip(self) -> Skip:
        """Places (epoch, index) of the batches that are left out."""
        return self._reader.skip

    @property
    def left_out(self) -> int:
        """How many batches of the epoch that has ended last are left out; engines compare with `len` what they got."""
        length, ended = length_of(self.loader), self._reader.ended
        return sum(epoch == ended and (length is None or index < length) for epoch, index in self.skip)

    @property
    def sampler(self) -> ToldSampler:
        """The sampler of the loader; its `set_epoch` is that of this object.

        Right after a state was loaded, it raises ResumeMismatch if the state has come further than that epoch.
        """
        return ToldSampler(getattr(self.loader, "sampler", None), self._follow)

    def set_epoch(self, epoch: int) -> None:
        """Let the next `for` loop be the epoch of this number, from its start.

        After a state was loaded inside this epoch, the loop goes on inside it. Without a call, epochs are counted.

        Args:
            epoch: number of the epoch, from 0.

        Raises:
            ArgumentError: not an integer of at least 0.
        """
        self._reader.turn_to(as_integer("epoch", epoch, least=0))
        self._told = None

    def batch_at(self, epoch: int, index: int) -> Any:
        """Return any batch, as a loop gets it, augmentation included; no other batch is fetched.

        It is fetched in this process; loops over this loader are not disturbed. Batches that are left out can be had,
        too.

        Args:
            epoch: its epoch, from 0.
            index: its place in the epoch, from 0.

        Raises:
            ArgumentError: a number is no integer or negative, or the data has no batches that can be fetched alone: it
                is neither a loader of a map-style dataset that iterates as torch's own, nor a sequence.
            IndexError: the epoch has no such batch.
        """
        place = as_integer("epoch", epoch, least=0), as_integer("index", index, least=0)
        require_single_batches(self.loader)
        return self._reader.source.batch_at(*place)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of this object.

        Raises:
            AttributeError: it is one of the loader inside, which would not notice.
        """
        if not name.startswith("_") and name != "loader" and hasattr(self.loader, name):
            raise AttributeError(f"`{name}` must be set on the loader inside: `loader.loader.{name}` of this object")
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the loader inside, such as `dataset` or `batch_size`.

        Raises:
            AttributeError: there is none of this name; or libraries would make a loader of it that gives other batches:
                `batch_sampler`, and `dataset` where it is iterable-style.
        """
        if name.startswith("_") or name == "loader":  # protocols that it does not have; a half-made copy
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name == "batch_sampler" or (name == "dataset" and is_iterable_style(self.loader)):
            raise AttributeError(
                f"a ResumableLoader does not give away its {name}: a loader made of it would give other batches. Let "
                "it go on by load_state_dict (transformers: `ignore_data_skip=True`); `loader.loader` is the one that "
                "it was made of"
            )
        return getattr(self.loader, name)

    # ------------------------------------------------------------------ saving

    def state_dict(self) -> dict[str, Any]:
        """Return where the next batch comes from, and what the batches depend on.

        Entries: `epoch`, `index`, `seed`, `skip`; `is_open`, whether the epoch has begun; `data`, what the data saves;
        `deterministic`, which is compared when the state is loaded; `told`, the epoch that `sampler.set_epoch` was told
        last. Numbers, strings, lists, dicts and tensors only, for `torch.load(weights_only=True)`, if the data itself
        saves no others.

        Raises:
            RuntimeError: asked in the middle of a fetch, or the data could not say where it was left.
        """
        position = self._reader.position()
        position = position._replace(data_state=deepcopy(position.data_state))
        return write_state(LoaderState(position, self._seed, self.skip, self._describe(), self._told))

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Let the next `for` loop go on where a state was taken.

        Args:
            state_dict: what `state_dict` has returned; or a dict of `epoch` and `index` alone.

        Raises:
            ArgumentTypeError: not a mapping.
            StateDictError: an entry is missing, unknown or malformed; the loader is unchanged.
            ResumeMismatch: the saved data had another length, batch size, sampler or the like, or another seed; the
                loader is unchanged.
        """
        state = read_state(deepcopy(state_dict))
        differing = {}
        if state.description:
            differing = find_differences(state.description, self.loader, self._describe, state.position)
        if self._given_seed is not None and state.seed not in (None, self._given_seed):
            differing["seed"] = state.seed, self._given_seed
        report(differing, self._on_mismatch)
        seed, is_drawn = self._seed, self._is_seed_drawn
        if self._given_seed is None and state.seed is not None:
            seed, is_drawn = state.seed, False
        self._reader.move_to(state.position, self._source_maker(seed, is_drawn), self.skip | state.skip)
        self._seed, self._is_seed_drawn, self._told, self._loaded = seed, is_drawn, state.told, state

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of: it stands at the same place, and opens the data by itself."""
        own = {name: value for name, value in vars(self).items() if name != "_reader"}
        return {"own": own, "skip": self.skip, "position": self._reader.position()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["own"], _loaded=None)
        self._reader = self._make_reader(state["skip"])
        self._reader.move_to(state["position"], self._source_maker(self._seed, self._is_seed_drawn), state["skip"])

    # ------------------------------------------------------------------ parts of the above

    def _follow(self, epoch: int) -> None:
        """Follow what a library tells the sampler, unless it does not fit to the state that was loaded just before."""
        if self._loaded is not None and self._reader.is_moved:
            report(self._loaded.find_confusion(as_integer("epoch", epoch, least=0)), self._on_mismatch)
        self.set_epoch(epoch)
        self._told = epoch

    def _make_reader(self, skip: Skip) -> Reader:
        keeps_workers = bool(getattr(self.loader, "persistent_workers", False))
        return Reader(self._source_maker(self._seed, self._is_seed_drawn), skip, keeps_workers=keeps_workers)

    def _source_maker(self, seed: int, is_drawn: bool) -> MakeSource:
        """Return what opens the data; it must not refer to this object, whose workers end when nobody else does."""
        tell = partial(report, on_mismatch=self._on_mismatch)
        setting = _Setting(seed, self._seeding, self._seed_steps, is_drawn)
        return partial(_make_source, self.loader, setting, tell)

    def _describe(self) -> dict[str, Any]:
        described = describe(self.loader, self._seeding) if self._described is None else self._described
        return {**described, "seed_steps": self._seed_steps}


class _Setting(NamedTuple):
    """What a loader opens its data with."""

    seed: int
    seeding: Seeding | None
    seed_steps: bool
    is_seed_drawn: bool


def _make_source(loader: Any, setting: _Setting, tell: Tell, skip: Skip) -> RankedSource:
    if setting.is_seed_drawn and ranks_of(loader).world_size > 1:
        raise ArgumentError("`seed` must be given where several ranks share the work, got None on this rank")
    return make_source(
        loader, setting.seed, setting.seeding, tell, isolates=True, seeds_steps=setting.seed_steps, skip=skip
    )


def _require_data(loader: Any) -> None:
    if isinstance(loader, ResumableLoader):
        raise ArgumentTypeError(f"`loader` must not be a ResumableLoader already, got {loader!r}; use it as it is")
    if not isinstance(loader, Iterable) and not hasattr(type(loader), "__getitem__"):
        raise ArgumentTypeError(f"`loader` must be iterable, got {loader!r} of {type(loader)}")
    require_known(loader)
