from __future__ import annotations

import pytest

from camshaft import engine


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("ArgumentError", ValueError),
        ("StateDictError", ValueError),
        ("ArgumentTypeError", TypeError),
        ("NotCallableError", TypeError),
        ("NotCallableError", ValueError),
        ("CounterError", RuntimeError),
        ("RunningError", RuntimeError),
    ],
)
def test_every_error_is_also_the_builtin_that_it_refines(name: str, builtin: type[Exception]) -> None:
    error = getattr(engine, name)

    assert issubclass(error, builtin)
    assert issubclass(error, engine.EngineError)


def test_the_warning_is_a_user_warning() -> None:
    assert issubclass(engine.EngineWarning, UserWarning)
