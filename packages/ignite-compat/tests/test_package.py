import importlib
import os
import subprocess
import sys
from pkgutil import resolve_name

import pytest
import torch

import ignite
from ignite.base import ResettableHandler, Serializable
from ignite.contrib.engines.tbptt import Tbptt_Events, create_supervised_tbptt_trainer
from ignite.engine import DeterministicEngine, Engine, Events
from ignite.exceptions import NotComputableError

PROGRAM = "import ignite\nprint(ignite.__version__)"


def installed(folder, files):
    """A folder that a distribution named pytorch-ignite with these files is installed into."""
    info = folder / "pytorch_ignite-0.5.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pytorch-ignite\nVersion: 0.5.5\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    path = os.pathsep.join([*sys.path, str(folder)])
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_the_package_is_not_imported_beside_pytorch_ignite(tmp_path):
    done = installed(tmp_path, ["ignite/__init__.py", "pytorch_ignite-0.5.5.dist-info/METADATA"])
    assert 1 == done.returncode
    assert "ImportError: pytorch-ignite 0.5.5 and camshaft-ignite-compat both bring the package `ignite`" in done.stderr
    assert "pip uninstall pytorch-ignite" in done.stderr


def test_a_distribution_of_that_name_without_the_package_does_no_harm(tmp_path):
    done = installed(tmp_path, ["something_else.py"])
    assert (0, "0.5.5") == (done.returncode, done.stdout.strip())


def test_the_version_is_that_of_the_release_it_stands_for():
    assert "0.5.5" == ignite.__version__


@pytest.mark.parametrize(
    "name", ["base", "contrib", "distributed", "engine", "exceptions", "handlers", "metrics", "utils"]
)
def test_submodules_are_there_after_importing_the_package(name):
    assert importlib.import_module(f"ignite.{name}") is getattr(ignite, name)
    assert name in dir(ignite)


def test_an_unknown_submodule_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ignite.nothing


def test_importing_the_package_imports_no_torch():
    program = "import sys, ignite; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()


def test_a_result_that_is_not_there_yet_is_a_runtime_error():
    assert issubclass(NotComputableError, RuntimeError)


def test_engines_are_serializable():
    engine = DeterministicEngine(lambda engine, batch: None)
    assert isinstance(engine, Engine)
    assert isinstance(engine, Serializable)
    assert not isinstance(3, Serializable)


class Counted(Serializable):
    _state_dict_all_req_keys = ("count",)
    _state_dict_one_of_opt_keys = (("epoch", "iteration"),)
    count = 0

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.count = state_dict["count"]


@pytest.mark.parametrize("state", [{"epoch": 1}, {"count": 1}, {"count": 1, "epoch": 1, "iteration": 1}])
def test_a_state_has_the_keys_that_its_class_asks_for(state):
    counted = Counted()
    with pytest.raises(ValueError, match="`state_dict` must have"):
        counted.load_state_dict(state)
    assert counted.count == 0


def test_a_state_may_have_more_keys():
    counted = Counted()
    counted.load_state_dict({"count": 1, "epoch": 1, "more": 1})
    assert counted.count == 1


def test_a_state_is_a_mapping():
    with pytest.raises(TypeError, match="`state_dict` must be a mapping"):
        Counted().load_state_dict([])


def test_a_resettable_handler_defines_both_methods():
    with pytest.raises(TypeError, match="abstract"):
        ResettableHandler()


def test_long_sequences_are_trained_in_chunks():
    torch.manual_seed(0)
    network, head = torch.nn.LSTM(2, 3), torch.nn.Linear(3, 1)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network, self.head = network, head

        def forward(self, x, hidden=None):
            y, hidden = self.network(x, hidden)
            return self.head(y), hidden

    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = create_supervised_tbptt_trainer(model, optimizer, torch.nn.functional.mse_loss, 3, dim=0)
    chunks, losses, outputs = [], [], []
    trainer.add_event_handler(Tbptt_Events.TIME_ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
    trainer.add_event_handler(
        Tbptt_Events.TIME_ITERATION_COMPLETED(every=2), lambda engine: chunks.append(engine.state.time_iteration)
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output))
    trainer.run([(torch.randn(8, 4, 2), torch.randn(8, 4, 1)) for _ in range(3)], max_epochs=2)
    assert list(range(2, 19, 2)) == chunks
    # What pytorch-ignite 0.5.5 computes for the same program.
    expected = [0.97378, 0.83191, 1.30118, 0.97744, 0.7605, 1.31001]
    assert pytest.approx(expected, abs=1e-5) == outputs
    assert pytest.approx([0.87271, 1.22606, 0.82258, 0.59938, 1.34204, 0.55431], abs=1e-5) == losses[:6]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("ignite.engine.engine.Engine", "ignite.engine.Engine"),
        ("ignite.engine.engine.Events", "ignite.engine.Events"),
        ("ignite.engine.engine.State", "ignite.engine.State"),
        ("ignite.engine.engine.EventEnum", "ignite.engine.EventEnum"),
        ("ignite._utils.convert_tensor", "ignite.utils.convert_tensor"),
        ("ignite._utils.to_onehot", "ignite.utils.to_onehot"),
        ("ignite.contrib.engines.common.get_default_score_fn", "ignite.handlers.Checkpoint.get_default_score_fn"),
    ],
)
def test_names_are_where_older_scripts_import_them(older, newer):
    assert resolve_name(older) is resolve_name(newer)


def test_modules_are_there_without_being_imported_by_name():
    program = (
        "import ignite; print(ignite.engine.events.Events is ignite.engine.engine.Events, ignite.metrics.regression)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True <module 'ignite.metrics.regression'")


@pytest.mark.parametrize("module", ["clustering", "fairness", "vision"])
def test_a_module_of_metrics_that_is_not_here_says_what_to_use(module):
    absent = importlib.import_module(f"ignite.metrics.{module}")
    with pytest.raises(ImportError, match=rf"`ignite.metrics.{module}.Score`; use torchmetrics\."):
        _ = absent.Score
