from __future__ import annotations

import errno
from typing import Any

import pytest

from camshaft.handlers.checkpoint.storage import _retry
from camshaft.handlers.checkpoint.storage._retry import Retry, is_final


class NoCredentialsError(Exception):
    """As the client libraries have one."""


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, without making them."""
    pauses: list[float] = []
    monkeypatch.setattr(_retry, "wait", pauses.append)
    return pauses


def failing(*errors: Exception) -> Any:
    left = list(errors)

    def request() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return request


def test_what_fails_is_done_again_after_longer_and_longer_pauses(waited: list[float]) -> None:
    errors = [TimeoutError(), ConnectionResetError(), RuntimeError("of some client library")]

    assert "done" == Retry(attempts=5, first_pause_s=0.5).call(failing(*errors), "place")
    assert [0.5, 1.0, 2.0] == waited


def test_after_the_last_attempt_the_last_error_is_the_cause(waited: list[float]) -> None:
    last = OSError(errno.EBUSY, "slow down")
    with pytest.raises(ConnectionError, match="2 attempts failed, the last with.*slow down.*place") as caught:
        Retry(attempts=2).call(failing(TimeoutError(), last), "place")

    assert (last, errno.EBUSY) == (caught.value.__cause__, caught.value.errno)
    assert [0.5] == waited


def test_no_pause_is_longer_than_half_a_minute() -> None:
    assert [1, 2, 4, 8, 16, 30, 30] == Retry(attempts=8, first_pause_s=1).pauses()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError(), FileNotFoundError), (PermissionError(), PermissionError), (TypeError(), TypeError),
        (OSError(errno.ENOSPC, "full"), OSError), (NoCredentialsError("none"), PermissionError),
        (NotImplementedError("put"), OSError),
    ],
)  # fmt: skip
def test_what_another_attempt_would_not_change_is_raised_at_once(
    error: Exception, kind: type[Exception], waited: list[float]
) -> None:
    with pytest.raises(kind):
        Retry().call(failing(error), "place")
    assert [] == waited


def test_a_connection_that_was_lost_may_come_back() -> None:
    assert not any(map(is_final, (ConnectionError(), TimeoutError(), OSError(errno.EIO, ""), RuntimeError())))
