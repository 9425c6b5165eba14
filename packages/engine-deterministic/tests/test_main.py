from __future__ import annotations

from pathlib import Path

import pytest

from camshaft.deterministic.__main__ import load, main

TRAININGS = Path(__file__).parent / "audited_trainings.py"


def test_the_exit_status_tells_an_exact_training_from_an_inexact_one(capsys):
    assert main(["audit", "audited_trainings:exact", "--stops", "1", "--kills", "0"]) == 0
    assert capsys.readouterr().out.startswith("exact: 12 iterations")
    assert main(["audit", f"{TRAININGS}:handler_with_a_count", "--stops", "1", "--kills", "0"]) == 1
    assert "Every.calls" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["audited_trainings"], "such as my_script:make_run"),
        (["no_such_module:make_run"], "no_such_module"),
        (["audited_trainings:no_such_function"], "no_such_function"),
        (["audited_trainings:SIZE"], "must be a function"),
        (["audited_trainings:fails", "--kills", "0"], "fails without being stopped"),
        (["audited_trainings:fails", "--kills", "0"], "printed on the way"),
        (["audited_trainings:forgets_to_return", "--kills", "0"], "cannot be audited"),
        (["audited_trainings:exact", "--stops", "-1"], "`stops`"),
    ],
)
def test_what_cannot_be_audited_is_told_with_a_status_of_its_own(arguments, text, capsys):
    assert main(["audit", *arguments]) == 2
    told = capsys.readouterr()
    assert not told.out
    assert text in told.err


def test_the_command_explains_itself(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["audit", "--help"])
    assert ended.value.code == 0
    assert "--kills" in capsys.readouterr().out


def test_a_function_is_loaded_from_a_module_and_from_a_file():
    assert load("audited_trainings:exact") is load(f"{TRAININGS}:exact")
