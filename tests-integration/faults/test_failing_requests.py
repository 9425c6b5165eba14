from __future__ import annotations

import contextlib
import errno

from failing_requests import KINDS, SYSTEMS, FailingSystem, Fault, RemoteRun, failing, run
from troubled_save import SETTINGS, problems_of


def test_a_network_that_fails_at_any_request_loses_nothing() -> None:
    outcome = run(full=False)

    assert (outcome.losses, outcome.cases >= 50, outcome.detail) == (0, True, outcome.detail)


def test_all_kinds_of_requests_of_a_save_are_made_to_fail() -> None:
    failed = set()
    for protocol in SYSTEMS:
        remote = RemoteRun(protocol, SETTINGS[4])
        for number in range(1, 40):
            with failing(Fault(number, KINDS[0], goes_on=False)), contextlib.suppress(OSError):
                remote.save()
            failed.update(FailingSystem.failed)
        remote.remote.close()

    assert {"ls", "info", "cat_file", "put_file", "cp_file", "rm_file", "mv"} <= failed


def test_the_check_itself_notices_a_file_that_is_lost() -> None:
    remote = RemoteRun("failing", SETTINGS[3])

    @contextlib.contextmanager
    def trouble():  # type: ignore[no-untyped-def] # noqa: ANN202
        del FailingSystem.store["/place/run/checkpoint_1.pt"]
        with failing(Fault(1, "refused", goes_on=True)):
            yield

    problems = problems_of(remote, trouble(), errno.EIO, goes_on=False)
    remote.remote.close()

    assert "the content of ['checkpoint_1.pt'] has changed" in problems
