"""The digits job in two workers of Ray Train: the job of `digits.py`, with Ray in the place of torchrun.

    python examples/ray_digits.py                     the options are those of digits.py
    python examples/ray_digits.py --stop-after 250    one worker is killed after 250 iterations

Where a worker fails, Ray starts all of them anew, and the run goes on from its newest checkpoint. It lies where
`digits.py` writes it: workers on several machines need a --run-dir that all of them see.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path
from typing import Any

import ray
from digits import read_options
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

WORKERS, RESTARTS = 2, 3


def work(config: dict[str, Any]) -> dict[str, str]:
    """Do the part of one worker. Ray has made the process group, and calls this in a thread."""
    from digits_job import Job

    from camshaft.distributed import start
    from camshaft.engine import Events

    options: argparse.Namespace = config["options"]
    with start(device=options.device) as process:
        job = Job(options, config["folder"], process)
        resumed = job.restore()  # also at the first start: then there is no checkpoint
        if options.stop_after is not None and process.rank == WORKERS - 1:
            last = Events.ITERATION_COMPLETED(once=job.trainer.position.iteration + options.stop_after)
            job.trainer.add_event_handler(last, os.kill, os.getpid(), signal.SIGKILL)
        # Not `job.run()`, which heeds signals: Python handles them in the main thread only.
        job.trainer.run(job.training_data, max_epochs=options.epochs, seed=options.seed)
        accuracy = f"{job.history.rows()[-1]['validation/accuracy']:.2%}"
        return {"last start": resumed, "accuracy": accuracy, "parameters": job.hash_parameters()}


def main() -> None:
    """Train, and print the result."""
    options, folder = read_options()
    ray.init(logging_level="warning")
    trainer = TorchTrainer(
        work,
        train_loop_config={"options": options, "folder": folder.resolve()},
        scaling_config=ScalingConfig(num_workers=WORKERS),
        run_config=RunConfig(
            name=folder.name,
            storage_path=str(Path(options.run_dir, "ray").resolve()),
            failure_config=FailureConfig(max_failures=RESTARTS),
        ),
    )
    for name, value in trainer.fit().return_value.items():
        print(f"{name:<13}{value}")


if __name__ == "__main__":
    main()
