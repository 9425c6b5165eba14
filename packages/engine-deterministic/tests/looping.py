"""A loop of one's own over a loader: what it saw, and the states that it has saved on its way."""

from __future__ import annotations

import copy
import io
import random

import numpy as np
import torch
from every_kind import loader

from camshaft.deterministic import ResumableLoader
from camshaft.deterministic._checks._difference import find_difference


def resumable(make=lambda: loader(shuffle=True), seed=7, **options):
    return ResumableLoader(make(), seed, **options)


def texts(batches):
    return [repr(batch) for batch in batches]


def on_its_way(count, **options):
    """Return a loader whose loop stands in the body of a batch, and the iterator of that loop."""
    made = resumable(**options)
    iterator = iter(made)
    for _ in range(count):
        next(iterator)
    return made, iterator


def epochs_of(made, count):
    return [[batch for batch in made] for _ in range(count)]  # noqa: C416  # list() asks for the length, which may raise


def seeding_steps(make):
    return lambda **options: ResumableLoader(make(), 7, seed_steps=True, **options)


def dumped(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def loaded(text):
    return torch.load(io.BytesIO(text), weights_only=True)


def drawn():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def run(loader, epochs, most=None, saved=None):
    """Go through the epochs; return what was seen. Each entry of `saved` is a state, and how much was seen by then."""
    seen = []

    def save():
        if saved is not None:
            saved.append((len(seen), dumped(loader.state_dict())))

    save()
    for epoch in range(loader.epoch, epochs):
        for batch in loader:
            seen.append((epoch, loader.index, copy.deepcopy(batch), drawn()))
            if loader.index == most:
                break
            save()
        seen.append((epoch, "ended", drawn()))
        if most is None:
            save()  # after a `break` the state goes on inside the epoch
        else:
            loader.set_epoch(epoch + 1)
            save()
    return seen


def disturb():
    torch.seed()
    random.seed()
    np.random.seed()


def resume_everywhere(make, epochs=2, most=None, every=1, resume_with=None, **options):
    """Go through the epochs, then resume from each state that was saved, and compare; return how many there were."""
    saved = []
    whole = run(make(**options), epochs, most, saved)
    for count, state in saved[::every]:
        difference = difference_after(whole, (resume_with or make)(**options), count, state, epochs, most)
        assert difference is None, difference
    return len(saved[::every])


def difference_after(whole, resumed, count, state, epochs, most=None):
    """Resume with a state that was saved when `count` entries were seen; return the first difference, None for none."""
    resumed.load_state_dict(loaded(state))
    disturb()
    return find_difference(whole[count:], run(resumed, epochs, most), f"after {count} entries: ")
