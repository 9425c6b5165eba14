"""Find out whether a training resumes exactly: `python -m camshaft.deterministic audit my_script:make_run`.

`make_run(folder)` makes the training anew and returns a `camshaft.deterministic.testing.AuditedRun`. The training is
run without a stop, then stopped by an exception, killed, and resumed at several places. The report says what goes
another way, and what nobody saved. The exit status is 0 if nothing does, 1 if something does, 2 if there is no audit.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import multiprocessing
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from camshaft.deterministic._audit._audit import Progress, audit_resume
from camshaft.deterministic._audit._audited_run import AuditError
from camshaft.engine import EngineError


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for.

    The audit has a process of its own. So a training that ends its process does not pass for one that resumes exactly.

    Args:
        arguments: the command line; None means that of this process.

    Returns:
        The exit status.
    """
    options = read_options(arguments)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_status, args=(options, sender))
    process.start()
    sender.close()
    process.join()
    try:
        return int(receiver.recv()) if receiver.poll() else _tell_end(options.target, process.exitcode)
    except EOFError:
        return _tell_end(options.target, process.exitcode)


def _send_status(options: argparse.Namespace, sender: Connection) -> None:
    status = audit(options)
    sys.stdout.flush()
    sender.send(status)


def _tell_end(target: str, exit_code: int | None) -> int:
    print(
        f"{target} cannot be audited: it has ended its process with status {exit_code} before the audit was over, by "
        "`os._exit` say; `make_run` and `start` must return",
        file=sys.stderr,
    )
    return 2


def audit(options: argparse.Namespace) -> int:
    """Audit a training in this process, print what comes out, and return the exit status.

    Args:
        options: those of the command line.
    """
    printed = io.StringIO()
    try:
        with _show_progress() as tell, _quiet(printed, options.verbose):
            numbers = {name: getattr(options, name) for name in ("iterations", "stops", "kills", "seed")}
            report = audit_resume(load(options.target), tell=tell, **numbers)
    except (LoadError, AuditError, EngineError) as error:
        print(f"{printed.getvalue()}{options.target} cannot be audited: {error}", file=sys.stderr)
        return 2
    except BaseException as error:  # noqa: BLE001  # the training's own; the status tells it from a difference
        print(f"{printed.getvalue()}{options.target} fails without being stopped:", file=sys.stderr)
        traceback.print_exception(error)
        return 2
    print(report)
    return int(not report.is_exact)


class LoadError(Exception):
    """There is no such function."""


def load(target: str) -> Callable[[Path], Any]:
    """Return the function that a target names.

    Args:
        target: a module and a function of it, `package.module:function`; or a file, `path/script.py:function`.

    Raises:
        LoadError: the target is not of that form, or names no file or no function.
    """
    module_name, _, name = target.rpartition(":")
    if not module_name or not name:
        raise LoadError("it must be a module and a function of it, such as my_script:make_run")
    if module_name.endswith(".py") or Path(module_name).name != module_name:
        file = Path(module_name).resolve()
        if not file.is_file():
            raise LoadError(f"there is no file {file}")
        sys.path.insert(0, str(file.parent))
        module_name = file.stem
    elif "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    found: Any = _import(module_name)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise LoadError(f"{name} must be a function of {module_name}, got {found!r}")
    function: Callable[[Path], Any] = found
    return function


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise LoadError(str(error)) from error
    except SystemExit as left:
        raise LoadError(
            f"{name} has left the process with SystemExit({left.code!r}) when it was imported; what a script does "
            'belongs under `if __name__ == "__main__":`'
        ) from left


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what a command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m camshaft.deterministic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="audit")
    command = actions.add_parser(
        "audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, help="audit a training"
    )
    command.add_argument("target", help="my_script:make_run, or path/my_script.py:make_run")
    command.add_argument(
        "--iterations", type=int, default=100, help="end a longer training after so many (default: %(default)s)"
    )
    command.add_argument("--stops", type=int, default=3, help="stops by an exception (default: %(default)s)")
    command.add_argument(
        "--kills", type=int, default=1, help="stops by SIGKILL, each in a process of its own (default: %(default)s)"
    )
    command.add_argument("--seed", type=int, default=0, help="seeds the generators for make_run (default: %(default)s)")
    command.add_argument("--verbose", action="store_true", help="let the training print what it prints")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _quiet(printed: io.StringIO, is_verbose: bool) -> Iterator[None]:
    """Keep back what the training prints in this process."""
    if is_verbose:
        yield
        return
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        yield


@contextlib.contextmanager
def _show_progress() -> Iterator[Callable[[Progress], None] | None]:
    """Show a bar on the screen, if there is one and tqdm is installed; the value is told how far the audit is."""
    try:
        tqdm = importlib.import_module("tqdm").tqdm
    except ModuleNotFoundError:
        yield None
        return
    screen = sys.stderr
    with tqdm(unit="it", file=screen, leave=False, disable=None) as bar:

        def tell(progress: Progress) -> None:
            bar.total = progress.total
            bar.set_description(progress.what, refresh=False)
            bar.update(progress.iterations - bar.n)

        yield tell
