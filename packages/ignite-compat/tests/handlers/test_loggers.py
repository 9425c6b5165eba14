from __future__ import annotations

import importlib
import io
import sys
from types import ModuleType

import pytest
import torch

import ignite.handlers
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar, global_step_from_engine
from ignite.handlers.logger_utils import setup_mlflow_logging, setup_tb_logging, setup_wandb_logging


class Recorder(ModuleType):
    """A tracker's module that notes how it is called."""

    def __init__(self, name):
        super().__init__(name)
        self.calls = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


@pytest.fixture
def tracker(request, monkeypatch):
    module = Recorder(request.param)
    monkeypatch.setitem(sys.modules, request.param, module)
    return module


def make_engine():
    engine = Engine(lambda engine, batch: batch)
    engine.state.metrics.update(accuracy=0.5, vector=torch.tensor([1.0, 2.0]))
    return engine


def make_optimizer():
    return torch.optim.SGD([torch.zeros(1)], lr=0.5)


@pytest.mark.parametrize("tracker", ["mlflow"], indirect=True)
def test_mlflow_gets_names_with_spaces(tracker):
    engine, logger = make_engine(), ignite.handlers.MLflowLogger("file:somewhere")
    logger.attach_output_handler(
        engine,
        Events.EPOCH_COMPLETED,
        tag="training",
        metric_names="all",
        output_transform=lambda output: {"l": output},
    )
    logger.attach_opt_params_handler(engine, Events.ITERATION_STARTED, make_optimizer(), tag="sgd")
    logger.log_params({"depth": 3})
    engine.run([2.0])
    logger.close()
    values = {"training accuracy": 0.5, "training vector 0": 1.0, "training vector 1": 2.0, "training l": 2.0}
    assert [
        ("set_tracking_uri", ("file:somewhere",), {}),
        ("active_run", (), {}),
        ("start_run", (), {}),
        ("log_params", ({"depth": 3},), {}),
        ("log_metrics", ({"sgd lr group_0": 0.5},), {"step": 1}),
        ("log_metrics", (values,), {"step": 1}),
        ("end_run", (), {}),
    ] == tracker.calls


@pytest.mark.parametrize("is_there", [True, False])
def test_mlflow_writes_into_a_folder_that_is_empty_or_missing(tmp_path, monkeypatch, is_there):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store = tmp_path / "store"
    if is_there:
        store.mkdir()
    before = mlflow.get_tracking_uri()
    engine, logger = make_engine(), ignite.handlers.MLflowLogger(store.as_uri())
    logger.attach_output_handler(engine, Events.COMPLETED, tag="training", metric_names=["accuracy"])
    engine.run([2.0])
    logger.close()
    mlflow.set_tracking_uri(before)
    history = mlflow.MlflowClient(store.as_uri()).get_metric_history(logger.active_run.info.run_id, "training accuracy")
    assert [0.5] == [each.value for each in history]


@pytest.mark.parametrize("tracker", ["mlflow"], indirect=True)
def test_a_name_that_mlflow_does_not_take_is_left_out_with_a_warning(tracker):
    engine, logger = make_engine(), ignite.handlers.MLflowLogger()
    engine.state.metrics = {"a?": 1, "b": 2}
    logger.attach_output_handler(engine, Events.STARTED, tag="t", metric_names="all")
    with pytest.warns(UserWarning, match=r"t a\?"):
        engine.run([0])
    assert ("log_metrics", ({"t b": 2},), {"step": 0}) == tracker.calls[-1]


@pytest.mark.parametrize("tracker", ["wandb"], indirect=True)
def test_wandb_gets_names_with_slashes_and_strings_too(tracker):
    engine, logger = make_engine(), ignite.handlers.WandBLogger(project="p")
    engine.state.metrics["name"] = "first"
    logger.attach_output_handler(
        engine, Events.COMPLETED, tag="validation", metric_names=["accuracy", "name"],
        global_step_transform=lambda engine, event: 7,
    )  # fmt: skip
    logger.watch("model")
    engine.run([2.0])
    logger.close()
    assert [
        ("init", (), {"project": "p"}),
        ("watch", ("model",), {}),
        ("log", ({"validation/accuracy": 0.5, "validation/name": "first"},), {"step": 7}),
        ("finish", (), {}),
    ] == tracker.calls


@pytest.mark.parametrize("tracker", ["wandb"], indirect=True)
def test_a_run_of_wandb_can_be_begun_elsewhere(tracker):
    ignite.handlers.WandBLogger(init=False)
    assert [] == tracker.calls


@pytest.mark.parametrize(("name", "module"), [("MLflowLogger", "mlflow"), ("WandBLogger", "wandb")])
def test_a_missing_tracker_is_named_with_the_way_to_install_it(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=f"pip install {module}"):
        getattr(ignite.handlers, name)()


@pytest.mark.parametrize(
    "name", ["ClearMLLogger", "FBResearchLogger", "NeptuneLogger", "PolyaxonLogger", "VisdomLogger"]
)
def test_a_logger_that_is_not_here_can_be_imported_and_is_refused_by_name(name):
    with pytest.raises(ImportError, match=name):
        getattr(ignite.handlers, name)()


@pytest.mark.parametrize(
    ("tracker", "setup"), [("mlflow", setup_mlflow_logging), ("wandb", setup_wandb_logging)], indirect=["tracker"]
)
def test_one_call_sets_up_a_tracker(tracker, setup):
    trainer = make_engine()
    setup(trainer, make_optimizer(), log_every_iters=2)
    trainer.run([0] * 4)
    written = [call for call in tracker.calls if call[0] in ("log", "log_metrics")]
    assert [2, 2, 4, 4] == [call[2]["step"] for call in written]


def test_one_call_logs_a_training_and_its_validation_for_tensorboard(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer, evaluator = make_engine(), make_engine()
    logger = setup_tb_logging(str(tmp_path), trainer, make_optimizer(), {"test": evaluator}, log_every_iters=2)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]) and None)
    trainer.run([0] * 4)
    logger.close()
    accumulator = accumulators.EventAccumulator(str(tmp_path))
    accumulator.Reload()
    steps = {tag: [event.step for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}
    assert [2, 4] == steps["training/accuracy"]
    assert [2, 4] == steps["lr/group_0"]
    assert [1] == steps["test/accuracy"]  # the epoch, as in pytorch-ignite 0.5.5


@pytest.mark.parametrize("argument", ["optimizers", "evaluators"])
def test_setting_up_refuses_what_is_neither_one_nor_a_mapping(tmp_path, argument):
    with pytest.raises(TypeError, match=argument):
        setup_tb_logging(str(tmp_path), make_engine(), **{argument: 3})


@pytest.mark.parametrize(
    "module",
    [
        "base_logger", "clearml_logger", "lr_finder", "mlflow_logger", "neptune_logger", "param_scheduler",
        "polyaxon_logger", "tensorboard_logger", "time_profilers", "tqdm_logger", "visdom_logger", "wandb_logger",
    ],
)  # fmt: skip
def test_a_former_module_has_the_names_of_the_present_one(module):
    former = importlib.import_module(f"ignite.contrib.handlers.{module}")
    present = importlib.import_module(f"ignite.handlers.{module}")
    names = getattr(present, "__all__", [name for name in vars(present) if name.startswith("Base")])
    assert all(getattr(former, name) is getattr(present, name) for name in names)


def test_every_exported_name_is_there():
    assert all(hasattr(ignite.handlers, name) for name in ignite.handlers.__all__)


def test_a_step_comes_from_another_engine():
    trainer = Engine(lambda engine, batch: None)
    trainer.run([0] * 3, max_epochs=2)
    assert 2 == global_step_from_engine(trainer)(None, Events.EPOCH_COMPLETED)
    assert 6 == global_step_from_engine(trainer, Events.ITERATION_COMPLETED)(None, Events.EPOCH_COMPLETED)


BAR = "{desc}{n}/{total}"


def shown(run):
    stream = io.StringIO()
    bar = ProgressBar(persist=True, bar_format=BAR, file=stream, mininterval=0)
    engine = Engine(lambda engine, batch: batch and batch())
    bar.attach(engine)
    run(engine)
    return stream.getvalue().split("\r")[-1].strip(), bar


def test_a_bar_of_a_terminated_run_is_closed_where_it_ended():
    text, bar = shown(lambda engine: engine.run([None, engine.terminate, None]))
    assert "Iteration: 2/3" == text
    assert bar.pbar is None


def test_a_bar_of_an_epoch_that_was_cut_off_does_not_claim_to_be_full():
    text, _ = shown(lambda engine: engine.run([None, engine.terminate_epoch, None]))
    assert "Iteration: 2/3" == text


def test_a_bar_goes_on_after_an_error():
    def fail_and_go_on(engine):
        def fail():
            batches[1] = None
            raise ValueError("a failing step")

        batches = [None, fail, None]
        with pytest.raises(ValueError, match="a failing step"):
            engine.run(batches)
        engine.run([None] * 3)

    text, bar = shown(fail_and_go_on)
    assert "Iteration: 3/3" == text
    assert bar.pbar is None


def test_a_bar_of_data_without_a_length_counts():
    text, _ = shown(lambda engine: engine.run(iter([None] * 4)))
    assert "Iteration: 4/None" == text
