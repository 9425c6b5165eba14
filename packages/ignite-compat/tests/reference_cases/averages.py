"""Averages of weights."""

from __future__ import annotations

import torch

from ignite.engine import Engine, Events
from ignite.handlers import (
    EMAHandler,
)
from reference_cases.tools import case, error_of, make_batches, make_network, make_trainer, warnings_of


@case
def ema_of_a_training():
    results = []
    for options in (
        {"momentum": 0.1}, {"momentum": 0.1, "momentum_warmup": 0.5, "warmup_iters": 4},
        {"momentum": 0.3, "handle_buffers": "update"}, {"momentum": 0.3, "handle_buffers": "ema_train"},
    ):  # fmt: skip
        for event in (Events.ITERATION_COMPLETED, Events.ITERATION_COMPLETED(every=3), Events.EPOCH_COMPLETED):
            model = make_network()
            trainer = make_trainer(model, torch.optim.SGD(model.parameters(), lr=0.1))
            handler = EMAHandler(model, **options)
            handler.attach(trainer, event=event)
            momenta = [trainer.state.ema_momentum]
            trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e, m=momenta: m.append(e.state.ema_momentum))
            trainer.run(make_batches(4), max_epochs=2)
            state = dict(handler.ema_model.state_dict())
            if options.get("handle_buffers") is None and event is not Events.ITERATION_COMPLETED:
                # Copied buffers are shared with the model there: they change between two updates.
                state = {name: value for name, value in state.items() if "running" not in name}
            if event is not Events.ITERATION_COMPLETED:
                state.pop("1.num_batches_tracked")
            results.append([state, momenta, handler.ema_model.training])
    return results


@case
def ema_of_a_state_that_has_the_name():
    def attach(**options):
        engine = Engine(lambda engine, batch: None)
        engine.state.ema_momentum = 0.3
        EMAHandler(make_network()).attach(engine, **options)
        return engine.state.ema_momentum

    return warnings_of(attach), warnings_of(lambda: attach(warn_if_exists=False)), attach()


@case
def errors_of_ema():
    model = make_network()
    return [
        error_of(lambda options=options: EMAHandler(model, **options))
        for options in ({"momentum": 2}, {"momentum": 0}, {"momentum": 1.0}, {"handle_buffers": "x"})
    ] + [error_of(lambda: EMAHandler(3))]
