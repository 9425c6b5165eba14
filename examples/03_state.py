"""Stop a loop inside an epoch, save it as JSON, and continue it in another process."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from camshaft.engine import Engine, Events

WORDS = ["intake", "compression", "power", "exhaust"]


def make_engine() -> Engine[str, None]:
    """Return an engine that prints what it does; each call stands for another process."""
    engine: Engine[str, None] = Engine(lambda engine, word: print(engine.state.iteration, word))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: print("epoch", engine.state.epoch, "completed"))
    return engine


def main() -> None:
    """Run six of eight iterations, then the rest."""
    with TemporaryDirectory() as folder:
        saved = Path(folder) / "engine.json"

        first = make_engine()
        first.add_event_handler(Events.ITERATION_COMPLETED(once=6), first.terminate)
        first.run(WORDS, max_epochs=2)
        saved.write_text(json.dumps(first.state_dict()))

        second = make_engine()
        second.load_state_dict(json.loads(saved.read_text()))
        second.run(WORDS)


if __name__ == "__main__":
    main()
