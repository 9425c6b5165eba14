"""The smallest loop: call a function on each batch, then read the state."""

from __future__ import annotations

from camshaft.engine import Engine


def square(engine: Engine[int, int], batch: int) -> int:
    """Return the square of a number."""
    return batch * batch


def main() -> None:
    """Run over five numbers, twice."""
    engine = Engine(square)
    state = engine.run(range(5), max_epochs=2)
    print(f"{state.iteration} iterations in {state.epoch} epochs, last output {state.output}")


if __name__ == "__main__":
    main()
