from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore

from camshaft.distributed import RankMissingError
from camshaft.distributed._attempt import join_attempt


def join(store, size, ranks=None, timeout_s=60.0):
    with ThreadPoolExecutor(size) as pool:
        started = [pool.submit(join_attempt, store, rank, size, timeout_s) for rank in ranks or range(size)]
        return [each.result() for each in started]


@pytest.mark.parametrize("size", [2, 4])
def test_all_processes_get_the_same_id(size):
    assert len(set(join(HashStore(), size))) == 1


def test_each_attempt_over_one_store_has_an_id_of_its_own():
    store = HashStore()
    ids = [join(store, 3) for _ in range(4)]

    assert [1] * 4 == [len(set(each)) for each in ids]
    assert len({each[0] for each in ids}) == 4


def test_what_an_attempt_left_that_never_came_together_does_no_harm():
    store = HashStore()
    with pytest.raises(RankMissingError):
        join(store, 3, ranks=[0, 2], timeout_s=0.1)

    assert len(set(join(store, 3))) == 1


def test_rank_0_names_those_that_have_not_started():
    with pytest.raises(RankMissingError, match=r"within 0\.1 s: rank 1, 3 has not started"):
        join(HashStore(), 4, ranks=[0, 2], timeout_s=0.1)


def test_a_word_of_an_attempt_before_is_not_taken_for_a_process():
    store = HashStore()
    join(store, 3)
    with pytest.raises(RankMissingError, match="rank 1 has not started"):
        join(store, 3, ranks=[0, 2], timeout_s=0.3)


def test_the_others_name_rank_0_if_it_has_not_started():
    store = HashStore()
    join(store, 2)
    with pytest.raises(RankMissingError, match="rank 0 has not started"):
        join_attempt(store, 1, 2, timeout_s=0.1)
