"""What a Checkpoint keeps and removes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from checkpoint_parts import Counter, InMemory, by_score, engine_at, names, saved_names

from camshaft.handlers import Checkpoint, CheckpointWriteError
from camshaft.handlers.checkpoint.format._verify import verify

torch = pytest.importorskip("torch")


def test_the_latest_are_kept_and_the_new_one_is_written_before_the_old_is_removed() -> None:
    saver = InMemory()
    handler = Checkpoint({"m": Counter()}, saver)
    for iteration in (10, 20):
        handler(engine_at(iteration))

    assert saver.journal == ["write m_10.pt", "write m_20.pt", "remove m_10.pt"]
    assert handler.last_checkpoint == handler.newest_checkpoint == "m_20.pt"


def test_the_best_are_kept() -> None:
    saver = InMemory()
    handler = by_score(saver, n_saved=2)

    assert saved_names(saver, handler, [0.5, 0.9, 0.7, 0.1]) == ["m_1_0.9000.pt", "m_2_0.7000.pt"]
    assert handler.last_checkpoint == "m_1_0.9000.pt"
    assert handler.newest_checkpoint == "m_2_0.7000.pt"


def test_ties_keep_the_first_or_the_later() -> None:
    first, later = InMemory(), InMemory()

    assert saved_names(first, by_score(first), [1, 1, 1]) == ["m_0_1.pt"]
    assert saved_names(later, by_score(later, greater_or_equal=True), [1, 1, 1]) == ["m_2_1.pt"]


@pytest.mark.parametrize("n_saved", [1, 3, None])
@pytest.mark.parametrize("greater_or_equal", [False, True])
def test_of_equal_scores_with_one_name_the_same_one_is_kept_whether_there_is_room_or_not(
    n_saved: int | None, greater_or_equal: bool
) -> None:
    saver, counter, engine = InMemory(), Counter(), engine_at()
    handler = Checkpoint(
        {"m": counter}, saver, score_function=lambda engine: 1, n_saved=n_saved, greater_or_equal=greater_or_equal
    )
    for counter.count in (1, 2, 3):
        handler(engine)

    assert saver.kept == {"m_1.pt": {"count": 3 if greater_or_equal else 1}}


def test_the_later_state_of_one_step_takes_the_place_of_the_earlier() -> None:
    saver, counter, engine = InMemory(), Counter(), engine_at()
    handler = Checkpoint({"m": counter}, saver, n_saved=2)
    for counter.count in (1, 2):
        handler(engine)

    assert [state["count"] for state in saver.kept.values()] == [2]


def test_nan_is_never_best_and_the_first_to_go() -> None:
    saver = InMemory()
    handler = by_score(saver)
    assert saved_names(saver, handler, [math.nan]) == ["m_0_nan.pt"]
    assert handler.last_checkpoint is None
    assert handler.newest_checkpoint == "m_0_nan.pt"

    assert saved_names(saver, handler, [math.nan, -math.inf, math.nan]) == ["m_1_-inf.pt"]
    assert handler.last_checkpoint == "m_1_-inf.pt"


@pytest.mark.parametrize("score", [torch.tensor(0.5), torch.tensor([0.5]), True, 10**30, -1e300, math.inf])
def test_odd_scores_are_numbers(tmp_path: Path, score: Any) -> None:
    engine, handler = engine_at(), by_score(tmp_path)
    engine.state.score = score
    handler(engine)

    assert isinstance(handler.last_checkpoint, Path)
    assert verify(handler.last_checkpoint).is_verified
    assert handler.restore_latest().priority == pytest.approx(float(score))


@pytest.mark.parametrize("score", [None, "0.5", 1j])
def test_what_is_no_score_is_refused(tmp_path: Path, score: Any) -> None:
    engine, handler = engine_at(), by_score(tmp_path)
    engine.state.score = score
    with pytest.raises(ValueError, match="score_function"):
        handler(engine)
    assert names(tmp_path) == []


def test_a_fixed_name_is_overwritten_and_nothing_is_removed() -> None:
    saver = InMemory()
    handler = Checkpoint({"m": Counter()}, saver, filename_pattern="last.pt")
    for iteration in (10, 20, 30):
        handler(engine_at(iteration))

    assert saver.journal == ["write last.pt"] * 3


def test_none_keeps_all() -> None:
    saver = InMemory()
    handler = Checkpoint({"m": Counter()}, saver, n_saved=None)
    for iteration in range(5):
        handler(engine_at(iteration))

    assert len(saver.kept) == 5


def test_a_step_behind_those_saved_is_a_warning_that_leads_to_reset() -> None:
    saver = InMemory()
    handler = Checkpoint({"m": Counter()}, saver)
    handler(engine_at(20))
    handler(engine_at(20))
    with pytest.warns(UserWarning, match=r"m_10\.pt was not saved.*reset\(\)"):
        handler(engine_at(10))
    handler.reset()
    handler(engine_at(10))

    assert sorted(saver.kept) == ["m_10.pt", "m_20.pt"]


def test_after_a_reset_nothing_is_known_and_files_stay(tmp_path: Path) -> None:
    handler = Checkpoint({"m": Counter()}, tmp_path)
    handler(engine_at())
    handler.reset()

    assert handler.last_checkpoint is None
    assert handler.newest_checkpoint is None
    assert names(tmp_path) == ["m_203.pt"]


def test_a_failed_save_changes_neither_list_nor_files() -> None:
    class Failing(InMemory):
        def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
            if filename == "m_20.pt":
                raise CheckpointWriteError(28, "No space left on device")
            super().__call__(checkpoint, filename, metadata)

    saver = Failing()
    handler = Checkpoint({"m": Counter()}, saver)
    handler(engine_at(10))
    with pytest.raises(CheckpointWriteError):
        handler(engine_at(20))
    assert handler.state_dict() == {"_saved": [(10, "m_10.pt")]}
    assert handler.newest_checkpoint == "m_10.pt"
    handler(engine_at(30))

    assert list(saver.kept) == ["m_30.pt"]


def test_a_file_removed_by_hand_is_a_warning_and_training_goes_on(tmp_path: Path) -> None:
    handler = Checkpoint({"m": Counter()}, tmp_path)
    handler(engine_at(10))
    (tmp_path / "m_10.pt").unlink()
    with pytest.warns(UserWarning, match=r"m_10\.pt.*gone already"):
        handler(engine_at(20))

    assert names(tmp_path) == ["m_20.pt"]


def test_what_cannot_be_removed_is_a_warning_and_tried_again() -> None:
    class Stubborn(InMemory):
        refusals = 1

        def remove(self, filename: str) -> None:
            if self.refusals:
                self.refusals -= 1
                raise PermissionError(f"{filename} is needed")
            super().remove(filename)

    saver = Stubborn()
    handler = Checkpoint({"m": Counter()}, saver)
    handler(engine_at(10))
    with pytest.warns(UserWarning, match="could not be removed"):
        handler(engine_at(20))
    assert sorted(saver.kept) == ["m_10.pt", "m_20.pt"]
    assert handler.last_checkpoint == "m_20.pt"
    handler(engine_at(30))

    assert list(saver.kept) == ["m_30.pt"]


def test_a_missing_file_in_a_save_handler_of_ones_own_is_a_warning() -> None:
    class Forgets(InMemory):
        def remove(self, filename: str) -> None:
            raise FileNotFoundError(filename)

    handler = Checkpoint({"m": Counter()}, Forgets())
    handler(engine_at(10))
    with pytest.warns(UserWarning, match="gone already"):
        handler(engine_at(20))
    assert handler.state_dict() == {"_saved": [(20, "m_20.pt")]}
