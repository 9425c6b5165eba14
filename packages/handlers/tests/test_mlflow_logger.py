from __future__ import annotations

import pytest

from camshaft.engine import Engine, Events, StateDictError
from camshaft.handlers import MLflowLogger

mlflow = pytest.importorskip("mlflow")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of files, which MLflow only opens when asked to; its newer kinds need a data base."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "store").as_uri()


def history(store, run_id, name):
    return [(each.step, each.value) for each in mlflow.MlflowClient(store).get_metric_history(run_id, name)]


def test_metrics_are_read_back(store):
    engine = Engine(lambda engine, batch: batch)
    with MLflowLogger("digits", "first", tracking_uri=store) as logger:
        logger.attach(
            engine, Events.ITERATION_COMPLETED(every=2), tag="train", output_transform=lambda output: {"loss": output}
        )
        engine.run([0.5, 0.25, 0.125, 2.0])

    run = mlflow.MlflowClient(store).get_run(logger.run_id)
    assert history(store, run.info.run_id, "train/loss") == [(2, 0.25), (4, 2.0)]
    assert run.info.run_name == "first"
    assert mlflow.MlflowClient(store).get_experiment(run.info.experiment_id).name == "digits"


def test_a_run_is_made_by_its_first_value_in_an_experiment_that_may_be_there(store):
    for _ in range(2):
        with MLflowLogger("digits", tracking_uri=store) as logger:
            logger.write({"a": 1.0}, 1)
    MLflowLogger("digits", tracking_uri=store)

    experiment = mlflow.MlflowClient(store).get_experiment_by_name("digits")
    assert len(mlflow.MlflowClient(store).search_runs([experiment.experiment_id])) == 2


def test_a_block_says_how_it_ended(store):
    loggers = [MLflowLogger(tracking_uri=store) for _ in range(2)]
    with loggers[0] as logger:
        logger.write({"a": 1.0}, 1)
    with pytest.raises(KeyError), loggers[1] as logger:
        logger.write({"a": 1.0}, {}["no step"] if logger.run_id else 0)

    client = mlflow.MlflowClient(store)
    ids = [logger.state_dict()["run_id"] for logger in loggers]
    assert [client.get_run(run_id).info.status for run_id in ids] == ["FINISHED", "FAILED"]


def test_a_restored_logger_continues_in_the_same_run(store):
    with MLflowLogger(tracking_uri=store) as first:
        first.write({"a": 1.0}, 1)
        state = first.state_dict()

    second = MLflowLogger(tracking_uri=store)
    second.load_state_dict(state)
    second.write({"a": 2.0}, 2)

    client = mlflow.MlflowClient(store)
    assert second.run_id == state["run_id"]
    assert history(store, second.run_id, "a") == [(1, 1.0), (2, 2.0)]
    assert client.get_run(second.run_id).info.status == "RUNNING"
    second.close()
    assert client.get_run(state["run_id"]).info.status == "FINISHED"


def test_a_logger_saved_before_its_first_value_makes_a_run_of_its_own(store):
    state = MLflowLogger(tracking_uri=store).state_dict()
    logger = MLflowLogger(tracking_uri=store)
    logger.load_state_dict(state)
    logger.write({"a": 1.0}, 1)

    assert state == {"run_id": None}
    assert history(store, logger.run_id, "a") == [(1, 1.0)]


def test_the_client_takes_whatever_else_there_is(store):
    with MLflowLogger(tracking_uri=store) as logger:
        logger.client.log_param(logger.run_id, "lr", 0.1)

    assert mlflow.MlflowClient(store).get_run(logger.state_dict()["run_id"]).data.params == {"lr": "0.1"}


@pytest.mark.parametrize("state", [None, {}, {"run_id": 1}, {"run_id": "a", "more": 1}])
def test_a_wrong_state_is_refused(store, state):
    with pytest.raises(StateDictError):
        MLflowLogger(tracking_uri=store).load_state_dict(state)
