"""A Python that has imported torch before it is asked to run a program, because tests run many of them.

Importing torch, scikit-learn and torchmetrics takes longer than most programs of the tests take themselves.
`WarmPython` imports them once, in a helper process, and forks the helper for each program. A program is a process like
any other: it has its own arguments, output and exit status, and SIGKILL, `os._exit` or an error end it as they end any
process.

Two things differ from a process that was started afresh: modules that are imported already give no warnings, and all
programs of one helper hash strings with the same seed. Where that matters, start a fresh process.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import types
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODULES = ("torch", "torch._dynamo", "torch.utils.data", "sklearn.datasets", "torchmetrics", "matplotlib.pyplot")
TIMEOUT_S = 600  # a program that takes longer hangs


@dataclass(frozen=True)
class Program:
    """A program that was started."""

    python: WarmPython
    args: tuple[str, ...]
    pid: int
    output: Path

    def kill(self) -> None:
        """Send SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Wait for the end, once; return the exit status, negative for a signal, and what was printed."""
        try:
            status = self.python.ask(wait=self.pid)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        printed, errors = ((self.output / name).read_text(encoding="utf-8") for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(self.args, status, printed, errors)


class WarmPython:
    """Runs programs in forks of a helper process, which starts with the first program and ends with `close`.

    Args:
        modules: What the helper imports; a module that is not installed is left out.
    """

    def __init__(self, modules: Sequence[str] = MODULES) -> None:
        self._command = [sys.executable, __file__, *modules]
        self._outputs = tempfile.TemporaryDirectory()
        self._helper: subprocess.Popen[str] | None = None

    def run(self, *args: object) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; the arguments are those of `start`."""
        return self.start(*args).wait()

    def run_ranks(self, world_size: int, *args: object) -> list[subprocess.CompletedProcess[str]]:
        """Run a program on several ranks at once, which find each other as under torchrun.

        Args:
            world_size: How many there are.
            *args: The arguments of `start`.

        Returns:
            How each rank ended.
        """
        from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is public all the same

        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # at a port that the system chooses
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port, "TORCHELASTIC_USE_AGENT_STORE": True}
        ranks = [{"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size} for rank in range(world_size)]
        programs = [self.start(*args, environment={**shared, **rank}) for rank in ranks]
        return [program.wait() for program in programs]

    def start(self, *args: object, environment: Mapping[str, object] | None = None) -> Program:
        """Start a program.

        Args:
            *args: What stands after `python` on a command line: `-W action` if wanted, then the path of a script or
                `-c` and code, then the program's arguments.
            environment: Variables that the program gets besides those of this process.
        """
        texts = tuple(map(str, args))
        output = Path(tempfile.mkdtemp(dir=self._outputs.name))
        variables = {**os.environ, **{name: str(value) for name, value in (environment or {}).items()}}
        pid = self.ask(run=texts, output=str(output), folder=str(Path.cwd()), environment=variables)
        return Program(self, texts, pid, output)

    def ask(self, **request: object) -> int:
        """Send a request to the helper and return its answer, a number."""
        if self._helper is None:
            self._helper = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        helper = self._helper
        assert helper.stdin is not None
        assert helper.stdout is not None
        print(json.dumps(request), file=helper.stdin, flush=True)
        if not select.select([helper.stdout], [], [], TIMEOUT_S)[0]:
            raise subprocess.TimeoutExpired(self._command, TIMEOUT_S)
        return int(helper.stdout.readline())

    def close(self) -> None:
        """End the helper and forget what programs printed."""
        if self._helper is not None:
            self._helper.communicate(timeout=TIMEOUT_S)  # which closes its input
        self._outputs.cleanup()


# ---------------------------------------------------------------------- inside the helper


def serve(modules: Sequence[str]) -> dict[str, Any] | None:
    """Answer requests until the input ends. In a fork that is to run a program, return the request."""
    for name in modules:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    gc.freeze()  # a collection in a fork would copy all of it
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                return request
        print(answer, flush=True)
    return None


def take_over(request: dict[str, Any]) -> None:
    """Give this fork the output, the folder and the environment that the program is to have."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(Path(request["output"], name), os.O_WRONLY | os.O_CREAT), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # the module random does so after a fork by itself


def execute(args: list[str], statuses: list[int]) -> None:
    """Execute a program as `__main__`, as Python does; note its exit status if it ends without an error."""
    while args[0] == "-W":
        warnings.simplefilter(args[1])  # type: ignore[arg-type]  # the name of an action
        args = args[2:]
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    if args[0] == "-c":
        name, source, sys.argv, sys.path[0] = "<string>", args[1], ["-c", *args[2:]], ""
    else:
        script = Path(args[0])
        name, source, sys.argv, sys.path[0] = args[0], script.read_text(encoding="utf-8"), args, str(script.parent)
        main.__file__ = name
    try:
        exec(compile(source, name, "exec"), main.__dict__)  # noqa: S102  # running a program is what this is for
        statuses.append(0)
    except SystemExit as end:
        statuses += [end.code or 0] if isinstance(end.code, int | None) else []
        raise


def leave(statuses: list[int]) -> None:
    """End the process, if its exit status is known, without taking all the modules down: that takes a second."""
    for status in statuses:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    statuses_of_the_program: list[int] = []
    atexit.register(leave, statuses_of_the_program)  # what is registered first is called last
    requested = serve(sys.argv[1:])
    if requested is not None:
        take_over(requested)
        execute(requested["run"], statuses_of_the_program)
