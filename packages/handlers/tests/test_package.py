from __future__ import annotations

import subprocess
import sys

import camshaft.handlers

WITHOUT_TORCH = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("torch", "numpy", "tqdm"):
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

MAKE_BAR = """
from camshaft.handlers import ProgressBar
try:
    ProgressBar()
except RuntimeError as error:
    print(type(error).__name__, error)
"""


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_stopping_timing_and_observing_handlers_work_where_torch_cannot_be_imported():
    assert run(WITHOUT_TORCH + USE_ALL).split() == ["3", "3", "3", "3"]


def test_a_progress_bar_without_tqdm_names_the_extra():
    assert run(WITHOUT_TORCH + MAKE_BAR) == (
        'ExtraMissingError ProgressBar needs tqdm, which is not installed; pip install "camshaft-handlers[progress]"\n'
    )


def test_importing_the_package_imports_no_optional_package():
    code = "import sys, camshaft.handlers; print({m.split('.')[0] for m in sys.modules} & {'torch', 'numpy', 'tqdm'})"

    assert run(code) == "set()\n"


def test_every_public_name_is_there_once():
    names = camshaft.handlers.__all__

    assert len(names) == len(set(names))
    assert all(hasattr(camshaft.handlers, name) for name in names)
    assert set(camshaft.handlers.checkpoint.__all__) <= set(names)
