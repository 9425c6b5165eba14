"""Checkpoints on a server that speaks S3. `hatch run s3:test` has what this needs."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("s3fs", reason="needs s3fs: hatch run s3:test")
pytest.importorskip("moto", reason="needs moto: hatch run s3:test")
torch = pytest.importorskip("torch")

from checkpoint_parts import Counter, saved  # noqa: E402 - as all below
from s3_server import BUCKET, S3Server  # noqa: E402 - it needs moto

from camshaft.engine import Engine  # noqa: E402
from camshaft.handlers import (  # noqa: E402
    Checkpoint,
    CheckpointInUseError,
    CheckpointWriteError,
    FsspecSaver,
    FsspecStore,
    NoCheckpointError,
    restore_latest,
)
from camshaft.handlers.testing import check_store  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.filterwarnings(
    "ignore:datetime.datetime.utcnow:DeprecationWarning", "ignore::ResourceWarning", "ignore:.*ssl:DeprecationWarning"
)
URL = f"s3://{BUCKET}/run"


@pytest.fixture(scope="module")
def served() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def server(served: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An empty bucket."""
    import s3fs

    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    served.refuse, served.count = (lambda number, method, path: 0), 0
    yield served
    served.refuse = lambda number, method, path: 0
    served.clear()


def saver(server: S3Server, **options: Any) -> FsspecSaver:
    return FsspecSaver(
        URL, require_empty=False, **{"storage_options": server.options, "first_pause_s": 0, "attempts": 3, **options}
    )


def test_it_keeps_what_is_promised_of_stores(server: S3Server) -> None:
    def damage(filename: str) -> None:
        content = server.files("run")[filename]
        server.client.put_object(Bucket=BUCKET, Key=f"run/{filename}", Body=content[:200] + b"x" + content[201:])

    check_store(lambda: saver(server), damage)
    saver(server).close()
    assert {} == server.files("run")


def test_a_directory_holds_the_checkpoints_and_who_writes_there(server: S3Server) -> None:
    saved(saver(server), 1, 2, 3, n_saved=2)

    assert [".camshaft-writer", "count_2.pt", "count_3.pt"] == sorted(server.files("run"))


def test_the_command_line_lists_and_verifies_what_is_there(server: S3Server) -> None:
    saved(saver(server), 1, 2, n_saved=None)
    content = server.files("run")["count_1.pt"]
    server.client.put_object(Bucket=BUCKET, Key="run/count_1.pt", Body=content[:100] + b"x" + content[101:])
    results = [
        subprocess.run(
            [sys.executable, "-m", "camshaft.handlers", action, url],
            env=server.environment, capture_output=True, text=True, check=False,
        )
        for action, url in (("list", URL), ("verify", f"{URL}/"), ("list", f"s3://{BUCKET}/other"))
    ]  # fmt: skip

    assert [0, 1, 2] == [result.returncode for result in results]
    assert "count_2.pt" in results[0].stdout
    assert "DAMAGED: its content does not match its checksum" in results[1].stdout


def test_urls_stand_for_savers_and_stores(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    count = Counter()
    checkpoint = saved(URL, 7)

    assert f"{URL}/count_7.pt" == checkpoint.last_checkpoint
    assert f"{URL}/count_7.pt" == restore_latest(URL, {"count": count}).path
    count.count = 0
    Checkpoint.load_objects({"count": count}, f"{URL}/count_7.pt")
    assert 7 == count.count


@pytest.mark.parametrize("status", [503, -500])
def test_a_request_that_fails_once_is_made_again(server: S3Server, status: int) -> None:
    checkpoint = saved(saver(server), 1)
    engine: Engine[None, None] = Engine(lambda engine, batch: None)
    number, step = 1, 1
    while True:
        server.count, server.refuse = 0, lambda count, method, path, at=number: status if count == at else 0
        step += 1
        engine.state.iteration = step
        checkpoint.to_save["count"].count = step
        checkpoint(engine)
        if server.count < number:
            break
        number += 1
        assert [f"count_{step}.pt"] == sorted(server.files("run"))[1:]

    assert number > 7
    assert step == checkpoint.restore_latest().step


def test_one_that_fails_for_good_ends_the_save_and_changes_nothing(server: S3Server) -> None:
    checkpoint = saved(saver(server), 1)
    engine: Engine[None, None] = Engine(lambda engine, batch: None)
    number, failures = 1, 0
    while True:
        step = engine.state.iteration = number + 1
        before, kept = server.files("run"), checkpoint.state_dict()
        server.count, server.refuse = 0, lambda count, method, path, at=number: 500 if count >= at else 0
        try:
            checkpoint(engine)
        except CheckpointWriteError:
            server.refuse = lambda number, method, path: 0
            failures += 1
            left = server.files("run")
            assert kept == checkpoint.state_dict()
            assert before.items() <= left.items()
            assert restore_latest(FsspecStore(URL, storage_options=server.options), {"count": Counter()}).step in (
                1,
                step,
            )
        except Warning:  # it could not be removed, which the next save makes up for
            break
        number += 1

    assert failures >= 6


def test_a_place_that_cannot_be_written_to_is_refused_at_once_and_still_read(server: S3Server) -> None:
    saved(saver(server), 1)
    server.refuse = lambda number, method, path: 0 if method in ("GET", "HEAD") else 403
    server.count = 0
    with pytest.raises(CheckpointWriteError, match="the test says so"):
        saver(server)

    assert 1 == server.count
    assert 1 == restore_latest(FsspecStore(URL, storage_options=server.options), {"count": Counter()}).step


def test_missing_credentials_and_a_missing_bucket_are_named_at_once(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CheckpointWriteError, match="credentials"):
        saver(server, storage_options={"endpoint_url": server.url})
    with pytest.raises(CheckpointWriteError, match="bucket does not exist"):
        FsspecSaver("s3://missing/run", storage_options=server.options)
    with pytest.raises(NoCheckpointError):
        restore_latest(FsspecStore("s3://missing/run", storage_options=server.options), {"count": Counter()})


def test_a_server_that_is_not_there_is_given_up_after_a_while() -> None:
    options = {
        "endpoint_url": "http://127.0.0.1:9",
        "key": "k",
        "secret": "s",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    store = FsspecStore(URL, storage_options={**options, "key": "k", "secret": "s"}, attempts=2, first_pause_s=0)
    with pytest.raises(NoCheckpointError, match="2 attempts failed"):
        restore_latest(store, {"count": Counter()})


SAVE = """
import sys
from camshaft.handlers import FsspecSaver
saver = FsspecSaver(sys.argv[1], require_empty=False, first_pause_s=0)
for line in sys.stdin:
    try:
        saver({"by": sys.argv[2]}, line.strip())
    except OSError as error:
        print(type(error).__name__, error, flush=True)
    else:
        print("saved", flush=True)
"""


@pytest.fixture
def start(server: S3Server) -> Iterator[Any]:
    """Start a process that saves under each name that it is told, and says how that went."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str) -> Any:
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE, URL, name],
            env=server.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)

        def tell(filename: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{filename}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        tell.process = process  # type: ignore[attr-defined] # a function can carry it
        return tell

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_of_two_runs_the_later_goes_on_and_the_earlier_is_told_of_it(server: S3Server, start: Any) -> None:
    one, two = start("one"), start("two")

    assert "saved" == one("1.pt")
    assert "saved" == two("2.pt")
    refused = one("3.pt")
    assert refused.startswith("CheckpointInUseError")
    assert f"process {two.process.pid} " in refused
    assert "saved" == two("4.pt")
    assert {"1.pt", "2.pt", "4.pt"} == set(server.files("run")) - {".camshaft-writer"}


def test_a_killed_run_keeps_nobody_out_and_loses_nothing(server: S3Server, start: Any) -> None:
    one = start("one")
    assert "saved" == one("1.pt")
    server.refuse = lambda number, method, path: one.process.send_signal(signal.SIGKILL) or 0 if method == "PUT" else 0
    assert "" == one("2.pt")
    server.refuse = lambda number, method, path: 0
    two = start("two")

    assert "saved" == two("3.pt")
    store = FsspecStore(URL, storage_options=server.options)
    assert "3.pt" == store.checkpoints()[0].name
    for file in store.checkpoints():
        store.verify(file.name)


def test_a_run_that_is_refused_removes_nothing(server: S3Server, start: Any) -> None:
    checkpoint = saved(saver(server), 1)
    other = start("other")
    engine: Engine[None, None] = Engine(lambda engine, batch: None)
    engine.state.iteration = 2
    assert "saved" == other("other.pt")

    with pytest.raises(CheckpointInUseError):
        checkpoint(engine)
    assert {"count_1.pt", "other.pt"} == set(server.files("run")) - {".camshaft-writer"}


def test_a_file_of_many_parts_is_whole_or_not_there(server: S3Server) -> None:
    large = {"weight": torch.arange(27 << 20, dtype=torch.float32)}
    large_saver = saver(server)

    def refuse(number: int, method: str, path: str) -> int:
        return 500 if method == "PUT" and number > 6 else 0

    server.count, server.refuse = 0, refuse
    with pytest.raises(CheckpointWriteError):
        large_saver(large, "large.pt")
    server.refuse = lambda number, method, path: 0
    assert "large.pt" not in server.files("run")
    assert not server.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")
    large_saver(large, "large.pt")
    assert torch.equal(large["weight"], large_saver.read("large.pt").payload["weight"])
