from __future__ import annotations

import importlib
import sys

import pytest

from camshaft.handlers import ExtraMissingError
from camshaft.handlers._extra import import_extra


def test_a_module_that_is_there_is_returned():
    assert import_extra("json.decoder", "json", "Thing") is importlib.import_module("json.decoder")


def test_a_package_that_is_not_installed_names_the_extra():
    with pytest.raises(ExtraMissingError, match="Thing needs not_there, which is not installed") as caught:
        import_extra("not_there.sub", "there", "Thing")

    assert isinstance(caught.value, ModuleNotFoundError)
    assert caught.value.extra == "there"
    assert 'pip install "camshaft-handlers[there]"' in str(caught.value)


def test_an_error_inside_an_installed_package_stays_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import its_own_need\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "half_installed", raising=False)

    with pytest.raises(ModuleNotFoundError, match="its_own_need") as caught:
        import_extra("half_installed", "half", "Thing")

    assert not isinstance(caught.value, ExtraMissingError)
