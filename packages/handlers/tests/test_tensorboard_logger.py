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
    engine = Engine(lambda engine, batch: batch)
    with TensorBoardLogger(tmp_path) as logger:
        logger.attach(
            engine, Events.ITERATION_COMPLETED(every=2), tag="train", output_transform=lambda output: {"loss": output}
        )
        engine.run([0.5, 0.25, 0.125, 2.0])

    assert scalars(tmp_path) == [("train/loss", 2, 0.25), ("train/loss", 4, 2.0)]


def test_saving_its_state_writes_everything_out(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    logger.write({"a": 1.0}, 7)

    assert logger.state_dict() == {"last_step": 7}
    assert scalars(tmp_path) == [("a", 7, 1.0)]
    logger.close()


def test_a_restored_logger_makes_tensorboard_drop_what_came_later(tmp_path):
    first = TensorBoardLogger(tmp_path)
    first.write({"a": 1.0}, 1)
    state = first.state_dict()
    first.write({"a": 2.0}, 2)
    first.write({"a": 3.0}, 3)
    first.close()

    with TensorBoardLogger(tmp_path) as second:
        second.load_state_dict(state)
        second.write({"a": 20.0}, 2)

    assert scalars(tmp_path) == [("a", 1, 1.0), ("a", 2, 20.0)]


def test_a_logger_saved_before_it_wrote_anything_drops_everything(tmp_path):
    first = TensorBoardLogger(tmp_path)
    state = first.state_dict()
    first.write({"a": 2.0}, 0)
    first.close()

    with TensorBoardLogger(tmp_path) as second:
        second.load_state_dict(state)
        second.write({"a": 20.0}, 0)

    assert scalars(tmp_path) == [("a", 0, 20.0)]


def test_what_is_written_after_closing_is_added(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    for step in (1, 2):
        logger.write({"a": float(step)}, step)
        logger.close()

    assert scalars(tmp_path) == [("a", 1, 1.0), ("a", 2, 2.0)]


def test_options_reach_the_writer(tmp_path):
    with TensorBoardLogger(tmp_path, filename_suffix=".mine") as logger:
        logger.write({"a": 1.0}, 1)

    (file,) = tmp_path.iterdir()
    assert file.name.endswith(".mine")


@pytest.mark.parametrize("state", [None, {}, {"last_step": -2}, {"last_step": 1.5}, {"last_step": 1, "more": 1}])
def test_a_wrong_state_is_refused(tmp_path, state):
    with pytest.raises(StateDictError):
        TensorBoardLogger(tmp_path).load_state_dict(state)
