"""What differs between a saved run and the one that would continue it, and what to do about it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import torch

from camshaft.engine import EngineWarning, StateDictError

OnMismatch: TypeAlias = Literal["error", "warn", "ignore"]

# In descriptions: that of the data which `run` was given, where other data was in use; and that other data waited for
# the pass to end.
REPLACED, NEXT_DATA = "replaced", "next_data"
# Written down for other ends: the rank whose generators were saved; the environment is compared by its parts.
_NOT_COMPARED = ("rank", "environment", REPLACED, NEXT_DATA)
# The first release that writes each version of what is saved.
RELEASES = {1: "0.1", 2: "0.2"}

# How much all ranks take together, where they share the samples of a dataset.
_SHARED = ("batch_of_all_ranks", "samples_of_all_ranks")
_SHARE_ALIKE = (
    "Another number of processes has the same steps if they take the same batch together: each has a loader of "
    "`batch_size=n // num_replicas` over `KeyedSampler(dataset, num_replicas=..., rank=..., global_batch_size=n)`, and "
    "n stays as it was. A run that was begun over another sampler is resumed exactly by as many processes as before"
)

# By what the name of a field has in it.
_REMEDIES = {
    "data_given_to": (
        "Other data was in use than the saved run had been given, and none of its batches was saved that could tell "
        "one from the other. Give the data that was in use to `engine.set_data(data)`, and call `run()` without data"
    ),
    "place in the data": (
        "A handler of STARTED has set data, which begins anew. Give it to `engine.set_data(data)` before "
        "`run()`, which goes on where it was"
    ),
    "epoch told": (
        "A loop that begins a loader again within one of its epochs, as Lightning does with the shorter one of some, "
        "does not say where it goes on. Let the loaders have one length, or make one loader of a dataset of both"
    ),
    "next_data": (
        "Other data had been put into `state.dataloader`, or given to `set_data` in the middle of a step, and waited "
        "for its turn when the state was taken. Put it in place when its turn has come, or save at a safe point: "
        "`engine.at_safe_point(save)`"
    ),
    "the next one": (
        "The list, tensor or array holds another item there than in the saved run: it is another one, or something has "
        "changed its items or their order, such as a step that changes its batch in place"
    ),
    "as the step left it": (
        "The saved run had changed its list, tensor or array, and the epochs to come would have had the changed one; "
        "or another one was given. Let the step work on a copy of its batch. Give a changed list to "
        "`engine.set_data(data)`, and resume with the data that the saved run had then"
    ),
    "fetched again": (
        "A batch must depend on nothing but its place, the epoch and the random generators. The last one before the "
        "stop was fetched again, and another one came. Either the dataset, `collate_fn` or `worker_init_fn` is another "
        "one; or one of them remembers something from sample to sample, or draws from a generator of its own that was "
        "not found: seed that in a method `set_sample_seed(seed)` of the dataset. "
        "`camshaft.deterministic.check_purity(loader)` helps to find which"
    ),
    "cannot be saved": (
        "The sampler remembers something there from one epoch to the next, and this program has another value. Its "
        "order may be another then, sooner or later. Give its class state_dict and load_state_dict, or let its order "
        "follow from the epoch alone, by a method set_epoch(epoch)"
    ),
    "worker_seeds": (
        "These workers were started when the data was made, before the run: seed the generators before that, or give "
        "the run what a generator function returns, which iterates over the loader only when it is drawn from"
    ),
}


class ResumeMismatch(StateDictError):  # noqa: N818  # the name is public interface
    """A run would be resumed with other data, or elsewhere, than it was saved with.

    Attributes:
        fields: the names of what differs, each with the saved and the present value.

    Args:
        fields: as the attribute.
    """

    def __init__(self, fields: Mapping[str, tuple[Any, Any]]) -> None:
        self.fields = dict(fields)
        remedies = "".join(f". {text}" for part, text in _REMEDIES.items() if any(part in name for name in self.fields))
        if "world_size" in self.fields and any(name in self.fields for name in _SHARED):
            remedies += f". {_SHARE_ALIKE}"
        if "version" in self.fields:
            remedies += f". {_about_releases(*self.fields['version'])}"
        listed = "; ".join(f"{name} was {saved!r} and is {present!r}" for name, (saved, present) in self.fields.items())
        super().__init__(
            f"the run cannot be resumed bit for bit: {listed}. Resume with what it was saved with, or allow the "
            f'difference with on_mismatch="warn"{remedies}'
        )

    def __reduce__(self) -> tuple[type[ResumeMismatch], tuple[dict[str, tuple[Any, Any]]]]:
        return ResumeMismatch, (self.fields,)


def compare_runs(saved: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs, by name: (saved, present).

    Of a state of another version nothing else is compared: its entries have another meaning.

    Another number of ranks is no difference where the global batch stays, and samples do not know
    their rank: then every step sees the same samples.
    """
    if saved.get("version") != present.get("version"):
        return {"version": (saved.get("version"), present.get("version"))}
    names = [*saved, *(name for name in present if name not in saved)]
    differing: dict[str, tuple[Any, Any]] = {}
    for name in names:
        if name in _NOT_COMPARED:
            continue
        if saved.get(name) != present.get(name):
            differing[name] = (saved.get(name), present.get(name))
    if {"batch_size", "world_size"} >= set(differing) and _shares_steps(saved, present):
        differing = {}
    sizes = [_global_batch(each) for each in (saved, present)]
    if "world_size" in differing and "sampler" in present and sizes[0] != sizes[1] and None not in sizes:
        differing["batch_of_all_ranks"] = (sizes[0], sizes[1])
    before, now = saved.get("environment"), present["environment"]
    if isinstance(before, Mapping):
        differing |= {f"environment.{name}": each for name, each in _compare_environments(before, now).items()}
    return differing


def report(differing: Mapping[str, tuple[Any, Any]], on_mismatch: OnMismatch) -> None:
    """Raise, warn or do nothing about differences.

    Raises:
        ResumeMismatch: there are some, and `on_mismatch` is "error".
    """
    if not differing or on_mismatch == "ignore":
        return
    mismatch = ResumeMismatch(differing)
    if on_mismatch == "error":
        raise mismatch
    warnings.warn(str(mismatch), EngineWarning, stacklevel=5)


def _shares_steps(saved: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    """Return whether a step of all ranks together takes the same samples, seeded alike."""
    sizes = [_global_batch(each) for each in (saved, present)]
    knows_ranks = any(name in str(present.get("sampler")) for name in ("DistributedSampler", "KeyedSampler"))
    is_seeded_alike = present.get("seeding") == "sample"
    return sizes[0] is not None and sizes[0] == sizes[1] and knows_ranks and is_seeded_alike


def _global_batch(entries: Mapping[str, Any]) -> int | None:
    batch_size, world_size = entries.get("batch_size"), entries.get("world_size")
    return batch_size * world_size if isinstance(batch_size, int) and isinstance(world_size, int) else None


def _compare_environments(saved: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [name for name in present if saved.get(name) != present[name]]
    if present["accelerator"] == "none" and torch.accelerator.is_available():
        names = [name for name in names if name != "accelerator"]  # not started yet; it may be the one
    return {name: (saved.get(name), present[name]) for name in names}


def _about_releases(saved: object, present: object) -> str:
    """Return what to do with a state of another version: samples are seeded otherwise since."""
    releases = (RELEASES.get(each) if isinstance(each, int) else None for each in (saved, present))
    before, now = (each or "of another time" for each in releases)
    return (
        f"Version {saved} is that of camshaft-engine-deterministic {before}, version {present} that of {now}: they "
        "seed samples, and open data, in other ways. End the run with the release that has begun it. With this one it "
        "goes on, but not bit for bit"
    )
