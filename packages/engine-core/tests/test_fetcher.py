from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from camshaft.engine import ArgumentError, Engine, EngineWarning, Events, Position
from camshaft.engine._data import make_source
from camshaft.engine._fetcher import END, Fetcher


class Shrinking:
    """Says three batches, gives fewer each time."""

    def __init__(self) -> None:
        self.begun = 0

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[int]:
        self.begun += 1
        return iter(range(max(0, 3 - self.begun)))


def take(data: Any) -> list[Any]:
    fetcher = Fetcher(data, make_source(data))
    fetcher.open(Position())
    taken = []
    while (batch := fetcher.fetch()) is not END:
        taken.append(batch)
    return taken


def test_fetching_gives_the_batches_and_then_the_end() -> None:
    assert take("ab") == ["a", "b"]


def test_a_batch_may_be_none() -> None:
    assert take([None, None]) == [None, None]


def test_closing_lets_go_of_the_iterator_and_tells_the_source() -> None:
    told: list[str] = []

    class Source:
        def open(self, position: Position) -> Iterator[Any]:
            return iter("ab")

        def state(self, position: Position) -> None: ...

        def close(self) -> None:
            told.append("closed")

    fetcher = Fetcher("ab", Source())
    fetcher.open(Position())
    fetcher.close()

    assert (fetcher.iterator, told) == (None, ["closed"])


def run(data: Any, epoch_length: int | None = None, max_epochs: int = 1) -> Engine[Any, Any]:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.run(data, max_epochs, epoch_length)
    return engine


def test_an_unknown_length_is_found_at_the_end_and_kept_for_the_same_data() -> None:
    class Untold:
        def __iter__(self) -> Iterator[str]:
            return iter("ab")

    data = Untold()
    engine = run(data)
    assert engine.state.epoch_length == 2

    seen: list[int | None] = []
    engine.add_event_handler(Events.STARTED, lambda: seen.append(engine.state.epoch_length))
    engine.run(data)
    engine.run(Untold())
    assert seen == [2, None]


def test_data_that_shrinks_is_started_again_once_and_then_the_epoch_ends() -> None:
    with pytest.warns(EngineWarning) as caught:
        run(Shrinking(), epoch_length=9)

    assert ["gave 2 batches though its len() is 3" in str(caught[0].message), len(caught)] == [True, 2]
    assert "epoch 1 ends after 3 of 9 iterations" in str(caught[1].message)


class LeavingOut(Shrinking):
    """Gives two batches first, and says how many it leaves out.

    Args:
        left_out: what it says.
    """

    def __init__(self, left_out: int) -> None:
        super().__init__()
        self.left_out = left_out


def test_batches_that_are_left_out_on_purpose_are_not_warned_of(recwarn: pytest.WarningsRecorder) -> None:
    run(LeavingOut(1), epoch_length=3)
    assert not recwarn.list


def test_batches_that_are_missing_beside_those_left_out_are_warned_of() -> None:
    with pytest.warns(EngineWarning) as caught:
        run(LeavingOut(1), epoch_length=3, max_epochs=2)
    assert "gave 1 batches though its len() is 3 and it leaves out 1; it is started" in str(caught[0].message)


def test_data_that_has_never_given_a_batch_is_refused() -> None:
    with pytest.raises(ArgumentError, match="at least one batch"):
        run(iter(()), epoch_length=3)


def test_each_epoch_gives_a_handler_the_chance_to_bring_new_data() -> None:
    stops: list[int] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)

    @engine.on(Events.DATALOADER_STOP_ITERATION)
    def bring() -> None:
        stops.append(engine.state.epoch)
        if engine.state.epoch == 3:
            engine.state.dataloader = iter("cd")

    with pytest.warns(EngineWarning, match="epoch 2"):
        state = engine.run(iter("ab"), max_epochs=3)

    assert stops == [2, 3]
    assert state.iteration == 4
