from __future__ import annotations

import pytest

from camshaft.engine import ArgumentTypeError, OneRank, ranks, use_ranks


class SecondOfTwo:
    rank, size = 1, 2

    def exchange(self, what, value):
        return [what, value]


@pytest.fixture(autouse=True)
def alone_again():
    yield
    use_ranks(None)


def test_a_process_is_alone_until_somebody_says_otherwise():
    assert (0, 1, ["mine"]) == (ranks().rank, ranks().size, ranks().exchange("what", "mine"))


def test_what_is_used_is_what_everybody_gets():
    second = SecondOfTwo()
    use_ranks(second)

    assert ranks() is second


def test_none_makes_the_process_alone_again():
    use_ranks(SecondOfTwo())
    use_ranks(None)

    assert isinstance(ranks(), OneRank)


def test_ranks_that_cannot_exchange_are_refused():
    with pytest.raises(ArgumentTypeError, match="must have rank, size and exchange"):
        use_ranks(object())
    assert ranks().size == 1
