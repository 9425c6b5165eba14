from __future__ import annotations

import pytest

from camshaft.engine import EngineError
from camshaft.supervised import BackendMissingError


@pytest.mark.parametrize("kind", [EngineError, ModuleNotFoundError, ImportError, RuntimeError])
def test_a_missing_backend_is_caught_as(kind):
    with pytest.raises(kind, match=r"needs it; see the extra camshaft-supervised\[xla\]"):
        raise BackendMissingError("xla", "something needs it")


def test_a_missing_backend_carries_the_name_of_its_extra():
    assert BackendMissingError("apex", "text").extra == "apex"
