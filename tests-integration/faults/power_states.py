"""What a loss of power may leave of files, computed from a record of the calls that were to change them.

Under file systems that keep the order of all changes it is what was there after some call, the last write torn. Under
those that promise no more than the calls say it may be anything else besides: content that was not synced may be
there, missing, torn or zeroed, block by block; names may appear, vanish and move in any order until their directory
is synced; a renamed file may be found under both names. A name that is replaced is that of the old file or of the
new one, never of none.
"""

from __future__ import annotations

import itertools
import math
import os
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from recorded_calls import Call, Link, Promise, Rename, SyncDirectory, SyncFile, Unlink, Write

BLOCK_BYTES = 4096
MOST_BLOCKS = 6  # of a file, that are torn in turn
MOST_ORDERS = 64  # of what is not synced; only writers that leave out a step have more
MOST_CONTENTS = 64

State = frozenset[tuple[str, bytes | None]]  # path and content of each file; None for a directory
NameChange = Link | Unlink | Rename


class Moment(NamedTuple):
    """What is settled and what is open when the power goes."""

    settled: list[NameChange]
    pending: list[NameChange]
    contents: dict[int, list[bytes]]  # of each file: that on the disk, then those after it
    promised: int


def moments(calls: list[Call]) -> Iterator[Moment]:
    """Yield what is open after each call."""
    settled: list[NameChange] = []
    pending: list[NameChange] = []
    contents: dict[int, list[bytes]] = {}
    promised = 0
    yield Moment([], [], {}, 0)
    for call in calls:
        if isinstance(call, Write):
            contents.setdefault(call.file, [b""]).append(call.content)
        elif isinstance(call, SyncFile):
            contents[call.file] = contents.setdefault(call.file, [b""])[-1:]
        elif isinstance(call, SyncDirectory):
            settled += [change for change in pending if _folder_of(change) == call.path]
            pending = [change for change in pending if _folder_of(change) != call.path]
        elif isinstance(call, Promise):
            promised = call.step
        else:
            pending.append(call)
            if isinstance(call, Link) and call.file is not None:
                contents.setdefault(call.file, [b""])
        yield Moment(list(settled), list(pending), {file: list(each) for file, each in contents.items()}, promised)


StatesOf = Callable[[Moment, random.Random], Iterator[State]]


def ordered_states(moment: Moment) -> Iterator[State]:
    """Yield what is left where all changes reach the disk in order: the last write may be torn."""
    names = applied(moment.settled + moment.pending)
    latest = {file: each[-1] for file, each in moment.contents.items()}
    yield state_of(names, latest)
    for file, each in moment.contents.items():
        if len(each) > 1 and file in names.values():
            step = max(BLOCK_BYTES, len(each[-1]) // MOST_BLOCKS)
            for cut in range(0, len(each[-1]), step):
                yield state_of(names, {**latest, file: each[-1][:cut] + each[-2][cut:]})


def weak_states(moment: Moment, choose: random.Random) -> Iterator[State]:
    """Yield what is left where nothing is in order but what was synced."""
    for changes in orders(moment.pending, choose):
        names = applied(moment.settled, changes)
        files = sorted({file for file in names.values() if file is not None})
        choices = [list(torn(moment.contents[file], choose)) for file in files]
        for contents in combinations(choices, choose):
            yield state_of(names, dict(zip(files, contents, strict=True)))


def orders(pending: list[NameChange], choose: random.Random) -> Iterator[list[NameChange]]:
    """Yield every selection of changes that may have reached the disk; of very many, the first ones and a sample."""
    options: list[list[list[NameChange]]] = []
    for change in pending:
        half: list[list[NameChange]] = [[Link(change.target, change.file)]] if isinstance(change, Rename) else []
        options.append([[], [change], *half])
    if math.prod(map(len, options)) <= MOST_ORDERS:
        for selection in itertools.product(*options):
            yield list(itertools.chain.from_iterable(selection))
        return
    for end in range(len(pending) + 1):
        yield pending[:end]
        yield pending[end:]
    for _ in range(MOST_ORDERS):
        yield list(itertools.chain.from_iterable(choose.choice(each) for each in options))


def torn(contents: list[bytes], choose: random.Random) -> Iterator[bytes]:
    """Yield what may be found in a file that was last synced with the first of these contents."""
    old, new = contents[0], contents[-1]
    yield new
    if len(contents) == 1:
        return
    yield from contents[:-1]
    yield bytes(len(new))
    blocks = range(0, len(new), BLOCK_BYTES)
    for start in blocks if len(blocks) <= MOST_BLOCKS else sorted(choose.sample(blocks, MOST_BLOCKS)):
        yield new[:start] + old[start:]
        yield new[:start] + bytes(len(new) - start)
        yield _with_blocks(new, {start}, old)
        yield bytes(start) + new[start:]
    for _ in range(4):
        yield new[: choose.randrange(len(new))]
        yield _with_blocks(new, {start for start in blocks if choose.random() < 0.5}, old)


def _with_blocks(new: bytes, missing: set[int], old: bytes) -> bytes:
    """Return the new content with some blocks as they were before, or zero where there were none."""
    padded = old.ljust(len(new), b"\0")
    starts = range(0, len(new), BLOCK_BYTES)
    return b"".join((padded if start in missing else new)[start : start + BLOCK_BYTES] for start in starts)[: len(new)]


def combinations(choices: list[list[bytes]], choose: random.Random) -> Iterator[tuple[bytes, ...]]:
    """Yield a content for each file: all combinations, of very many each content once and a sample."""
    if math.prod(map(len, choices)) <= MOST_CONTENTS:
        yield from itertools.product(*choices)
        return
    complete = tuple(each[0] for each in choices)
    for place, each in enumerate(choices):
        for content in each:
            yield (*complete[:place], content, *complete[place + 1 :])
    for _ in range(MOST_CONTENTS):
        yield tuple(choose.choice(each) for each in choices)


def applied(*changes: list[NameChange]) -> dict[str, int | None]:
    """Return the names after these changes, each with its file."""
    names: dict[str, int | None] = {}
    for change in itertools.chain(*changes):
        if isinstance(change, Link):
            names[change.path] = change.file
        elif isinstance(change, Unlink):
            names.pop(change.path, None)
        else:
            names.pop(change.source, None)
            names[change.target] = change.file
    return {path: file for path, file in names.items() if _is_reached(path, names)}


def _is_reached(path: str, names: dict[str, int | None]) -> bool:
    folder = os.path.dirname(path)  # noqa: PTH120 - relative names, not paths of this machine
    return not folder or folder in names


def _folder_of(change: NameChange) -> str:
    return os.path.dirname(change.target if isinstance(change, Rename) else change.path) or "."  # noqa: PTH120


def state_of(names: dict[str, int | None], contents: dict[int, bytes]) -> State:
    return frozenset((path, None if file is None else contents[file]) for path, file in names.items())


def everything(moment: Moment, choose: random.Random) -> Iterator[State]:
    """Yield what is left on any file system."""
    yield from ordered_states(moment)
    yield from weak_states(moment, choose)


def all_of_it(moment: Moment, choose: random.Random) -> Iterator[State]:
    """Yield what is left when the process is killed and the machine is not."""
    yield state_of(applied(moment.settled, moment.pending), {file: each[-1] for file, each in moment.contents.items()})


def states_after(calls: list[Call], choose: random.Random, kept: StatesOf = everything) -> dict[State, int]:
    """Return all states that may be left after some call, with the step that must be restored at least."""
    promised: dict[State, int] = {}
    for moment in moments(calls):
        for state in kept(moment, choose):
            promised[state] = max(promised.get(state, 0), moment.promised)
    return promised
