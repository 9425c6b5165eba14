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
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from camshaft.deterministic._audit import Progress, audit_resume
from camshaft.deterministic._audited_run import AuditError
from camshaft.engine import EngineError


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for.

    Args:
        arguments: the command line; None means that of this process.

    Returns:
        The exit status.
    """
    options = _make_parser().parse_args(arguments)
    try:
        make_run = load(options.target)
    except (ImportError, AttributeError, ValueError) as error:
        print(f"{options.target} cannot be loaded: {error}", file=sys.stderr)
        return 2
    numbers = {name: getattr(options, name) for name in ("iterations", "stops", "kills", "seed")}
    printed = io.StringIO()
    try:
        with _show_progress() as tell, _quiet(printed, options.verbose):
            report = audit_resume(make_run, tell=tell, **numbers)
    except (AuditError, EngineError) as error:
        print(f"{printed.getvalue()}{options.target} cannot be audited: {error}", file=sys.stderr)
        return 2
    except Exception:  # noqa: BLE001  # the training's own; the status tells it from a difference
        print(f"{printed.getvalue()}{options.target} fails without being stopped:", file=sys.stderr)
        traceback.print_exc()
        return 2
    print(report)
    return int(not report.is_exact)


def load(target: str) -> Callable[[Path], Any]:
    """Return the function that a target names.

    Args:
        target: a module and a function of it, `package.module:function`; or a file, `path/script.py:function`.

    Raises:
        ValueError: the target is not of that form, or names no function.
        ImportError: there is no such module.
        AttributeError: there is no such function in it.
    """
    module_name, _, name = target.rpartition(":")
    if not module_name or not name:
        raise ValueError("it must be a module and a function of it, such as my_script:make_run")
    if module_name.endswith(".py"):
        file = Path(module_name).resolve()
        sys.path.insert(0, str(file.parent))
        module_name = file.stem
    elif "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    found: Any = importlib.import_module(module_name)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"{name} must be a function, got {found!r}")  # noqa: TRY004  # a bad value of an option
    function: Callable[[Path], Any] = found
    return function


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m camshaft.deterministic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="audit")
    audit = actions.add_parser(
        "audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, help="audit a training"
    )
    audit.add_argument("target", help="my_script:make_run, or path/my_script.py:make_run")
    audit.add_argument(
        "--iterations", type=int, default=100, help="end a longer training after so many (default: %(default)s)"
    )
    audit.add_argument("--stops", type=int, default=3, help="stops by an exception (default: %(default)s)")
    audit.add_argument(
        "--kills", type=int, default=1, help="stops by SIGKILL, each in a process of its own (default: %(default)s)"
    )
    audit.add_argument("--seed", type=int, default=0, help="seeds the generators for make_run (default: %(default)s)")
    audit.add_argument("--verbose", action="store_true", help="let the training print what it prints")
    return parser


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


if __name__ == "__main__":
    sys.exit(main())
