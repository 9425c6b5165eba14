"""Send real SIGINTs at random moments into short runs, and count the engines that cannot go on afterwards.

python interrupt_storm.py 20000
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
from typing import Any

from camshaft.engine import Engine, Events


def interrupt_soon(seconds: float) -> None:
    """Let the process get a SIGINT; 0 takes it back."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


def make_engine(kind: int) -> Engine[Any, Any]:
    """Return an engine that fires many events for little work."""
    engine: Engine[Any, Any] = Engine(lambda engine, batch: batch)
    if kind % 2:
        evaluator: Engine[Any, Any] = Engine(lambda engine, batch: batch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run("ab"))
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda: engine.at_safe_point(lambda: None))
    return engine


def is_stuck(engine: Engine[Any, Any]) -> bool:
    """Return whether the engine, or the thread, believes that a run goes on."""
    called: list[bool] = []
    engine.at_safe_point(lambda: called.append(True))
    if engine.is_running or not called:
        return True
    other = make_engine(0)
    other.load_state_dict(engine.state_dict())
    engine.run("abcd", max_epochs=3)
    return not engine.position.over


def main() -> None:
    """Run, interrupt, look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("interrupts", type=int)
    wanted = parser.parse_args().interrupts
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    chance = random.Random(0)
    interrupts = stuck = tries = 0
    while interrupts < wanted:
        tries += 1
        engine = make_engine(tries)
        try:
            interrupt_soon(chance.uniform(1e-6, 3e-4))
            while True:  # short runs: most moments are at their beginnings and ends
                engine.run("abcd", max_epochs=3)
        except KeyboardInterrupt:
            interrupts += 1
        interrupt_soon(0)
        stuck += is_stuck(engine)
    sys.stdout.write(f"{interrupts} interrupts, {stuck} stuck\n")


if __name__ == "__main__":
    main()
