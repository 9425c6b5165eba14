from __future__ import annotations

import subprocess
import sys

import pytest

import camshaft.handlers

WITHOUT_TORCH = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("torch", "numpy", "tqdm", "matplotlib", "tensorboard", "mlflow"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

USE_ALL = """
import math
from camshaft.engine import Engine, Events
from camshaft.handlers import EarlyStopping, TerminateOnNan, TimeLimit, Timer, global_step_from_engine

engine = Engine(lambda engine, batch: {"loss": 1.0 / batch})
timer = Timer(average=True).attach(engine, step=Events.ITERATION_COMPLETED)
engine.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
engine.add_event_handler(Events.ITERATION_COMPLETED, TimeLimit(1000))
EarlyStopping(2, lambda engine: engine.state.output["loss"], engine).attach(engine, Events.ITERATION_COMPLETED)
step = global_step_from_engine(engine)
print(engine.run(range(1, 100)).iteration, timer.step_count, step(None, Events.ITERATION_COMPLETED))
engine.run([1.0, math.inf, math.nan, 1.0])
print(engine.state.iteration)
"""

WATCH = """
import tempfile
from pathlib import Path
from camshaft.engine import Engine, Events
from camshaft.handlers import CSVLogger, History, LRScheduler, Profiler

class Scheduler:
    def step(self): pass
    state_dict = load_state_dict = step

engine, folder = Engine(lambda engine, batch: {"loss": 1.0 / batch}), Path(tempfile.mkdtemp())
history, logger, profiler = History(folder / "h.jsonl"), CSVLogger(folder / "l.csv"), Profiler()
history.attach(engine, output_transform=dict)
logger.attach(engine, Events.ITERATION_COMPLETED, output_transform=dict)
LRScheduler(Scheduler()).attach(engine)
profiler.attach(engine)
engine.run([1, 2], max_epochs=2)
print(len(history.rows()), len((folder / "l.csv").read_text().split()), len(profiler.summary()["handlers"]))
"""

REFUSED = """
import camshaft.handlers
try:
    camshaft.handlers.{call}
except ModuleNotFoundError as error:
    print(type(error).__name__, error)
"""


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_stopping_timing_and_observing_handlers_work_where_torch_cannot_be_imported():
    assert run(WITHOUT_TORCH + USE_ALL).split() == ["3", "3", "3", "3"]


def test_history_csv_logger_scheduler_and_profiler_work_where_torch_cannot_be_imported():
    assert run(WITHOUT_TORCH + WATCH).split() == ["2", "5", "3"]


@pytest.mark.parametrize(
    ("call", "package", "extra"),
    [
        ("ProgressBar()", "tqdm", "progress"),
        ("TensorBoardLogger('runs')", "tensorboard", "tensorboard"),
        ("MLflowLogger()", "mlflow", "mlflow"),
        ("ExponentialMovingAverage(None)", "torch", "torch"),
        ("with_warmup(None, 1)", "torch", "torch"),
        ("lr_range_test(camshaft.engine.Engine(lambda engine, batch: 0), [0], None, None)", "torch", "torch"),
        ("LRCurve([1.0], [1.0], [1.0]).plot('a.png')", "matplotlib", "plot"),
    ],
)
def test_what_needs_an_extra_that_is_missing_names_it(call, package, extra):
    what = call.partition("(")[0] + (".plot" if "plot" in call else "")
    assert run(WITHOUT_TORCH + REFUSED.format(call=call)) == (
        f'ExtraMissingError {what} needs {package}, which is not installed; pip install "camshaft-handlers[{extra}]"\n'
    )


def test_importing_the_package_imports_no_optional_package():
    optional = {"torch", "numpy", "tqdm", "matplotlib", "tensorboard", "mlflow"}
    code = f"import sys, camshaft.handlers; print({{m.split('.')[0] for m in sys.modules}} & {optional})"

    assert run(code) == "set()\n"


def test_every_public_name_is_there_once():
    names = camshaft.handlers.__all__

    assert len(names) == len(set(names))
    assert all(hasattr(camshaft.handlers, name) for name in names)
    assert set(camshaft.handlers.checkpoint.__all__) <= set(names)
