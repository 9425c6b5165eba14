"""Kill one of two processes at every stage of a sharded save, and look what can be restored."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from outcome import Outcome
from ranks_started import Launcher, finished

from warm_python import WarmPython

PROGRAM = Path(__file__).parents[1] / "ranks" / "sharded_job.py"
STAGES = ("begin", "begun", "written", "hashed", "listed", "committed", "removing")
OTHER_SIZES = (1, 2, 4)
LAYOUTS = {"fsdp": 2, "tp": 2, "fsdp and tp": 4}  # of models, and how many processes train them
SAVES = (2, 4, 8, 12)  # the iterations of the saves that are killed
STAGES_IN_BACKGROUND = ("copied", "written", "hashed", "listed", "named", "told", "removing")
ONLY_OF_WRITER = ("named", "removing")


def is_committed(stage: str, rank: int) -> bool:
    """Return whether the save counts: whether rank 0, which commits, comes to it when all files are listed."""
    return stage in ("committed", "removing") or (stage == "listed" and rank == 1)


def restored_otherwise(python: WarmPython, folder: Path, layout: str) -> int:
    """Stop a run, and restore it by 1, 2 and 4 processes; return how many had another model or optimizer."""
    losses = 0
    trained = Launcher(python, LAYOUTS[layout], PROGRAM).run(folder / layout, "--layout", layout, "--stop", 5)
    stopped = finished(trained)[0]
    for size in OTHER_SIZES:
        place = shutil.copytree(folder / layout, folder / f"{layout} by {size}")
        # Two processes spread it in one way only.
        other = layout if size == LAYOUTS[layout] else layout.rpartition(" ")[2]
        found = finished(Launcher(python, size, PROGRAM).run(place, "--layout", other))[0]
        if found["restored"] != stopped["end"]:
            losses += 1
            print(f"{layout}, restored by {size}: {found}")
    return losses


class Case(NamedTuple):
    """What happens to which process, at which stage of which save in the background.

    Attributes:
        stage: a stage that `sharded_job.py` knows.
        rank: which process.
        save: the iteration of the save.
        raises: whether it raises, and is not killed.
    """

    stage: str
    rank: int
    save: int
    raises: bool = False


def lost_in_background(python: WarmPython, folder: Path, case: Case, expected: Any) -> bool:
    """Let something happen during a save in the background; return whether a complete checkpoint was lost."""
    launcher, what = Launcher(python, 2, PROGRAM), ["--raises"] if case.raises else []
    options = ["--asynchronous", "--stage", case.stage, "--rank", case.rank, "--at", case.save, *what]
    ended = launcher.run(folder, *options)
    there = [int(path.stem.rpartition("_")[2]) for path in folder.glob("*.pt")]
    found = finished(launcher.run(folder, "--asynchronous"))[0]
    is_right = (
        ended[case.rank].returncode == (1 if case.raises else -9)
        and ended[1 - case.rank].returncode == 1
        and found["resumed"] == max(there, default=None)
        and not found["skipped"]
        and all(found[what] == expected[what] for what in ("there", "end", "loss"))
    )
    if not is_right:
        print(f"{case}: {[each.returncode for each in ended]}, there {there}, {found}")
    return not is_right


def lost_on_full_disk(python: WarmPython, folder: Path, rank: int, way: list[str], expected: Any) -> bool:
    """Leave no room on the disk of one process; return whether a complete checkpoint was lost, or nobody is told."""
    launcher = Launcher(python, 2, PROGRAM)
    ended = launcher.run(folder, *way, "--stage", "full", "--rank", rank, "--at", 8)
    found = finished(launcher.run(folder, *way))[0]
    told = [each.returncode == 1 and "CheckpointWriteError" in each.stderr for each in ended]
    is_named = f"rank {rank}: [Errno 28]" in ended[1 - rank].stderr
    # The save at 6 was given up too if it was still being written at iteration 8.
    is_right = all(told) and is_named and found["resumed"] in (4, 6) and found["end"] == expected["end"]
    if not is_right:
        print(f"no room for rank {rank}, {way}: {[each.stderr[-500:] for each in ended]}, {found}")
    return not is_right


def cases_in_background() -> list[Case]:
    """Return everything that happens during saves in the background."""
    found = itertools.product(STAGES_IN_BACKGROUND, (0, 1), (4, 12))
    kills = [Case(*each) for each in found if each[1] == 0 or each[0] not in ONLY_OF_WRITER]
    return kills + [Case("committed", *each, raises=True) for each in itertools.product((0, 1), (2, 8))]


def run(*, full: bool) -> Outcome:
    """Kill each process at each stage; return what was counted."""
    cases = [each for each in itertools.product(STAGES, (0, 1), SAVES) if each[:2] != ("removing", 1)]
    cases = [each for each in cases if each[0] != "removing" or each[2] > SAVES[0]]  # nothing to remove at first
    cases = cases if full else cases[:2]
    python, losses = WarmPython(), 0
    with tempfile.TemporaryDirectory() as folder:
        expected = finished(Launcher(python, 2, PROGRAM).run(Path(folder, "whole")))[0]
        for stage, rank, save in cases:
            launcher, place = Launcher(python, 2, PROGRAM), Path(folder, f"{stage} {rank} {save}")
            ended = launcher.run(place, "--stage", stage, "--rank", rank, "--at", save)
            was_killed = ended[rank].returncode == -9
            found = finished(launcher.run(place))[0]
            resumed = save if is_committed(stage, rank) else save - 2 or None
            if not was_killed or found["resumed"] != resumed or found["skipped"] or found["there"] != expected["there"]:
                losses += 1
                print(f"{stage} {rank} {save}: killed {was_killed}, {found}")
            elif found["end"] != expected["end"]:
                losses += 1
                print(f"{stage} {rank} {save}: ends otherwise")
        later = cases_in_background() if full else cases_in_background()[:1]
        for number, case in enumerate(later):
            losses += lost_in_background(python, Path(folder, f"in background {number}"), case, expected)
        full_disks = list(itertools.product((0, 1), ([], ["--asynchronous"]))) if full else []
        for number, (rank, way) in enumerate(full_disks):
            losses += lost_on_full_disk(python, Path(folder, f"full {number}"), rank, way, expected)
        losses += sum(restored_otherwise(python, Path(folder), layout) for layout in LAYOUTS)
    python.close()
    count = len(cases) + len(later) + len(full_disks) + len(OTHER_SIZES) * len(LAYOUTS)
    return Outcome("G19: killed sharded saves", count, losses, "each was resumed from a complete checkpoint")
