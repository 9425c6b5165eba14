"""Events: compute a running mean, print it after every third batch, stop when it has settled."""

from __future__ import annotations

from camshaft.engine import Engine, Events


def main() -> None:
    """Average numbers until the mean has settled."""
    engine: Engine[float, float] = Engine(lambda engine, number: number)

    @engine.on(Events.STARTED)
    def start(engine: Engine[float, float]) -> None:
        engine.state.mean = 0.0

    @engine.on(Events.ITERATION_COMPLETED)
    def update(engine: Engine[float, float]) -> None:
        state = engine.state
        assert state.output is not None
        change = (state.output - state.mean) / state.iteration
        state.mean += change
        if state.iteration > 1 and abs(change) < 0.1:
            engine.terminate()

    @engine.on(Events.ITERATION_COMPLETED(every=3))
    def show(engine: Engine[float, float]) -> None:
        print(f"after {engine.state.iteration} numbers: mean {engine.state.mean:.3f}")

    @engine.on(Events.TERMINATE)
    def settled(engine: Engine[float, float]) -> None:
        print(f"settled after {engine.state.iteration} numbers: mean {engine.state.mean:.3f}")

    engine.run(float(number) for number in (4, 2, 7, 3, 5, 8, 4, 6, 4, 5))


if __name__ == "__main__":
    main()
