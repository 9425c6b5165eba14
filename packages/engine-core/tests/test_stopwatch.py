from __future__ import annotations

from camshaft.engine._stopwatch import Stopwatch


def test_seconds_grow_and_a_pause_does_not_count() -> None:
    watch = Stopwatch()
    first = watch.seconds()
    second = watch.seconds()
    watch.pause()
    paused = watch._elapsed
    while Stopwatch().seconds() == 0.0:  # the clock moves on
        pass
    watch.resume()

    assert 0 <= first <= second <= paused <= watch.seconds()
    watch.restart()
    assert watch._elapsed == 0.0
