"""Ranks whose loops go over loaders: rank 0 saves everywhere, and both go on from what it has saved.

Prints, for each kind of data, from how many states this rank has resumed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from every_kind import DATA
from looping import difference_after, run, seeding_steps

NAMES = (
    "shuffled", "sampler with helpers", "regrouping loader", "stream", "stream that counts epochs", "keeping stream",
    "keeping data", "iterable", "iterable that counts epochs", "loader in a wrapper", "list", "data that opens itself",
)  # fmt: skip


def count_states(name):
    saved = []
    whole = run(seeding_steps(DATA[name])(), 2, saved=saved)
    box = [saved]
    torch.distributed.broadcast_object_list(box, 0)
    for count, state in box[0]:
        difference = difference_after(whole, seeding_steps(DATA[name])(), count, state, 2)
        assert difference is None, (name, difference)
    return len(box[0])


torch.distributed.init_process_group("gloo")
sys.stdout.write(json.dumps({name: count_states(name) for name in NAMES}))
torch.distributed.destroy_process_group()
