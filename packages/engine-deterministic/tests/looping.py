"""A loop of one's own over a loader: what it saw, and the states that it has saved on its way."""

from __future__ import annotations

import copy
import io
import random

import numpy as np
import torch

from camshaft.deterministic._purity import find_difference


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
        for number, batch in enumerate(loader, loader.index):
            seen.append((epoch, number, copy.deepcopy(batch), drawn()))
            if number + 1 == most:
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
        resumed = (resume_with or make)(**options)
        resumed.load_state_dict(loaded(state))
        disturb()
        rest = run(resumed, epochs, most)
        difference = find_difference(whole[count:], rest, f"after {count} entries: ")
        assert difference is None, difference
    return len(saved[::every])
