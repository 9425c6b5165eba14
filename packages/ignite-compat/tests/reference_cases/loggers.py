"""Loggers and bars."""

from __future__ import annotations

import io
import tempfile

import torch

from ignite.engine import Engine, Events
from ignite.handlers import (
    ProgressBar,
    TensorboardLogger,
    global_step_from_engine,
)
from ignite.handlers.base_logger import BaseHandler, BaseLogger, BaseOutputHandler
from ignite.handlers.tensorboard_logger import (
    GradsHistHandler,
    GradsScalarHandler,
    OptimizerParamsHandler,
    OutputHandler,
    WeightsHistHandler,
    WeightsScalarHandler,
)
from reference_cases.tools import (
    case,
    error_of,
    logged_scalars,
    make_batches,
    make_network,
    make_optimizer,
    make_trainer,
)


def make_engine_with_values():
    engine = Engine(lambda engine, batch: batch)
    engine.state.alpha = 2.5
    engine.state.output = 1.5
    engine.state.metrics.update(
        acc=0.5, vec=torch.tensor([1.0, 2.0]), text="str", nested={"x": 1, "y": {"z": torch.tensor(3)}}, count=3,
        scalar=torch.tensor(2.5), listed=[1, 2], none=None, flag=True, matrix=torch.zeros(2, 2), one=torch.ones(1),
    )  # fmt: skip
    return engine


class Collected(BaseOutputHandler):
    def __call__(self, engine, logger, event_name):
        logger.lines.append(self._setup_output_metrics_state_attrs(engine, log_text=True, key_tuple=False))


class OwnLogger(BaseLogger):
    def __init__(self):
        self.lines = []

    def _create_output_handler(self, *args, **kwargs):
        return Collected(*args, **kwargs)

    def _create_opt_params_handler(self, *args, **kwargs):
        return lambda engine, logger, event_name: logger.lines.append(["params", str(event_name)])


@case
def logger_of_ones_own():
    class Handler(BaseHandler):
        def __call__(self, engine, logger, event_name):
            logger.lines.append([engine.state.epoch, event_name.name])

    engine, logger = make_engine_with_values(), OwnLogger()
    logger.attach(engine, Handler(), Events.EPOCH_STARTED(once=1) | Events.COMPLETED)
    logger.attach(engine, lambda *args, **kwargs: args[1].lines.append([len(args), kwargs]), Events.STARTED, 1, x=3)
    logger.attach_output_handler(
        engine, Events.ITERATION_COMPLETED(every=2), tag="t", output_transform=lambda output: {"l": output},
        state_attributes=["alpha"], metric_names="all",
    )  # fmt: skip
    handle = logger.attach_opt_params_handler(engine, Events.EPOCH_COMPLETED, 3, tag="x")
    engine.run([1.0, 2.0], max_epochs=2)
    handle.remove()
    with logger as same:
        return logger.lines, same is logger, error_of(lambda: logger.attach(engine, Handler(), "unknown"))


@case
def values_of_output_handlers():
    class Handler(BaseOutputHandler):
        def __call__(self, engine, logger, event_name):
            raise NotImplementedError

    engine = make_engine_with_values()
    results = []
    for options in (
        {"metric_names": "all"}, {"metric_names": ["acc", "vec", "missing"]},
        {"output_transform": lambda output: output},
        {"output_transform": lambda output: {"a": output, "b": [output, output]}}, {"state_attributes": ["alpha"]},
        {"metric_names": ["acc"], "output_transform": lambda output: {"acc": 9}, "state_attributes": ["alpha"]},
    ):  # fmt: skip
        handler = Handler("tag", **options)
        named = handler._setup_output_metrics_state_attrs(engine, log_text=True)
        results.append([[list(key), value] for key, value in named.items()])
        results.append(handler._setup_output_metrics_state_attrs(engine, key_tuple=False))
    return results


@case
def errors_of_loggers():
    class Handler(BaseOutputHandler):
        def __call__(self, engine, logger, event_name):
            raise NotImplementedError

    model, engine = make_network(), make_engine_with_values()
    return [
        error_of(call)
        for call in (
            lambda: Handler("t"), lambda: Handler("t", "x"), lambda: Handler("t", ["a"], output_transform=3),
            lambda: Handler("t", ["a"], global_step_transform=3), lambda: Handler("t", {"a": 1}), BaseLogger,
            lambda: OptimizerParamsHandler(3), lambda: WeightsScalarHandler(3),
            lambda: WeightsScalarHandler(model, reduction=3),
            lambda: WeightsScalarHandler(model, reduction=lambda parameter: parameter),
            lambda: OutputHandler("t", ["a"])(engine, 3, Events.STARTED),
            lambda: OptimizerParamsHandler(make_optimizer())(engine, 3, Events.STARTED),
            lambda: ProgressBar().attach(engine, "acc"),
            lambda: ProgressBar().attach(engine, event_name=Events.EPOCH_COMPLETED),
            lambda: ProgressBar().attach(engine, event_name=Events.COMPLETED),
        )
    ]  # fmt: skip


@case
def tensorboard_files():
    with tempfile.TemporaryDirectory() as folder:
        model = make_network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        trainer = make_trainer(model, optimizer)
        evaluator = Engine(lambda engine, batch: None)
        evaluator.add_event_handler(Events.STARTED, lambda e: e.state.metrics.update(acc=0.5, vec=torch.ones(2)))
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]) and None)
        with TensorboardLogger(log_dir=folder) as logger:
            logger.attach_output_handler(
                trainer,
                Events.ITERATION_COMPLETED(every=2),
                tag="training",
                output_transform=lambda loss: {"loss": loss},
            )
            logger.attach_output_handler(
                evaluator, Events.COMPLETED, tag="validation", metric_names=["acc", "vec"],
                global_step_transform=global_step_from_engine(trainer),
            )  # fmt: skip
            logger.attach_opt_params_handler(trainer, Events.ITERATION_STARTED(every=3), optimizer, tag="sgd")
            for handler in (
                WeightsScalarHandler(model), WeightsScalarHandler(model, torch.sum, "m", ["0"]),
                WeightsHistHandler(model, whitelist=["3.bias"]), GradsScalarHandler(model, tag="g"),
                GradsHistHandler(model, whitelist=lambda name, parameter: "weight" in name),
            ):  # fmt: skip
                logger.attach(trainer, handler, Events.EPOCH_COMPLETED)
            trainer.run(make_batches(4), max_epochs=3)
        return logged_scalars(folder)


BAR = "{desc}[{n_fmt}/{total_fmt}] {percentage:3.0f}%{postfix}"


def shown_by_bar(batches=3, epochs=2, attach=(), max_iters=None, **options):
    stream = io.StringIO()
    bar = ProgressBar(**{"bar_format": BAR, "persist": True, "mininterval": 0, "file": stream, **options})
    engine = make_engine_with_values()
    engine.state.metrics = {name: engine.state.metrics[name] for name in ("acc", "vec", "text", "count", "scalar")}
    bar.attach(engine, **dict(attach))
    engine.run([float(n) for n in range(batches)], max_epochs=epochs, max_iters=max_iters)
    # What was overwritten depends on the moment; what stays is the last of each line.
    return [line.split("\r")[-1].strip() for line in stream.getvalue().split("\n")], bar.pbar is None


@case
def progress_bars():
    return [
        shown_by_bar(), shown_by_bar(epochs=1), shown_by_bar(desc="Predictions"), shown_by_bar(epochs=1, desc="P"),
        shown_by_bar(attach={"metric_names": ["acc", "vec", "count", "scalar"]}),
        shown_by_bar(attach={"metric_names": "all"}), shown_by_bar(attach={"metric_names": ["missing"]}),
        shown_by_bar(attach={"output_transform": lambda output: output}),
        shown_by_bar(attach={"output_transform": lambda output: {"loss": output}}),
        shown_by_bar(attach={"output_transform": lambda output: [output, output]}),
        shown_by_bar(attach={"output_transform": lambda output: "text"}),
        shown_by_bar(attach={"state_attributes": ["alpha"]}),
        shown_by_bar(attach={"metric_names": ["acc"], "state_attributes": ["alpha"], "output_transform": float}),
        shown_by_bar(attach={"event_name": Events.EPOCH_COMPLETED, "closing_event_name": Events.COMPLETED}),
        shown_by_bar(attach={"event_name": Events.ITERATION_COMPLETED(every=2)}),
        shown_by_bar(attach={"closing_event_name": Events.COMPLETED}), shown_by_bar(epochs=None, max_iters=6),
    ]  # fmt: skip


@case
def drawings_of_a_bar():
    results = []
    for options in (
        {},
        {"output_transform": lambda output: {"a": 1}},
        {"event_name": Events.ITERATION_COMPLETED(every=2)},
    ):
        for persist in (True, False):
            stream = io.StringIO()
            # Only what is drawn in any case: what also depends on the time since the last drawing is not.
            bar = ProgressBar(persist=persist, file=stream, mininterval=3600, bar_format=BAR)
            engine = make_engine_with_values()
            bar.attach(engine, **options)
            engine.run([1, 2, 3, 4, 5], max_epochs=2)
            results.append([drawn.strip() for drawn in stream.getvalue().split("\r") if drawn.strip()])
    return results


@case
def message_of_a_bar():
    stream = io.StringIO()
    ProgressBar(file=stream).log_message("a line")
    return stream.getvalue()
