from __future__ import annotations

import pytest

from camshaft.engine import EngineError
from camshaft.handlers import ExtraMissingError


@pytest.mark.parametrize("kind", [EngineError, ModuleNotFoundError, RuntimeError])
def test_a_missing_extra_is_caught_as(kind):
    with pytest.raises(kind, match=r'A needs b, which is not installed; pip install "camshaft-handlers\[c\]"'):
        raise ExtraMissingError("c", "A", "b")


def test_a_missing_extra_is_named():
    assert ExtraMissingError("c", "A", "b").extra == "c"
