"""What every version of a distribution has to do, in a few lines each: `python scenarios.py handlers`.

It uses what has been public since the first version only, and the standard library beside that.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any


def engine_core() -> None:
    """Events, filters, stopping, going on, a state in another engine."""
    from camshaft.engine import Engine, Events

    seen: list[object] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda: seen.append("two"))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate)
    engine.run("abcd", max_epochs=2)
    assert seen == ["a", "b", "two", "c"], seen
    other: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))
    other.load_state_dict(engine.state_dict())
    other.run("abcd")
    assert "".join(map(str, seen[4:])) == "dabcd", seen
    assert (other.state.epoch, other.state.iteration) == (2, 8)


def engine_deterministic() -> None:
    """A shuffled loader with noise, stopped inside an epoch and resumed exactly."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from camshaft.deterministic import DeterministicEngine
    from camshaft.engine import Events

    def loader() -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.arange(12)), batch_size=4, shuffle=True)

    def make(seen: list[float]) -> DeterministicEngine[Any, Any]:
        return DeterministicEngine(lambda engine, batch: seen.append((batch[0] + torch.rand(())).sum().item()))

    whole: list[float] = []
    make(whole).run(loader(), max_epochs=2, seed=5)
    parts: list[float] = []
    stopped = make(parts)
    stopped.add_event_handler(Events.ITERATION_COMPLETED(once=4), stopped.terminate)
    stopped.run(loader(), max_epochs=2, seed=5)
    resumed = make(parts)
    resumed.load_state_dict(stopped.state_dict())
    resumed.run(loader())
    assert parts == whole, (parts, whole)


def handlers() -> None:
    """Early stopping, a history, checkpoints that are kept, verified and restored."""
    import torch

    from camshaft.engine import Engine, Events
    from camshaft.handlers import (
        Checkpoint,
        EarlyStopping,
        History,
        list_checkpoints,
        restore_latest,
        verify_checkpoint,
    )

    with tempfile.TemporaryDirectory() as name:
        model = torch.nn.Linear(2, 1)
        trainer: Engine[Any, Any] = Engine(lambda engine, batch: batch)
        history = History(Path(name) / "history.jsonl")
        history.attach(trainer, output_transform=lambda output: {"loss": output})
        EarlyStopping(2, lambda engine: -float(engine.state.output or 0), trainer).attach(
            trainer, Events.EPOCH_COMPLETED
        )
        objects = {"trainer": trainer, "model": model, "history": history}
        trainer.add_event_handler(Events.EPOCH_COMPLETED, Checkpoint(objects, name, n_saved=2))
        trainer.run([0.5, 0.4, 0.3, 0.6, 0.7, 0.8], max_epochs=6, epoch_length=1)
        assert trainer.state.epoch == 5
        assert [row["loss"] for row in history.rows()] == [0.5, 0.4, 0.3, 0.6, 0.7]
        files = list_checkpoints(name)
        assert [file.step for file in files] == [5, 4]
        assert all(verify_checkpoint(file.path) for file in files)
        before = model.weight.detach().clone()
        torch.nn.init.zeros_(model.weight)
        assert restore_latest(name, objects).step == 5
        assert torch.equal(before, model.weight)


def supervised() -> None:
    """A trainer that learns, with accumulation and clipping, and an evaluator."""
    import torch

    from camshaft.supervised import create_supervised_evaluator, create_supervised_trainer

    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 64).reshape(8, 8, 1)
    data = [(batch, 3 * batch + 1) for batch in x]
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    loss_fn = torch.nn.functional.mse_loss
    trainer = create_supervised_trainer(model, optimizer, loss_fn, gradient_accumulation_steps=2, clip_grad_norm=5.0)
    trainer.run(data, max_epochs=60)
    found: Any = create_supervised_evaluator(model).run(data).output
    y_pred, y = found
    assert torch.allclose(y_pred, y, atol=0.02)


def distributed() -> None:
    """One process: the same program as with several."""
    import camshaft.distributed
    from camshaft.engine import Engine

    with camshaft.distributed.start() as process:
        engine: Engine[Any, Any] = Engine(lambda engine, batch: batch)
        process.agree(engine)
        assert engine.run([1, 2]).iteration == 2


def ignite_compat() -> None:
    """A script with the imports of PyTorch-Ignite."""
    import torch

    from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.metrics import Loss

    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    loss_fn = torch.nn.functional.mse_loss
    trainer = create_supervised_trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), loss_fn)
    evaluator = create_supervised_evaluator(model, {"loss": Loss(loss_fn)})
    x = torch.linspace(-1, 1, 8).reshape(8, 1)
    trainer.add_event_handler(Events.COMPLETED, lambda engine: evaluator.run([(x, 2 * x + 1)]))
    trainer.run([(x, 2 * x + 1)], max_epochs=200)
    assert evaluator.state.metrics["loss"] < 0.001


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")]()
