"""Metrics: what they give, when, and how they are put together."""

from __future__ import annotations

import copy

import torch

from ignite.engine import Engine, Events, create_supervised_evaluator
from ignite.exceptions import NotComputableError
from ignite.metrics import (
    ROC_AUC,
    Accuracy,
    Average,
    BatchFiltered,
    BatchWise,
    ConfusionMatrix,
    EpochWise,
    Fbeta,
    GeometricAverage,
    IoU,
    Loss,
    MeanSquaredError,
    Metric,
    MetricGroup,
    MetricsLambda,
    MetricUsage,
    Precision,
    Recall,
    RunningAverage,
    TopKCategoricalAccuracy,
)
from ignite.metrics.metric import (
    RunningEpochWise,
    SingleEpochRunningBatchWise,
    reinit__is_reduced,
    sync_all_reduce,
)
from reference_cases.tools import case, echo, raises

SCORES = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3], [0.5, 0.3, 0.2], [0.2, 0.5, 0.3]])
CLASSES = torch.tensor([0, 2, 0, 1, 1])
BATCH = (SCORES, CLASSES)
BINARY = (torch.tensor([1, 0, 1, 1]), torch.tensor([1, 0, 0, 1]))


def rounded(value):
    if isinstance(value, torch.Tensor):
        return rounded(value.tolist())
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return round(float(value), 5)


def measured(attach, batches, max_epochs=1, step=echo):
    """Return the metrics after each iteration, and those after the run."""
    engine, seen = Engine(step), []
    attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(rounded(engine.state.metrics)))
    engine.run(batches, max_epochs=max_epochs)
    return [seen, rounded(engine.state.metrics)]


@case
def metrics_without_samples():
    metrics = [Accuracy(), Precision(), Recall(), MeanSquaredError(), TopKCategoricalAccuracy(), ConfusionMatrix(3),
               Average(), GeometricAverage(), ROC_AUC(), Fbeta(1.0), IoU(ConfusionMatrix(3)),
               RunningAverage(Accuracy()), Loss(torch.nn.functional.mse_loss)]  # fmt: skip
    before = [raises(NotComputableError, metric.compute) for metric in metrics]
    metric = Accuracy()
    metric.update(BATCH)
    value = metric.compute()
    metric.reset()
    return [before, value, raises(NotComputableError, metric.compute), issubclass(NotComputableError, RuntimeError)]


@case
def batches_that_do_not_fit():
    pairs = [
        (Accuracy, [(torch.rand(4, 3), torch.zeros(4, 3, 2))]), (Accuracy, [(torch.tensor([0.4]), torch.tensor([1]))]),
        (Accuracy, [(torch.rand(4, 2, 3), torch.zeros(4))]), (ROC_AUC, [(torch.rand(2, 3, 4), torch.zeros(2))]),
        (TopKCategoricalAccuracy, [BATCH]), (lambda: ConfusionMatrix(4), [BATCH]),
        (lambda: ConfusionMatrix(3), [BINARY]), (MeanSquaredError, [(torch.rand(3), torch.rand(4))]),
        (loss_of_rows, [(torch.rand(3), torch.rand(3))]),
    ]  # fmt: skip
    return [
        [raises(ValueError, lambda make=make, batches=batches: update(make(), batches)) for make, batches in pairs],
        raises(RuntimeError, update, Accuracy(), [BATCH, BINARY]),
        raises(TypeError, update, Average(), ["text"]),
    ]


def loss_of_rows():
    return Loss(lambda prediction, target: torch.ones(3))


def update(metric, batches):
    for batch in batches:
        metric.update(batch)
    return rounded(metric.compute())


@case
def arguments_of_metrics_that_are_refused():
    values = [
        lambda: ConfusionMatrix(3, average="abc"), lambda: Fbeta(-1.0), lambda: Precision(average="some"),
        lambda: IoU(ConfusionMatrix(3), ignore_index=5), lambda: RunningAverage(Accuracy(), alpha=-1.0),
        lambda: Fbeta(1.0, precision=Precision(average=True)),
    ]  # fmt: skip
    kinds = [lambda: IoU(5), lambda: RunningAverage(5), lambda: Accuracy(unknown=1)]
    return [[raises(ValueError, each) for each in values], [raises(TypeError, each) for each in kinds]]


@case
def attaching_and_detaching():
    engine, metric = Engine(echo), Accuracy()
    metric.attach(engine, "accuracy")
    attached = metric.is_attached(engine)
    engine.run([BATCH, BATCH])
    found, first = dict(engine.state.metrics), engine.has_event_handler(metric.completed)
    metric.detach(engine)
    engine.state.metrics.clear()
    engine.run([BATCH])
    return [
        rounded(found), attached, first, metric.is_attached(engine), engine.state.metrics,
        raises(ValueError, Accuracy().attach, engine, "other", usage="sometimes"),
    ]  # fmt: skip


@case
def usages_of_metrics():
    class EveryOther(MetricUsage):
        usage_name = "every_other"

        def __init__(self):
            super().__init__(Events.STARTED, Events.COMPLETED, Events.ITERATION_COMPLETED(every=2))

    numbers = [1.0, 2.0, 3.0, 4.0]
    usages = [EpochWise(), BatchWise(), BatchFiltered(every=2), EveryOther(), "batch_wise", "epoch_wise"]
    return [
        [measured(lambda engine, u=usage: Average().attach(engine, "a", usage=u), numbers, 2) for usage in usages],
        [[type(each).usage_name, str(each.COMPLETED), str(each.ITERATION_COMPLETED)] for each in usages[:2]],
    ]


class AbsoluteError(Metric):
    required_output_keys = ("y_pred", "y")
    _state_dict_all_req_keys = ("_total", "_count")

    @reinit__is_reduced
    def reset(self):
        self._total, self._count = torch.tensor(0.0, device=self._device), 0
        super().reset()

    @reinit__is_reduced
    def update(self, output):
        prediction, target = output[0].detach(), output[1].detach()
        self._total += (prediction - target).abs().sum()
        self._count += target.numel()

    @sync_all_reduce("_total", "_count:SUM")
    def compute(self):
        if self._count == 0:
            raise NotComputableError("there must be a sample")
        return self._total.item() / self._count


@case
def metrics_of_ones_own():
    batches = [(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 4.0])), (torch.tensor([0.0]), torch.tensor([1.0]))]
    metric, other = AbsoluteError(), AbsoluteError()
    twice = metric * 2 + 1
    found = measured(lambda engine: metric.attach(engine, "error"), batches)
    other.load_state_dict(metric.state_dict())
    return [found, raises(NotComputableError, AbsoluteError().compute), twice.compute(), other.compute()]


@case
def outputs_that_are_dicts():
    def named(engine, batch):
        return {"y_pred": batch[0], "y": batch[1], "other": 3}

    def otherwise(engine, batch):
        return {"scores": batch[0], "classes": batch[1]}

    def chosen(output):
        return output["scores"], output["classes"]

    refused = Engine(otherwise)
    Accuracy().attach(refused, "accuracy")
    return [
        measured(lambda engine: Accuracy().attach(engine, "accuracy"), [BATCH], step=named),
        measured(lambda engine: Accuracy(output_transform=chosen).attach(engine, "accuracy"), [BATCH], step=otherwise),
        raises(ValueError, refused.run, [BATCH]),
    ]


@case
def results_that_are_dicts():
    class Several(Metric):
        def reset(self):
            self.count = 0

        def update(self, output):
            self.count += output

        def compute(self):
            return {"sum": self.count, "row": torch.tensor([1.0, 2.0]), "single": torch.tensor(3)}

    class Clashing(Several):
        def compute(self):
            return {"all": 1}

    engine, clashing = Engine(echo), Engine(echo)
    Several().attach(engine, "all")
    engine.run([1, 2])
    Clashing().attach(clashing, "all")
    found = engine.state.metrics
    return [
        {name: rounded(found[name]) for name in ("sum", "row", "single")}, type(found["single"]).__name__,
        rounded(found["all"]["sum"]), raises(ValueError, clashing.run, [1]),
    ]  # fmt: skip


@case
def arithmetic_of_metrics():
    precision, recall = Precision(average=False), Recall(average=False)
    score = (precision * recall * 2 / (precision + recall)).mean()
    accuracy, matrix = Accuracy(), ConfusionMatrix(3)
    made = [accuracy + 1.0, 1.0 + accuracy, accuracy - 1.0, 1.0 - accuracy, accuracy * 2.0, 2.0 / accuracy,
            accuracy**2.0,
            accuracy % 2.0, accuracy // 2.0, accuracy + accuracy]  # fmt: skip
    rows = [matrix[0], matrix.sum(), matrix.t(), matrix.diag() / matrix.sum(dim=1)]
    accuracy.update(BATCH)
    matrix.update(BATCH)
    return [
        measured(lambda engine: score.attach(engine, "f1"), [BATCH, BATCH]),
        [rounded(each.compute()) for each in made],
        [rounded(each.compute()) for each in rows],
        isinstance(made[0], MetricsLambda),
    ]


@case
def functions_of_metrics_inside_each_other():
    average = Average()
    inner = MetricsLambda(lambda value: value * 2, average)
    outer = MetricsLambda(lambda value, other, plus=0: value + other + plus, inner, average, plus=1)
    engine = Engine(echo)
    outer.attach(engine, "outer")
    engine.run([1.0, 3.0])
    attached = [outer.is_attached(engine), average.is_attached(engine)]
    outer.detach(engine)
    return [rounded(engine.state.metrics), attached, outer.is_attached(engine)]


@case
def running_averages():
    numbers = [1.0, 2.0, 3.0]

    def attached(usage=None, **options):
        average = RunningAverage(**({"output_transform": lambda output: output} | options))
        return lambda engine: average.attach(engine, "mean", **({} if usage is None else {"usage": usage}))

    of_metric = RunningAverage(Accuracy(), alpha=0.5)
    alone = RunningAverage(output_transform=lambda output: output, alpha=0.5)
    values = []
    for number in numbers:
        alone.update(number)
        values.append(rounded(alone.compute()))
    return [
        measured(attached(), numbers, 2), measured(attached(epoch_bound=False), numbers, 2),
        measured(attached(RunningEpochWise()), numbers, 2),
        measured(attached(SingleEpochRunningBatchWise()), numbers, 2),
        measured(lambda engine: of_metric.attach(engine, "accuracy"), [BATCH, BINARY_SCORES, BATCH], 2), values,
    ]  # fmt: skip


BINARY_SCORES = (SCORES[:2], CLASSES[1:3])


@case
def groups_of_metrics():
    group = MetricGroup({"accuracy": Accuracy(), "precision": Precision(average=True)})
    return measured(lambda engine: group.attach(engine, "group"), [BATCH, BINARY_SCORES])[1]


@case
def saved_states_of_metrics():
    seen = []
    for metric in (Accuracy(), ConfusionMatrix(3), Precision(average=True)):
        metric.update(BATCH)
        state, copied = metric.state_dict(), copy.deepcopy(metric)
        copied.reset()
        copied.load_state_dict(state)
        seen.append([
            rounded(copied.compute()), raises(TypeError, copied.load_state_dict, "text"),
            raises(ValueError, copied.load_state_dict, {}),
        ])  # fmt: skip
    return seen


@case
def evaluators_with_metrics():
    torch.manual_seed(0)
    model, criterion = torch.nn.Linear(3, 2), torch.nn.CrossEntropyLoss()
    x, y = torch.randn(10, 3), torch.randint(0, 2, (10,))
    metrics = {"accuracy": Accuracy(), "loss": Loss(criterion), "iou": IoU(ConfusionMatrix(2)), "f1": Fbeta(1.0)}
    evaluator = create_supervised_evaluator(model, metrics=metrics)
    return rounded(evaluator.run([(x[:5], y[:5]), (x[5:], y[5:])]).metrics)
