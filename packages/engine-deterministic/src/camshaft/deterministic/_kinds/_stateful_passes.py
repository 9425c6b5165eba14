"""Passes over what saves and restores its own place."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from camshaft.deterministic._kinds._pipeline import streams_in
from camshaft.deterministic._random._rng import isolated, remember_generators
from camshaft.engine import EngineWarning

# How the pass before was left: it was not begun, it came to its end, or it was left before.
FRESH, ENDED, EARLY = "fresh", "ended", "early"
_END = object()


def read_place(owner: Any, left: str) -> dict[str, Any]:
    """Return where an object stands between two passes, as `begin_pass` takes it.

    Args:
        owner: has a `state_dict`.
        left: how the pass before was left: "fresh", "ended" or "early".
    """
    state = None if left == FRESH and _is_torchdata(owner) else deepcopy(owner.state_dict())
    return {"state": state, "left": left}


def begin_pass(owner: Any, place: Mapping[str, Any], start: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Begin the pass that comes after a saved place, as the process that saved it would have begun it.

    Right after `load_state_dict`, iterating goes on where the state was saved. What iterating does otherwise is
    the object's: most begin anew; one with an attribute `keeps_place = True` goes on where it is.

    Args:
        owner: what saves its place.
        place: what `read_place` returned.
        start: iterates over the owner, or over the loader around it.
    """
    if place["state"] is None:
        return begin_anew(owner, start)
    if _is_torchdata(owner):  # begins anew but for the first iteration after loading, and may draw its order in each
        with isolated(0):  # its nodes count a pass only when it was asked for a batch, at its end at the latest
            next(resume_pass(owner, place["state"], lambda: iter(owner)), None)
        return begin_anew(owner, start)
    owner.load_state_dict(deepcopy(place["state"]))
    if place["left"] == ENDED:
        return _after_an_end(start)
    if place["left"] == EARLY and not _keeps_place(owner):
        with isolated(0):  # the first iteration after loading is the one that goes on: it is given up
            next(iter(owner), None)
    return start()


def begin_anew(owner: Any, start: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Begin a pass from the start, where nothing was loaded for it.

    A dataset of Hugging Face's begins where a state was loaded that has its epoch. torchdata's nodes around it tell it
    no epoch, so it would begin all passes there.
    """
    for stream in streams_in(owner) if _is_torchdata(owner) else ():
        stream.load_state_dict(None)
    return start()


def resume_pass(owner: Any, state: Any, start: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Go on inside a pass, from what the owner's `state_dict` returned there."""
    owner.load_state_dict(deepcopy(state))
    if not _is_torchdata(owner):
        return start()
    # Else torchdata looks for the next batch, which draws it before the generators are put back, and begins the
    # next pass at once where there is none.
    restarts, owner.restart_on_stop_iteration = owner.restart_on_stop_iteration, False
    try:
        return start()
    finally:
        owner.restart_on_stop_iteration = restarts


def _after_an_end(start: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Iterate; what was saved at the end of a pass either gives nothing then, or begins the next one by itself."""
    put_back = remember_generators()
    iterator = start()
    first = next(iterator, _END)
    if first is _END:
        put_back()
        yield from start()
    else:
        yield first
        yield from iterator


def _keeps_place(owner: Any) -> bool:
    declared = getattr(owner, "keeps_place", None)
    if declared is None and not type(owner).__module__.startswith(("torch", "datasets.")):
        warnings.warn(
            f"{type(owner)} was left inside a pass when the run was saved, and does not say what iterating it again "
            "does: taken as beginning anew. Give it an attribute `keeps_place`: True if it goes on where it is, else "
            "False",
            EngineWarning,
            stacklevel=2,
        )
    return bool(declared)


def _is_torchdata(owner: Any) -> bool:
    """Return whether an object is a `torchdata.nodes.Loader`, which iterates when it is asked for its state."""
    return type(owner).__module__.startswith("torchdata.nodes") and hasattr(owner, "restart_on_stop_iteration")
