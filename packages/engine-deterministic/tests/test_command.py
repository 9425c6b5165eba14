from __future__ import annotations

from pathlib import Path

import pytest

from camshaft.deterministic._command import audit, load, main, read_options

TRAININGS = Path(__file__).parent / "audited_trainings.py"


def status_of(*arguments):
    return audit(read_options(["audit", *arguments]))


def test_the_exit_status_tells_an_exact_training_from_an_inexact_one(capsys):
    assert status_of("audited_trainings:exact", "--stops", "1", "--kills", "0") == 0
    assert capsys.readouterr().out.startswith("exact: 12 iterations")
    assert status_of(f"{TRAININGS}:handler_with_a_count", "--stops", "1", "--kills", "0") == 1
    assert "Every.calls" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["audited_trainings"], "such as my_script:make_run"),
        (["no_such_module:make_run"], "no_such_module"),
        (["no_such_file.py:make_run"], f"there is no file {Path.cwd() / 'no_such_file.py'}"),
        (["no_such_folder/script:make_run"], "there is no file"),
        (["audited_trainings:no_such_function"], "no_such_function"),
        (["audited_trainings:SIZE"], "must be a function"),
        (["script_that_exits:make_run"], "left the process with SystemExit(0) when it was imported"),
        (["script_that_fails:make_run"], "ZeroDivisionError"),
        (["audited_trainings:fails", "--kills", "0"], "fails without being stopped"),
        (["audited_trainings:fails", "--kills", "0"], "printed on the way"),
        (["audited_trainings:forgets_to_return", "--kills", "0"], "cannot be audited"),
        (["audited_trainings:exits_at_once", "--kills", "0"], "`make_run` must return, it has left the process with"),
        (["audited_trainings:exits_at_the_end", "--kills", "0"], "`start` must return, it has left the process with"),
        (["audited_trainings:interrupts_itself", "--kills", "0"], "KeyboardInterrupt"),
        (["audited_trainings:exact", "--stops", "-1"], "`stops`"),
        (["audited_trainings:exact", "--stops", "0", "--kills", "0"], "`stops` and `kills` must not both be 0"),
    ],
)
def test_what_cannot_be_audited_is_told_with_a_status_of_its_own(arguments, text, capsys, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "script_that_exits.py").write_text("raise SystemExit(0)")
    (tmp_path / "script_that_fails.py").write_text("1 / 0")
    assert status_of(*arguments) == 2
    told = capsys.readouterr()
    assert not told.out
    assert text in told.err


# What `python -m` does, for a Python that is running already.
AS_MODULE = "import runpy; runpy.run_module('camshaft.deterministic', run_name='__main__', alter_sys=True)"


@pytest.mark.parametrize(
    ("training", "status", "text"),
    [
        ("two_iterations", 0, "exact: 2 iterations, stopped once and killed 0 times"),
        ("ends_its_process", 2, "it has ended its process with status 0 before the audit was over"),
    ],
)
def test_a_training_that_ends_its_process_does_not_pass_for_an_exact_one(training, status, text, warm_python):
    ended = warm_python.run("-c", AS_MODULE, "audit", f"{TRAININGS}:{training}", "--kills", "0")
    assert ended.returncode == status, ended.stderr
    assert text in (ended.stderr if status else ended.stdout)
    assert not (ended.stdout if status else ended.stderr)


def test_the_command_explains_itself(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["audit", "--help"])
    assert ended.value.code == 0
    assert "--kills" in capsys.readouterr().out


def test_a_function_is_loaded_from_a_module_and_from_a_file():
    assert load("audited_trainings:exact") is load(f"{TRAININGS}:exact")
