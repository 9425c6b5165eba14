"""Train a small convolutional network on scanned digits; stop it anywhere, go on as if it had never stopped.

    python examples/digits.py                     a few seconds, at least 97 % accuracy
    python examples/digits.py --stop-after 100    stops hard in the middle of an epoch, as a crash would
    python examples/digits.py --resume            goes on there, and ends with the same parameters

A run's numbered folder under --run-dir holds its checkpoints, its options, history.jsonl and learning-curve.png.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from camshaft.engine import EngineError, Events


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Leave with the message."""
        self.exit(2, f"digits.py: {message}\n")


def number(kind: type, least: float) -> Callable[[str], Any]:
    """Return what reads a number of at least `least`."""

    def read(text: str) -> Any:
        with suppress(ValueError):
            if least <= (value := kind(text)) < math.inf:
                return value
        raise argparse.ArgumentTypeError(f"must be {kind.__name__} and at least {least}, got {text!r}")

    return read


def device(text: str) -> str:
    """Read the name of a device that is there."""
    if text == "cpu":
        return text
    import torch

    with suppress(ImportError, RuntimeError, AssertionError):
        if text == "xla":
            import torch_xla  # noqa: F401  # torch knows the device from then on
        torch.empty(0, device=text)
        return text
    raise argparse.ArgumentTypeError(f"must be a device that torch can use here, got {text!r}")


def make_parser() -> Parser:
    """Return what reads the command line."""
    parser = Parser(description="Train on scanned digits.", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--epochs", type=number(int, 1), default=10, help="times to go over the digits")
    parser.add_argument("--batch-size", type=number(int, 1), default=32, help="digits per iteration")
    parser.add_argument("--lr", type=number(float, 1e-9), default=3e-3, help="learning rate of the first epoch")
    parser.add_argument("--seed", type=number(int, 0), default=0, help="decides everything that is random")
    parser.add_argument("--device", type=device, default="cpu", help="where to train")
    parser.add_argument("--workers", type=number(int, 0), default=0, help="processes that load data")
    parser.add_argument("--amp", action="store_true", help="compute in bfloat16")
    parser.add_argument("--run-dir", type=Path, default=Path("runs"), help="where the folders of the runs are")
    parser.add_argument("--resume", action="store_true", help="go on in the newest folder, with its options")
    parser.add_argument("--stop-after", type=number(int, 1), metavar="N", help="stop hard after N iterations")
    return parser


def read_options() -> tuple[argparse.Namespace, Path]:
    """Return the options and the folder of the run; a resumed run keeps the options that are not given anew."""
    parser = make_parser()
    options = parser.parse_args()
    folders = sorted(options.run_dir.glob("[0-9]*"), key=lambda folder: (len(folder.name), folder.name))
    if not options.resume:
        folder = options.run_dir / f"{int(folders[-1].name) + 1 if folders else 1:03}"
        folder.mkdir(parents=True)
        kept = {name: value for name, value in vars(options).items() if name not in ("run_dir", "resume", "stop_after")}
        (folder / "options.json").write_text(json.dumps(kept))
        return options, folder
    if not folders:
        parser.error(f"--resume: there is no run in {options.run_dir}")
    parser.set_defaults(**json.loads((folders[-1] / "options.json").read_text()))
    return parser.parse_args(), folders[-1]


def main() -> None:
    """Train and print how it went; what goes wrong is said in one line."""
    try:
        options, folder = read_options()
        from digits_job import Job  # only now: torch takes its time, and what is wrong was said before

        begun = time.perf_counter()
        job = Job(options, folder)
        if options.resume:
            job.restore()
        if options.stop_after is not None:
            last = Events.ITERATION_COMPLETED(once=job.trainer.position.iteration + options.stop_after)
            job.trainer.add_event_handler(last, os._exit, 137)
        job.trainer.run(job.training_data, max_epochs=options.epochs, seed=options.seed)
        job.history.plot(folder / "learning-curve.png")
    except (EngineError, OSError, ValueError) as error:
        sys.exit(f"digits.py: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit("digits.py: interrupted; --resume goes on")
    print(f"accuracy     {job.history.rows()[-1]['validation/accuracy']:.2%}")
    print(f"time         {time.perf_counter() - begun:.1f} s")
    print(f"checkpoints  {job.checkpoints}")
    print(f"parameters   {job.hash_parameters()}")


if __name__ == "__main__":
    main()
