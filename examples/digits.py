"""Train a small convolutional network on scanned digits. Stop it anywhere and resume it exactly.

    python examples/digits.py                     a few seconds, at least 97 % accuracy
    python examples/digits.py --stop-after 100    stops inside an epoch, as abruptly as a crash
    python examples/digits.py --resume            resumes that run and ends with the same parameters
    torchrun --nproc-per-node 2 --max-restarts 3 examples/digits.py
                                                  two processes, started again where one of them fails

Ctrl-C, SIGTERM or SIGUSR1 stop a run after the iteration, with a checkpoint and the exit status 130, 143 or 138.

Each run has a numbered folder in --run-dir, with its checkpoints, its options, its history, and report.html about all.
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
from camshaft.handlers import write_report


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with the message."""
        self.exit(2, f"digits.py: {message}\n")


def number(kind: type, least: float) -> Callable[[str], Any]:
    """Return a function that parses a number of at least `least`."""

    def read(text: str) -> Any:
        with suppress(ValueError):
            if least <= (value := kind(text)) < math.inf:
                return value
        raise argparse.ArgumentTypeError(f"must be {kind.__name__} and at least {least}, got {text!r}")

    return read


def device(text: str) -> str:
    """Parse the name of a device that torch can use."""
    if text == "cpu":
        return text
    import torch

    with suppress(ImportError, RuntimeError, AssertionError):
        if text == "xla":
            import torch_xla  # noqa: F401  # importing it makes the device known to torch
        torch.empty(0, device=text)
        return text
    raise argparse.ArgumentTypeError(f"must be a device that torch can use here, got {text!r}")


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(description="Train on scanned digits.", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--epochs", type=number(int, 1), default=10, help="passes over the digits")
    parser.add_argument("--batch-size", type=number(int, 1), default=32, help="digits per iteration")
    parser.add_argument("--lr", type=number(float, 1e-9), default=3e-3, help="learning rate of the first epoch")
    parser.add_argument("--seed", type=number(int, 0), default=0, help="seed of everything that is random")
    parser.add_argument("--device", type=device, default="cpu", help="the device to train on")
    parser.add_argument("--workers", type=number(int, 0), default=0, help="processes that load data")
    parser.add_argument("--amp", action="store_true", help="compute in bfloat16")
    parser.add_argument("--run-dir", type=Path, default=Path("runs"), help="folder with one numbered folder per run")
    parser.add_argument("--resume", action="store_true", help="resume the newest run with its options")
    parser.add_argument("--stop-after", type=number(int, 1), metavar="N", help="exit abruptly after N iterations")
    return parser


def read_options() -> tuple[argparse.Namespace, Path]:
    """Return the options and the folder of the run. A resumed run keeps the options that are not given again."""
    parser = make_parser()
    options = parser.parse_args()
    folders = sorted(options.run_dir.glob("[0-9]*"), key=lambda folder: (len(folder.name), folder.name))
    is_restarted = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"  # by torchrun, with the same options
    options.resume |= is_restarted and bool(folders)
    if not options.resume:
        folder = options.run_dir / f"{int(folders[-1].name) + 1 if folders else 1:03}"
        folder.mkdir(parents=True)
        kept = {name: value for name, value in vars(options).items() if name not in ("run_dir", "resume", "stop_after")}
        (folder / "options.json").write_text(json.dumps(kept))
        return options, folder
    if not folders:
        parser.error(f"--resume: there is no run in {options.run_dir}")
    parser.set_defaults(**json.loads((folders[-1] / "options.json").read_text()))
    return parser.parse_args(namespace=argparse.Namespace(resume=True)), folders[-1]


def train(options: argparse.Namespace, folder: Path) -> None:
    """Train and print the result."""
    from digits_job import Job

    from camshaft.distributed import start  # only now: torch is slow to import, and wrong options were reported before

    begun = time.perf_counter()
    with start(device=options.device) as process:
        tell = print if process.rank == 0 else lambda *_: None
        options, folder = process.exchange("the options and the folder of the run", (options, folder))[0]
        job = Job(options, folder, process)
        if options.resume:
            tell(job.restore())
        if options.stop_after is not None:
            last = Events.ITERATION_COMPLETED(once=job.trainer.position.iteration + options.stop_after)
            job.trainer.add_event_handler(last, os._exit, 137)
        job.run()
        parameters = job.hash_parameters()
    if process.rank == 0:
        job.history.plot(folder / "learning-curve.png")
        print(f"accuracy     {job.history.rows()[-1]['validation/accuracy']:.2%}")
        print(f"time         {time.perf_counter() - begun:.1f} s")
        print(f"checkpoints  {job.checkpoints}")
        print(f"report       {write_report(folder)}")
        print(f"parameters   {parameters}")


def main() -> None:
    """Train; print an error in one line."""
    try:
        # Of several processes the first one chooses.
        train(*(read_options() if os.environ.get("RANK", "0") == "0" else (make_parser().parse_args(), Path())))
    except (EngineError, OSError, ValueError) as error:
        sys.exit(f"digits.py: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        print("digits.py: interrupted; --resume continues the run", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
