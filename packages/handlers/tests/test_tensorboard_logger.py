from __future__ import annotations

import pytest

from camshaft.engine import Engine, Events, StateDictError
from camshaft.handlers import TensorBoardLogger

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def scalars(folder):
    """Return (name, step, value) of each scalar that TensorBoard shows."""
    reader = event_accumulator.EventAccumulator(str(folder))
    reader.Reload()
    return [(name, each.step, each.value) for name in reader.Tags()["scalars"] for each in reader.Scalars(name)]


def test_scalars_are_read_back(tmp_path):
    engine, logger = Engine(lambda engine, batch: batch), TensorBoardLogger(tmp_path / "new" / "folder")
    logger.attach(
        engine, Events.ITERATION_COMPLETED(every=2), tag="train",
        output_transform=lambda output: {"loss": output, "double": 2 * output},
    )  # fmt: skip

    engine.run([0.5, 0.25, 0.125, 2.0])

    assert scalars(tmp_path / "new" / "folder") == [
        ("train/loss", 2, 0.25), ("train/loss", 4, 2.0), ("train/double", 2, 0.5), ("train/double", 4, 4.0),
    ]  # fmt: skip


def test_a_value_is_in_the_file_at_once(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    for step in (1, 2):
        logger.write({"a": float(step)}, step)
        assert scalars(tmp_path)[-1] == ("a", step, float(step))


def test_a_restored_logger_makes_tensorboard_drop_what_came_later(tmp_path):
    first = TensorBoardLogger(tmp_path)
    first.write({"a": 1.0}, 1)
    state = first.state_dict()
    first.write({"a": 2.0}, 2)
    first.write({"a": 3.0}, 3)

    second = TensorBoardLogger(tmp_path)
    second.load_state_dict(state)
    second.write({"a": 20.0}, 2)

    assert state == {"last_step": 1}
    assert scalars(tmp_path) == [("a", 1, 1.0), ("a", 2, 20.0)]


def test_a_logger_goes_back_to_its_own_state(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    logger.write({"a": 1.0}, 1)
    state = logger.state_dict()
    for value in (2.0, 3.0, 4.0):
        logger.load_state_dict(state)
        logger.write({"a": value}, 2)

    assert scalars(tmp_path) == [("a", 1, 1.0), ("a", 2, 4.0)]


def test_a_logger_saved_before_it_wrote_anything_drops_everything(tmp_path):
    first = TensorBoardLogger(tmp_path)
    state = first.state_dict()
    first.write({"a": 2.0}, 0)

    second = TensorBoardLogger(tmp_path)
    second.load_state_dict(state)
    second.write({"a": 20.0}, 0)

    assert scalars(tmp_path) == [("a", 0, 20.0)]


def test_a_new_logger_adds_to_what_is_there(tmp_path):
    for step in (1, 2):
        TensorBoardLogger(tmp_path).write({"a": float(step)}, step)

    assert scalars(tmp_path) == [("a", 1, 1.0), ("a", 2, 2.0)]


@pytest.mark.parametrize("state", [None, {}, {"last_step": -2}, {"last_step": 1.5}, {"last_step": 1, "more": 1}])
def test_a_wrong_state_is_refused(tmp_path, state):
    with pytest.raises(StateDictError):
        TensorBoardLogger(tmp_path).load_state_dict(state)
