from __future__ import annotations

import pytest
import torch

from ignite.engine import Engine, Events
from ignite.handlers import FastaiLRFinder


def make(losses):
    optimizer, numbers = torch.optim.SGD([torch.zeros(1)], lr=1e-3), iter(losses)

    def step(engine, batch):
        loss = next(numbers)
        if loss is None:
            raise ValueError("a failing step")
        return loss

    return Engine(step), optimizer


@pytest.mark.filterwarnings("ignore:the loss did not diverge")
def test_a_failing_run_leaves_optimizer_and_trainer_as_they_were():
    trainer, optimizer = make([3.0, 2.0, None])
    with pytest.raises(ValueError, match="a failing step"), FastaiLRFinder().attach(trainer, {"optimizer": optimizer}):
        trainer.run([0] * 5)
    assert 1e-3 == optimizer.param_groups[0]["lr"]
    assert 0 == trainer.state.iteration


def test_handlers_are_gone_behind_the_block():
    trainer, optimizer = make([3.0, 2.0, 1.0, 9.0, 5.0, 5.0])
    finder = FastaiLRFinder()
    with finder.attach(trainer, {"optimizer": optimizer}, smooth_f=0):
        trainer.run([0] * 4)
    trainer.run([0] * 2)
    assert 4 == len(finder.get_results()["lr"])
    assert 2 == trainer.state.iteration


def test_a_run_whose_loss_does_not_diverge_warns():
    trainer, optimizer = make([3.0, 2.0])
    with FastaiLRFinder().attach(trainer, {"optimizer": optimizer}), pytest.warns(UserWarning, match="did not diverge"):
        trainer.run([0] * 2)


def test_data_without_a_length_need_the_number_of_iterations():
    trainer, optimizer = make([3.0, 2.0])
    with FastaiLRFinder().attach(trainer, {"optimizer": optimizer}), pytest.raises(ValueError, match="num_iter"):
        trainer.run(iter([0] * 2))


@pytest.mark.filterwarnings("ignore:the loss did not diverge")
def test_the_learning_rate_is_raised_in_every_group_by_its_own_range():
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=1e-3)
    trainer, finder = Engine(lambda engine, batch: 1.0), FastaiLRFinder()
    with finder.attach(trainer, {"optimizer": optimizer}, start_lr=[1e-4, 1e-2], end_lr=[1.0, 2.0]):
        trainer.run([0] * 4)
    assert pytest.approx([1.0, 2.0]) == finder.get_results()["lr"][-1]


def test_the_curve_is_drawn_with_the_suggestion(tmp_path):
    pytest.importorskip("matplotlib").use("agg")
    trainer, optimizer = make([5.0, 4.0, 2.0, 1.0, 9.0, 9.0])
    finder = FastaiLRFinder()
    with finder.attach(trainer, {"optimizer": optimizer}, smooth_f=0):
        trainer.run([0] * 6)
    axes = finder.plot(skip_start=0, skip_end=0)
    assert finder.get_results()["loss"] == list(axes.get_lines()[0].get_ydata())
    assert 1 == len(axes.collections)
    with pytest.warns(UserWarning, match="skip_start"):
        finder.plot(skip_start=4, skip_end=0)


def test_the_other_handlers_of_the_trainer_are_called():
    trainer, optimizer = make([5.0, 4.0, 2.0, 50.0])
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(1))
    with FastaiLRFinder().attach(trainer, {"optimizer": optimizer}, smooth_f=0):
        trainer.run([0] * 6)
    assert 4 == len(seen)
