from __future__ import annotations

import pytest

from camshaft.engine import ArgumentTypeError
from camshaft.handlers.checkpoint.format._file_name import is_temporary, new_temporary_name, require_bare_name


@pytest.mark.parametrize(
    "filename",
    [
        "",
        ".",
        "..",
        "../model.pt",
        "a/b.pt",
        "/model.pt",
        "model..pt/..",
        "..model.pt",
        "mo\0del.pt",
        "model\n.pt",
        "m" * 300 + ".pt",
        "é" * 130 + ".pt",
        "\udc80.pt",
        ".camshaft-0123456789abcdef.tmp",
    ],
)
def test_names_that_leave_the_directory_or_are_none_are_refused(filename: str) -> None:
    with pytest.raises(ValueError, match="filename"):
        require_bare_name(filename)


def test_a_name_must_be_a_string() -> None:
    with pytest.raises(ArgumentTypeError, match="filename"):
        require_bare_name(b"model.pt")  # type: ignore[arg-type] # the wrong kind is the point


@pytest.mark.parametrize("filename", ["model_1.pt", "läuft gut=0.5.pt", ".hidden.pt", "m" * 252 + ".pt"])
def test_plain_names_are_accepted(filename: str) -> None:
    assert filename == require_bare_name(filename)


def test_temporary_names_are_known_as_such_and_are_never_the_same() -> None:
    one, two = new_temporary_name(), new_temporary_name()

    assert one != two
    assert is_temporary(one)
    assert not is_temporary(f"{one}.bak")
