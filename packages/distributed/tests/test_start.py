from __future__ import annotations

import pytest

from camshaft.distributed import Process, start
from camshaft.distributed._start import Place
from camshaft.engine import ArgumentError, Engine, ranks

LAUNCHED = {"RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "there", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def not_launched(monkeypatch):
    for name in (*LAUNCHED, "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_a_process_that_is_alone_starts_nothing():
    with start() as process:
        assert (0, 1, 0) == (process.rank, process.size, process.local_rank)
        assert ranks() is not process
        assert ["mine"] == process.exchange("what", "mine")


def test_one_process_of_torchrun_is_alone_too(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert start().size == 1


def test_an_engine_of_a_process_that_is_alone_has_nothing_to_agree_on():
    engine = Engine(lambda engine, batch: engine.terminate())
    before = repr(engine)
    start().agree(engine)

    assert repr(engine) == before
    assert engine.run([1, 2, 3]).iteration == 1


def test_the_device_can_be_chosen():
    assert str(start(device="cpu").device) == "cpu"


def test_ending_twice_does_nothing():
    process = start()
    process.end()
    process.end()
    assert isinstance(process, Process)


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("inf"), float("nan"), "10", True])
@pytest.mark.parametrize("argument", ["timeout_s", "control_timeout_s", "grace_s"])
def test_a_time_that_is_no_positive_number_is_refused(argument, timeout_s):
    with pytest.raises(ArgumentError, match=f"`{argument}` must be a positive number of seconds"):
        start(**{argument: timeout_s})


def test_the_environment_says_who_and_where():
    assert Place(3, 4, 3, "there", 29500, has_store=False) == Place.read(LAUNCHED)
    torchrun = {**LAUNCHED, "LOCAL_RANK": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    assert Place(3, 4, 1, "there", 29500, has_store=True) == Place.read(torchrun)


@pytest.mark.parametrize("name", ["RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_a_variable_that_is_missing_is_named(name):
    with pytest.raises(ArgumentError, match=rf"none of \['{name}'\]; start the script with torchrun"):
        Place.read({key: value for key, value in LAUNCHED.items() if key != name})


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "MASTER_PORT"])
def test_a_variable_that_is_no_number_is_named(name):
    with pytest.raises(ArgumentError, match=f"`{name}` must be an integer, got 'many'"):
        Place.read({**LAUNCHED, name: "many"})
