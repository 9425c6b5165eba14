"""What scripts get from Ignite, as values that can be written down: run here, and with pytorch-ignite itself.

Only public names of `ignite` are used, so that either package can be behind it. `benchmarks/ignite_cases.py` runs
the cases with whichever is installed; `expected.json` holds what pytorch-ignite 0.5.5 gave.
"""

from reference_cases import (
    averages,
    checkpoints,
    engines,
    events,
    loggers,
    measuring,
    processes,
    range_test,
    schedulers,
    scripts,
    state_schedulers,
    stopping,
    trainings,
    utilities,
)
from reference_cases.tools import CASES, run_case

__all__ = [
    "CASES",
    "averages",
    "checkpoints",
    "engines",
    "events",
    "loggers",
    "measuring",
    "processes",
    "range_test",
    "run_case",
    "schedulers",
    "scripts",
    "state_schedulers",
    "stopping",
    "trainings",
    "utilities",
]
