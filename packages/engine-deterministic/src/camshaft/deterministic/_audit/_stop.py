"""Where an audit stops a training: pure functions of its length."""

from __future__ import annotations

from typing import NamedTuple

from camshaft.engine import Events


class Stop(NamedTuple):
    """A stop: where the checkpoint is taken from which the training goes on.

    Attributes:
        iteration: after which iteration.
        event: at which event.
    """

    iteration: int
    event: Events = Events.ITERATION_COMPLETED


def list_stops(length: int, epoch_length: int | None, count: int) -> list[Stop]:
    """Return where to stop: spread over the training, the end of an epoch among them.

    At the end of an epoch, the checkpoint is taken at EPOCH_COMPLETED and at ITERATION_COMPLETED in turns.

    Args:
        length: iterations of the training.
        epoch_length: iterations of an epoch, None where it is unknown.
        count: how many stops there are to be; a short training has fewer.

    Examples:
        >>> [(stop.iteration, stop.event.name) for stop in list_stops(12, 4, 2)]
        [(4, 'ITERATION_COMPLETED'), (8, 'EPOCH_COMPLETED')]
    """
    places = _spread(length, epoch_length, count)
    ends = [place for place in places if epoch_length and place % epoch_length == 0]
    at_epoch_end = ends[::-2]  # the last one for certain
    return [Stop(place, Events.EPOCH_COMPLETED) if place in at_epoch_end else Stop(place) for place in places]


def _spread(length: int, epoch_length: int | None, count: int) -> list[int]:
    """Return after which iterations to stop, with the end of an epoch if there are two or more."""
    last = length - 1
    places = {1 + round((last - 1) * (number + 1) / (count + 1)) for number in range(count)}
    if count < 2 or not epoch_length or any(place % epoch_length == 0 for place in places):
        return sorted(places)
    ends = range(epoch_length, last + 1, epoch_length)
    return sorted({*sorted(places)[:-1], ends[-1]}) if ends else sorted(places)
