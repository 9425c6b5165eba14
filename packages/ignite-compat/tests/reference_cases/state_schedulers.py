"""Schedulers of attributes of the state."""

from __future__ import annotations

from ignite.engine import Engine, Events
from ignite.handlers import (
    ExpStateScheduler,
    LambdaStateScheduler,
    MultiStepStateScheduler,
    PiecewiseLinearStateScheduler,
    StepStateScheduler,
)
from reference_cases.tools import case, error_of, warnings_of


def state_values(scheduler, event=Events.ITERATION_STARTED, epochs=1, **attributes):
    engine = Engine(lambda engine, batch: None)
    for name, value in attributes.items():
        setattr(engine.state, name, value)
    scheduler.attach(engine, event)
    seen = []
    engine.add_event_handler(event, lambda: seen.append(engine.state.p))
    engine.run([0] * 8, max_epochs=epochs)
    return seen, getattr(engine.state, "param_history", None)


@case
def state_schedulers():
    def make():
        return [
            LambdaStateScheduler(lambda event: 10 * event, "p", save_history=True, create_new=True),
            PiecewiseLinearStateScheduler([(2, 1.0), (5, 0.0)], "p", save_history=True, create_new=True),
            ExpStateScheduler(1, 0.9, "p", create_new=True),
            StepStateScheduler(1, 0.5, 3, "p", create_new=True),
            MultiStepStateScheduler(1, 0.5, [3, 5], "p", create_new=True),
        ]

    results = [state_values(scheduler) for scheduler in make()]
    results += [state_values(scheduler, Events.EPOCH_COMPLETED, 3) for scheduler in make()]
    results += [state_values(scheduler, Events.ITERATION_COMPLETED(every=3)) for scheduler in make()]
    return results


@case
def state_scheduler_of_an_attribute():
    new = lambda **kw: LambdaStateScheduler(lambda event: event, "p", **kw)  # noqa: E731
    return [
        warnings_of(lambda: state_values(new())),
        warnings_of(lambda: state_values(new(create_new=True))),
        warnings_of(lambda: state_values(new(), p=5)),
        error_of(lambda: state_values(new(create_new=True), p=5)),
    ]


@case
def resumed_state_scheduler():
    first = ExpStateScheduler(1, 0.9, "p", create_new=True)
    state_values(first)
    second = ExpStateScheduler(7, 0.1, "p", create_new=True)
    second.load_state_dict(first.state_dict())
    return first.state_dict(), state_values(second)
