from __future__ import annotations

import copy

import pytest

from camshaft.engine import ArgumentError, Engine, Events
from camshaft.handlers import LRCurve, NoLearningRateError, lr_range_test
from camshaft.handlers._lr_range import suggest

torch = pytest.importorskip("torch")


class Training:
    """A regression with dropout, normalization and momentum, and a second group of parameters."""

    def __init__(self):
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1)
        )
        groups = [{"params": self.model[0].parameters()}, {"params": self.model[3].parameters(), "lr": 0.03}]
        self.optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9)
        x = torch.randn(64, 4)
        self.data = [(part, part.sum(dim=1, keepdim=True)) for part in x.split(16)]
        self.used = []
        self.trainer = Engine(self.step)

    def step(self, engine, batch):
        self.used.append([group["lr"] for group in self.optimizer.param_groups])
        self.model.train()
        self.optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(self.model(batch[0]), batch[1])
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}

    def find(self, **options):
        return lr_range_test(
            self.trainer, self.data, self.model, self.optimizer,
            output_transform=lambda output: output["loss"], **options,
        )  # fmt: skip

    def everything(self):
        return copy.deepcopy(
            [
                self.model.state_dict(), self.optimizer.state_dict(),
                [module.training for module in self.model.modules()],
                [parameter.grad for parameter in self.model.parameters()],
                torch.get_rng_state(), self.trainer.state_dict(),
            ]
        )  # fmt: skip


def same(left, right):
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def test_the_rate_grows_by_the_same_factor_from_the_first_to_the_last():
    training = Training()
    curve = training.find(start_lr=1e-4, end_lr=1.0, iterations=5, stop_factor=1e9)

    assert curve.lrs == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert [lr for lr, _ in training.used] == curve.lrs
    assert [second / first for first, second in training.used] == pytest.approx([3.0] * 5)
    assert len(curve.losses) == len(curve.smoothed) == 5


@pytest.mark.parametrize("trained", [False, True])
def test_everything_is_as_it_was_before(trained):
    training = Training()
    if trained:
        training.trainer.run(training.data, max_epochs=2)
        training.model.eval()
    before = training.everything()

    training.find(iterations=20)

    assert same(before, training.everything())


def test_training_after_it_is_the_same_as_without_it():
    plain, searched = Training(), Training()
    searched.find(iterations=20)
    for training in (plain, searched):
        torch.manual_seed(1)
        training.trainer.run(training.data, max_epochs=3)

    assert same(plain.everything()[:2], searched.everything()[:2])


def test_the_handlers_of_the_trainer_are_not_called():
    training, called = Training(), []
    training.trainer.add_event_handler(Events.ITERATION_COMPLETED, called.append)

    training.find(iterations=4)

    assert called == []


def test_it_is_put_back_after_an_error():
    training = Training()
    before = training.everything()

    with pytest.raises(KeyError):
        lr_range_test(
            training.trainer, training.data, training.model, training.optimizer,
            output_transform=lambda output: output["missing"],
        )  # fmt: skip

    assert same(before, training.everything())


def test_what_else_a_step_changes_is_put_back():
    training = Training()
    schedule = torch.optim.lr_scheduler.ExponentialLR(training.optimizer, 0.5)
    inner = training.trainer.process_function
    training.trainer.process_function = lambda engine, batch: (inner(engine, batch), schedule.step())[0]
    before = schedule.state_dict()

    lr_range_test(
        training.trainer, training.data, training.model, training.optimizer, schedule,
        output_transform=lambda output: output["loss"], iterations=4,
    )  # fmt: skip

    assert schedule.state_dict() == before


def test_it_ends_early_when_the_loss_explodes():
    curve = Training().find(start_lr=1e-3, end_lr=1e6, iterations=60)

    assert 3 < len(curve.losses) < 60
    assert curve.smoothed[-1] > 4 * min(curve.smoothed)
    assert max(curve.smoothed[:-1]) <= 4 * min(curve.smoothed)


def test_it_ends_before_a_loss_that_is_not_finite():
    losses = [3.0, 2.0, float("nan"), 1.0]
    training = Training()
    training.trainer.process_function = lambda engine, batch: {"loss": losses[engine.state.iteration - 1]}

    curve = training.find(iterations=4)

    assert curve.losses == [3.0, 2.0]
    assert len(curve.lrs) == 2


def test_it_suggests_a_rate_that_trains():
    training = Training()
    suggestion = training.find(iterations=60).suggestion
    for group in training.optimizer.param_groups:
        group["lr"] = suggestion

    def loss():
        with torch.no_grad():
            x, y = training.data[0]
            return torch.nn.functional.mse_loss(training.model.eval()(x), y).item()

    before = loss()
    training.trainer.run(training.data, max_epochs=10)

    assert 1e-5 < suggestion < 1.0
    assert loss() < before


def test_where_the_loss_never_falls_there_is_no_suggestion():
    assert suggest([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) is None
    assert suggest([1.0], [1.0]) is None


@pytest.mark.parametrize(
    ("losses", "advice"),
    [
        ([], "the first loss is not finite; lower `start_lr`, or check data and model"),
        ([1.0, 2.0, 3.0], "the loss never falls from 0.1 to 0.3, it rises; lower `start_lr`"),
        ([1.0, 1.0, 1.0], "the loss never falls from 0.1 to 0.3; raise `end_lr` or `iterations`, and check that"),
    ],
)
def test_asking_for_a_suggestion_that_is_not_there_is_an_error_with_advice(losses, advice):
    curve = LRCurve([0.1, 0.2, 0.3][: len(losses)], losses, losses)

    with pytest.raises(NoLearningRateError, match=f"no learning rate was found: {advice}"):
        _ = curve.suggestion


def test_a_test_whose_first_loss_is_not_finite_finds_nothing():
    training = Training()
    training.trainer.process_function = lambda engine, batch: {"loss": float("inf")}

    curve = training.find(iterations=4)

    assert curve == ([], [], [])
    with pytest.raises(NoLearningRateError):
        _ = curve.suggestion


def test_the_curve_is_drawn_with_and_without_a_suggestion(tmp_path):
    pytest.importorskip("matplotlib")
    falling, rising = [3.0, 2.0, 1.0, 5.0], [1.0, 2.0, 3.0, 4.0]
    for name, losses in (("with.png", falling), ("without.png", rising)):
        LRCurve([0.001, 0.01, 0.1, 1.0], losses, losses).plot(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_a_curve_without_a_loss_cannot_be_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(NoLearningRateError, match="the first loss is not finite"):
        LRCurve([], [], []).plot(tmp_path / "curve.png")


def test_a_learning_rate_in_a_tensor_is_changed_in_place_and_put_back():
    training = Training()
    rate = torch.tensor(0.01)
    training.optimizer.param_groups[0]["lr"] = rate
    seen = []
    inner = training.trainer.process_function
    training.trainer.process_function = lambda engine, batch: (seen.append(float(rate)), inner(engine, batch))[1]

    curve = training.find(iterations=3)

    assert seen == pytest.approx(curve.lrs)
    assert training.optimizer.param_groups[0]["lr"] is rate
    assert rate == torch.tensor(0.01)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"start_lr": 0.0}, "`start_lr` must be above 0 and below `end_lr`, got 0.0 and 10.0"),
        ({"start_lr": 20.0}, "`start_lr` must be above 0 and below `end_lr`, got 20.0 and 10.0"),
        ({"iterations": 1}, "`iterations` must be an integer of at least 2, got 1"),
        ({"iterations": True}, "`iterations` must be an integer of at least 2, got True"),
        ({"smoothing": 1.0}, "`smoothing` must be at least 0 and below 1, got 1.0"),
        ({"stop_factor": 1.0}, "`stop_factor` must be above 1, got 1.0"),
    ],
)
def test_a_wrong_argument_is_refused(options, text):
    with pytest.raises(ArgumentError, match=text):
        Training().find(**options)
