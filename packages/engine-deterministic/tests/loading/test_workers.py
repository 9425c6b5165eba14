import multiprocessing
import os
import time
from types import SimpleNamespace

import pytest

from camshaft.deterministic._loading._workers import find_lost, pids_in


def close_pipes_and_live_on(_):
    os.closerange(3, 256)
    time.sleep(0.2)


def live_on(_):
    time.sleep(60)


@pytest.fixture
def worker(request):
    process = multiprocessing.get_context("fork").Process(target=request.param, args=(None,))
    process.start()
    yield process
    process.kill()
    process.join()


@pytest.mark.parametrize("worker", [close_pipes_and_live_on], indirect=True)
def test_a_worker_whose_pipes_are_closed_is_lost_once_it_is_gone(worker):
    error = find_lost(ConnectionResetError(), SimpleNamespace(_workers=[worker]))

    assert [worker.pid] == pids_in(error)


@pytest.mark.parametrize("worker", [live_on], indirect=True)
def test_an_error_that_a_living_worker_has_sent_is_no_lost_worker(worker):
    assert (
        find_lost(OSError("Caught OSError in DataLoader worker process 0."), SimpleNamespace(_workers=[worker])) is None
    )


def test_an_error_without_workers_is_no_lost_worker():
    assert find_lost(OSError(), iter(())) is None
