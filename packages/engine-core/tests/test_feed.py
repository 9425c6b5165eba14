from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from camshaft.engine import ArgumentError, Engine, EngineWarning, Events, Position
from camshaft.engine._feed import END, Feed
from camshaft.engine._position import Cursor


class Shrinking:
    """Says three batches, gives fewer each time."""

    def __init__(self) -> None:
        self.begun = 0

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[int]:
        self.begun += 1
        return iter(range(max(0, 3 - self.begun)))


def make(data: Any, epoch_length: int | None = 3) -> tuple[Feed, Cursor, Engine[Any, Any]]:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.state.dataloader, engine.state.epoch_length = data, epoch_length
    cursor = Cursor(Position())
    cursor.next_epoch()
    return Feed(engine, cursor, None), cursor, engine


def take(feed: Feed, cursor: Cursor) -> list[Any]:
    taken = []
    while (batch := feed.fetch()) is not END:
        taken.append(batch)
        cursor.done += 1
    return taken


def test_fetching_opens_the_data_once_and_says_when_it_ends() -> None:
    feed, cursor, _ = make("ab")

    assert not cursor.pass_open
    assert take(feed, cursor) == ["a", "b"]
    assert cursor.pass_open


def test_a_batch_may_be_none() -> None:
    feed, cursor, _ = make([None, None])

    assert take(feed, cursor) == [None, None]


def test_an_unknown_length_is_found_at_the_end_and_noted() -> None:
    feed, cursor, engine = make(iter("ab"), epoch_length=None)
    take(feed, cursor)

    assert feed.end() is False
    assert engine.state.epoch_length == 2


def test_a_known_length_lets_the_data_start_again_in_the_next_pass() -> None:
    feed, cursor, _ = make("ab")
    take(feed, cursor)

    assert feed.end() is True
    assert (cursor.data_pass, cursor.pass_open, feed.iterator) == (1, False, None)
    assert take(feed, cursor) == ["a", "b"]


def test_data_that_shrinks_is_started_again_once_and_then_the_epoch_ends() -> None:
    feed, cursor, _ = make(Shrinking(), epoch_length=9)
    take(feed, cursor)
    with pytest.warns(EngineWarning, match=r"gave 2 batches though its len\(\) is 3"):
        assert feed.end() is True
    take(feed, cursor)
    assert feed.end() is True
    assert take(feed, cursor) == []
    with pytest.warns(EngineWarning, match="epoch 1 ends after 3 of 9 iterations"):
        assert feed.end() is False


def test_data_that_has_never_given_a_batch_is_refused() -> None:
    feed, cursor, _ = make(iter(()))
    take(feed, cursor)
    assert feed.end() is True
    take(feed, cursor)

    with pytest.raises(ArgumentError, match="at least one batch"):
        feed.end()


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
