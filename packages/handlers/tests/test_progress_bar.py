from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import warnings

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, Events, StateDictError
from camshaft.handlers import ProgressBar

pytest.importorskip("tqdm")

PLAIN = "{desc}: {n_fmt}/{total_fmt}{postfix}"


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self):
        return True

    def drawn(self) -> list[str]:
        """Return everything drawn, redraws included."""
        return [
            part.strip() for part in re.split(r"[\r\n]", re.sub(r"\x1b\[[A-Z]", "", self.getvalue())) if part.strip()
        ]


def make_engine() -> Engine:
    return Engine(lambda engine, batch: batch)


def lines(file: io.StringIO) -> list[str]:
    return file.getvalue().splitlines()


# ---- in a file -------------------------------------------------------------------------------------


def test_a_file_gets_one_line_per_epoch():
    engine, file = make_engine(), io.StringIO()
    ProgressBar(file=file, bar_format=PLAIN).attach(engine, output_transform=lambda output: {"loss": output})

    engine.run([1, 2, 3], max_epochs=2)

    assert lines(file) == ["Epoch [1/2]: 3/3, loss=3", "Epoch [2/2]: 3/3, loss=3"]


def test_an_epoch_of_unknown_length_shows_its_length_once_it_is_known():
    engine, file = make_engine(), io.StringIO()
    engine.add_event_handler(
        Events.DATALOADER_STOP_ITERATION, lambda: setattr(engine.state, "dataloader", iter([1, 2, 3]))
    )
    ProgressBar(file=file, bar_format=PLAIN).attach(engine)

    engine.run(iter([1, 2, 3]), max_epochs=2)

    assert lines(file) == ["Epoch [1/2]: 3/3", "Epoch [2/2]: 3/3"]


def test_a_run_limited_by_iterations_shows_how_far_it_will_go():
    engine, file = make_engine(), io.StringIO()
    ProgressBar(file=file, bar_format=PLAIN).attach(engine)

    engine.run([1, 2, 3], max_iters=5)

    assert lines(file) == ["Epoch [1]: 3/3", "Epoch [2]: 2/2"]


def test_a_bar_of_the_whole_run_counts_all_iterations():
    for options, shown in (
        ({"max_epochs": 2}, "Run: 6/6"),
        ({"max_iters": 5}, "Run: 5/5"),
    ):
        engine, file = make_engine(), io.StringIO()
        ProgressBar(scope="run", file=file, bar_format=PLAIN).attach(engine)
        engine.run([1, 2, 3], **options)
        assert lines(file) == [shown]


def test_the_description_is_shown_without_a_count_if_there_is_one_epoch():
    engine, file = make_engine(), io.StringIO()
    ProgressBar("Validation", file=file, bar_format=PLAIN).attach(engine)

    engine.run([1, 2, 3])
    engine.state.max_epochs = None
    engine.run([1, 2, 3], max_epochs=2)

    assert lines(file) == ["Validation: 3/3", "Validation [1/2]: 3/3", "Validation [2/2]: 3/3"]


@pytest.mark.parametrize(
    ("stop", "shown"),
    [
        (lambda engine: engine.terminate(), ["Epoch [1/2]: 2/4"]),
        (lambda engine: engine.interrupt(), ["Epoch [1/2]: 2/4"]),
        (lambda engine: engine.terminate_epoch(), ["Epoch [1/2]: 2/4", "Epoch [2/2]: 4/4"]),
    ],
    ids=["terminate", "interrupt", "terminate_epoch"],
)
def test_a_stopped_bar_stays_where_it_stood(stop, shown):
    engine, file = make_engine(), io.StringIO()
    ProgressBar(file=file, bar_format=PLAIN).attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), stop)

    engine.run([1, 2, 3, 4], max_epochs=2)

    assert lines(file) == shown


def test_a_failed_run_closes_its_bar_and_the_next_one_opens_another():
    engine, file = Engine(lambda engine, batch: 1 / batch), io.StringIO()
    ProgressBar(file=file, bar_format=PLAIN).attach(engine)

    with pytest.raises(ZeroDivisionError):
        engine.run([1, 2, 0, 4])
    engine.run([1, 2])

    assert [line.split(":")[0] for line in lines(file)] == ["Epoch [1/1]"] * 2
    assert lines(file)[-1] == "Epoch [1/1]: 2/2"


def test_a_continued_run_starts_where_it_stands():
    first, file = make_engine(), Terminal()
    first.add_event_handler(Events.ITERATION_COMPLETED(once=6), first.terminate)
    first.run([1, 2, 3, 4], max_epochs=2)

    second = make_engine()
    second.load_state_dict(first.state_dict())
    ProgressBar(file=file, bar_format=PLAIN, ncols=80).attach(second)
    second.run([1, 2, 3, 4])

    assert file.drawn()[0] == "Epoch [2/2]: 2/4"
    assert file.drawn()[-1] == "Epoch [2/2]: 4/4"


def test_an_interrupted_run_continues_where_it_stood():
    engine, file = make_engine(), io.StringIO()
    ProgressBar(file=file, bar_format=PLAIN).attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda engine: engine.interrupt())

    engine.run([1, 2, 3, 4])
    engine.run([1, 2, 3, 4])

    assert lines(file) == ["Epoch [1/1]: 2/4", "Epoch [1/1]: 4/4"]


def test_a_bar_that_does_not_persist_leaves_nothing():
    engine, file = make_engine(), io.StringIO()
    ProgressBar(persist=False, file=file).attach(engine)

    engine.run([1, 2, 3])

    assert file.getvalue() == ""


def test_options_reach_tqdm():
    engine, file = make_engine(), io.StringIO()
    ProgressBar(file=file, disable=True).attach(engine, output_transform=lambda output: output)

    engine.run([1, 2, 3])

    assert file.getvalue() == ""


# ---- in a terminal ---------------------------------------------------------------------------------


def test_a_terminal_is_redrawn_and_keeps_the_last_line_of_each_epoch():
    engine, terminal = make_engine(), Terminal()
    ProgressBar(file=terminal, bar_format=PLAIN, mininterval=0, ncols=80).attach(
        engine, output_transform=lambda output: {"loss": output}
    )

    engine.run([1, 2], max_epochs=2)

    shown = list(dict.fromkeys(terminal.drawn()))
    assert shown == [
        "Epoch [1/2]: 0/2", "Epoch [1/2]: 1/2, loss=1", "Epoch [1/2]: 2/2, loss=2",
        "Epoch [2/2]: 0/2", "Epoch [2/2]: 1/2, loss=1", "Epoch [2/2]: 2/2, loss=2",
    ]  # fmt: skip


def test_between_redraws_nothing_is_read_and_nothing_written():
    engine, terminal, reads = make_engine(), Terminal(), []
    ProgressBar(file=terminal, mininterval=3600, ncols=80).attach(
        engine, output_transform=lambda output: reads.append(output) or 0.0
    )

    engine.run(range(1, 1001))

    # The first iteration is shown at once, the last one when the bar ends.
    assert reads == [1, 1000]
    assert len(terminal.drawn()) <= 4


def test_an_evaluation_inside_an_epoch_has_its_bar_below_and_takes_it_away():
    trainer, evaluator, terminal = make_engine(), make_engine(), Terminal()
    ProgressBar("Train", file=terminal, bar_format=PLAIN, mininterval=0, ncols=80).attach(trainer)
    ProgressBar("Evaluate", file=terminal, bar_format=PLAIN, mininterval=0, ncols=80).attach(evaluator)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: evaluator.run([1, 2]))

    trainer.run([1, 2, 3])

    kept = [line.split("\r")[-1] for line in terminal.getvalue().split("\n")]
    assert terminal.drawn()[-1] == "Train: 3/3"
    assert "Evaluate: 2/2" in terminal.drawn()
    assert [line for line in kept if "Evaluate: 2/2" in line and "\x1b" not in line] == []


def test_a_line_can_be_written_between_the_bars():
    engine, terminal = make_engine(), Terminal()
    bar = ProgressBar(file=terminal, bar_format=PLAIN, ncols=80)
    bar.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: bar.write("halfway"))

    engine.run([1, 2, 3])

    assert "halfway\n" in terminal.getvalue()
    assert terminal.drawn()[-1] == "Epoch [1/1]: 3/3"


REAL_RUN = """
from camshaft.engine import Engine
from camshaft.handlers import ProgressBar
engine = Engine(lambda engine, batch: batch)
ProgressBar(mininterval=0).attach(engine, output_transform=lambda output: {"loss": output})
engine.run(range(1, 4), max_epochs=2)
"""


def test_a_redirected_program_writes_plain_lines():
    ran = subprocess.run([sys.executable, "-c", REAL_RUN], capture_output=True, check=True)

    assert ran.stdout == b""
    assert b"\r" not in ran.stderr
    assert [line.split(b":")[0] for line in ran.stderr.splitlines()] == [b"Epoch [1/2]", b"Epoch [2/2]"]
    assert b"3/3" in ran.stderr
    assert b"loss=3" in ran.stderr


NESTED_RUN = """
from camshaft.engine import Engine, Events
from camshaft.handlers import ProgressBar
trainer, evaluator = (Engine(lambda engine, batch: batch) for _ in range(2))
ProgressBar("Train", mininterval=0, running_average=0.5).attach(trainer, output_transform=lambda loss: {"loss": loss})
ProgressBar("Evaluate", mininterval=0).attach(evaluator)
trainer.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda: evaluator.run(range(3)))
trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(range(5)))
trainer.load_state_dict({"iteration": 6, "max_epochs": 3, "epoch_length": 4})
trainer.run(range(1, 5))
"""


def written_in_terminal(code: str) -> bytes:
    """Return all that a program writes into its terminal."""
    import pty  # there is none on Windows

    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stderr=theirs, stdout=theirs) as program:
        os.close(theirs)
        written = b""
        # The other end of a closed pseudo terminal reads as an error on Linux, as an end elsewhere.
        try:
            while part := os.read(ours, 4096):
                written += part
        except OSError:
            assert program.wait() == 0
    os.close(ours)
    return written


def screen_of(written: bytes) -> list[str]:
    """Return what a terminal shows in the end: it knows the beginning of the line, the next one and the one above."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\r|\n|\x1b\[A|[^\r\n\x1b]+", written.decode()):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\x1b[A":
            row -= 1
        else:
            lines[row] = lines[row].ljust(column)[:column] + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines if line.strip()]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_program_in_a_terminal_redraws_its_line():
    written = written_in_terminal(REAL_RUN)

    assert written.count(b"\r") > 6
    assert [line.split("|")[0] for line in screen_of(written)] == ["Epoch [1/2]: 100%", "Epoch [2/2]: 100%"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_terminal_shows_a_continued_training_with_its_evaluations():
    written = written_in_terminal(NESTED_RUN)
    shown = [(line.split("|")[0], line.split()[-1].rstrip("]")) for line in screen_of(written)]

    # The bars of the evaluations inside the epochs are gone, those between the epochs have stayed.
    assert b"Evaluate: 100%|" in written
    assert [(bar, end if "loss" in end else "") for bar, end in shown] == [
        ("Train [2/3]: 100%", "loss=3.5"), ("Evaluate: 100%", ""),
        ("Train [3/3]: 100%", "loss=3.28"), ("Evaluate: 100%", ""),
    ]  # fmt: skip


def test_a_notebook_shows_widgets():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    pytest.importorskip("ipywidgets")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NESTED_RUN)])

    with warnings.catch_warnings():  # those of the notebook's own machinery
        warnings.simplefilter("ignore")
        nbclient.NotebookClient(notebook, kernel_name="python3").execute()

    states = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
    bars = [each["state"] for each in states if each["model_name"] == "FloatProgressModel"]
    assert [bar["value"] for bar in bars if bar["bar_style"] == "success"] == [4, 5, 4, 5]
    # Those of the evaluations inside the epochs are gone.
    assert [bar["value"] for bar in bars if bar["bar_style"] == ""] == [3] * 3


def test_no_thread_is_started():
    before = threading.active_count()
    engine = make_engine()
    ProgressBar(file=Terminal(), ncols=80).attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: threads.append(threading.active_count()))
    threads: list[int] = []

    engine.run([1, 2, 3])

    assert threads == [before] * 3


# ---- what is shown ---------------------------------------------------------------------------------


def test_metrics_are_shown_as_soon_as_they_are_there():
    engine, file = make_engine(), io.StringIO()
    engine.add_event_handler(
        Events.EPOCH_COMPLETED, lambda: engine.state.metrics.update(accuracy=0.5, recall=[1], name="a", other=1)
    )
    ProgressBar(file=file, bar_format=PLAIN).attach(engine, ["accuracy", "missing"])
    everything = io.StringIO()
    ProgressBar(file=everything, bar_format=PLAIN, persist=True).attach(engine, "all")

    engine.run([1])

    assert lines(file) == ["Epoch [1/1]: 1/1, accuracy=0.5"]
    assert lines(everything) == ["Epoch [1/1]: 1/1, accuracy=0.5, other=1"]


def test_running_averages_go_over_the_epochs_and_start_over_with_a_new_run():
    engine, file = make_engine(), io.StringIO()
    ProgressBar(running_average=0.5, file=file, bar_format=PLAIN).attach(engine, output_transform=float)

    engine.run([0, 8], max_epochs=2)
    engine.run([2, 2])

    assert lines(file) == ["Epoch [1/2]: 2/2, output=4", "Epoch [2/2]: 2/2, output=5", "Epoch [1/1]: 2/2, output=2"]


def test_tensors_are_averaged_without_asking_the_device_each_time():
    torch = pytest.importorskip("torch")
    engine, file = make_engine(), io.StringIO()
    ProgressBar(running_average=0.5, file=file, bar_format=PLAIN).attach(engine, output_transform=lambda loss: loss)

    engine.run(torch.tensor([0.0, 8.0, 4.0]))

    assert lines(file) == ["Epoch [1/1]: 3/3, output=4"]


def test_a_loss_that_is_part_of_a_graph_can_be_shown():
    torch = pytest.importorskip("torch")
    engine, file = make_engine(), io.StringIO()
    ProgressBar(file=file, bar_format=PLAIN).attach(engine, output_transform=lambda loss: {"loss": loss})

    engine.run([torch.tensor(2.0, requires_grad=True) * 1])

    assert lines(file) == ["Epoch [1/1]: 1/1, loss=2"]


def test_restored_running_averages_continue():
    def train(engine, bar, *states):
        bar.attach(engine, output_transform=lambda output: {"loss": output})
        for target, state in zip((engine, bar), states, strict=False):
            target.load_state_dict(state)
        engine.run([1, 2, 4, 8], max_epochs=2)

    straight = make_engine(), ProgressBar(running_average=0.9, disable=True)
    train(*straight)
    stopped = make_engine(), ProgressBar(running_average=0.9, disable=True)
    stopped[0].add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda engine: engine.terminate())
    train(*stopped)
    continued = make_engine(), ProgressBar(running_average=0.9, disable=True)
    train(*continued, stopped[0].state_dict(), stopped[1].state_dict())

    assert continued[1].state_dict() == straight[1].state_dict()
    assert straight[1].state_dict()["averages"]["loss"] > 0


@pytest.mark.parametrize("state", [None, {}, {"averages": None}, {"averages": {"a": "b"}}, {"averages": {}, "b": 1}])
def test_a_wrong_state_is_refused(state):
    with pytest.raises(StateDictError):
        ProgressBar(running_average=0.9).load_state_dict(state)


def test_an_output_that_is_no_number_is_refused_by_name():
    engine = make_engine()
    ProgressBar(file=io.StringIO()).attach(engine, output_transform=lambda output: {"loss": [output]})

    with pytest.raises(ArgumentTypeError, match="for 'loss'"):
        engine.run([1])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"scope": "batch"}, "`scope` must be 'epoch' or 'run', got 'batch'"),
        ({"running_average": 1.0}, "`running_average` must be at least 0 and below 1, got 1.0"),
        ({"running_average": -0.1}, "`running_average` must be at least 0 and below 1, got -0.1"),
    ],
)
def test_a_wrong_argument_is_refused(options, text):
    with pytest.raises(ArgumentError, match=text):
        ProgressBar(**options)


@pytest.mark.parametrize("description", [True, 3, ["Train"]])
def test_a_description_that_is_no_text_is_refused(description):
    with pytest.raises(ArgumentTypeError, match="`description` must be a string or None, .*stays with `persist=True`"):
        ProgressBar(description)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("desc", "`desc` must not be given to ProgressBar; here it is `description`"),
        ("leave", "`leave` must not be given to ProgressBar; here it is `persist`"),
        ("total", "`total` must not be given to ProgressBar; here it is decided by the engine"),
        ("colr", "`colr` must be an argument of ProgressBar or an option of tqdm: .*colour"),
        ("event_name", "`event_name` must be an argument of ProgressBar or an option of tqdm"),
    ],
)
def test_an_unknown_option_is_refused_by_its_name_here(option, text):
    with pytest.raises(ArgumentTypeError, match=text):
        ProgressBar(**{option: "x"})


@pytest.mark.parametrize(
    ("options", "drawn"),
    [
        ({"ascii": " x"}, "xxxx"),
        ({"colour": "green"}, "\x1b[32m"),
        ({"unit": "image"}, "image/s"),
        ({"bar_format": "{n} of {total}"}, "2 of 2"),
        ({"ncols": 0}, "100% 2/2 ["),
        ({"disable": True}, ""),
    ],
    ids=str,
)
def test_an_option_of_tqdm_shows_in_what_is_drawn(options, drawn):
    file, engine = Terminal(), make_engine()
    ProgressBar(persist=True, file=file, **options).attach(engine)
    engine.run([1, 2])
    assert drawn in file.getvalue()
    assert bool(drawn) == bool(file.getvalue())
