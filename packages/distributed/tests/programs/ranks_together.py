"""One of several processes: does what the scenario says, and prints what it saw as JSON."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import torch

from camshaft.distributed import start
from camshaft.engine import ArgumentError, Engine, EngineError, Events, ranks

SCENARIO = sys.argv[1]
FIFTH = Events.ITERATION_STARTED(once=5)
TIMEOUT_S = 2.0 if SCENARIO in ("slow", "uneven") else 60.0
GRACE_S = 0.5 if SCENARIO.startswith(("hang", "caught", "fewer")) else 5.0


def make_engine(process, every=1):
    engine = Engine(lambda engine, batch: None)
    process.agree(engine, every)
    return engine


def only_on(process, rank, engine, event, do):
    """Attach `do` on one rank alone."""
    if process.rank == rank:
        engine.add_event_handler(event, do)


def iterations(process, ask, every=1, event=FIFTH, rank=1, **limits):
    """Return how many iterations a run does when one rank asks for something once."""
    engine = make_engine(process, every)
    seen = []
    engine.add_request("save", lambda: seen.append(engine.state.iteration))
    only_on(process, rank, engine, event, lambda: getattr(engine, ask[0])(*ask[1:]))
    engine.run(range(20), **limits)
    return [engine.state.iteration, engine.state.epoch, engine.last_event_name.name, seen]


def facts(process):
    total = torch.tensor([process.rank + 1.0])
    torch.distributed.all_reduce(total)
    shared = process.exchange("tensors", {"rank": process.rank, "tensor": torch.full((3 + process.rank,), 1.5)})
    last = Events.EPOCH_COMPLETED
    return {
        "rank": [process.rank, process.size, process.local_rank, str(process.device)],
        "is_used": ranks() is process,
        "sum": total.item(),
        "exchanged": [[each["rank"], each["tensor"].tolist()] for each in shared],
        "terminate": iterations(process, ["terminate"]),
        "terminate on rank 0": iterations(process, ["terminate"], rank=0),
        "terminate, every 4": iterations(process, ["terminate"], every=4),
        "terminate at the end of an epoch": iterations(process, ["terminate"], event=last(once=1), max_epochs=3),
        "terminate_epoch": iterations(process, ["terminate_epoch"], max_epochs=2),
        "interrupt": iterations(process, ["interrupt"]),
        "request": iterations(process, ["request", "save"]),
        "terminate at the very end": iterations(process, ["terminate"], event=Events.COMPLETED),
        "max_iters": iterations(process, ["terminate"], event=Events.ITERATION_COMPLETED(once=7), max_iters=7),
        "after it": iterations(process, ["request", "save"], event=Events.STARTED, max_iters=3),
    }


class Mute(Exception):
    def __str__(self):
        raise LookupError("no text")


def raise_(error):
    raise error


def failing(process):
    engine = make_engine(process)
    what = {
        "raise": lambda: 1 / 0,
        "kill": lambda: os.kill(os.getpid(), 9),
        "slow": lambda: time.sleep(2 * TIMEOUT_S),
        "exit": lambda: sys.exit("told to go"),
        "exit well": lambda: sys.exit(0),
        "say nothing": lambda: raise_(Mute()),
        "say much": lambda: raise_(ValueError("much " * 2_000_000)),
        "apart": lambda: process.exchange("something of its own", 1),
        "hang": lambda: 1 / 0,
        "raise before a sum": lambda: 1 / 0,
        "kill before a sum": lambda: os.kill(os.getpid(), 9),
        "hang of one alone": lambda: os.kill(os.getpid(), 9),
        "swallow": lambda: 1 / 0,
    }
    if SCENARIO == "request of one" and process.rank:
        engine.add_request("save", lambda: None)
    if SCENARIO == "swallow":
        engine.add_event_handler(Events.EXCEPTION_RAISED, engine.terminate)
    do = what.get(SCENARIO, lambda: None)
    if SCENARIO == "fewer batches":
        engine.add_event_handler(Events.ITERATION_STARTED, lambda: torch.distributed.all_reduce(torch.ones(1)))
    elif SCENARIO.endswith("sum"):  # as the backward pass of a model has it: the others wait in an operation of torch
        only_on(process, 0, engine, FIFTH, lambda: torch.distributed.send(torch.ones(1), 1))
        only_on(process, 1, engine, FIFTH, lambda: torch.distributed.recv(torch.ones(1), 0))  # rank 0 has come here
        only_on(process, 1, engine, FIFTH, do)
        event = Events.ITERATION_STARTED
        engine.add_event_handler(event, lambda: torch.distributed.all_reduce(torch.ones(1)))
        engine.add_event_handler(Events.EXCEPTION_RAISED, lambda _, error: sys.stdout.write(type(error).__name__))
    else:
        only_on(process, 1, engine, FIFTH, do)
    if SCENARIO.startswith("hang"):  # rank 0 is where no message reaches it
        only_on(process, 0, engine, Events.ITERATION_STARTED(once=5), lambda: time.sleep(600))
    engine.run(range(3 if SCENARIO in ("uneven", "fewer batches") and process.rank else 20), max_epochs=2)


def left_alone(process):
    """Catch what leaves the run of rank 1, and go elsewhere; rank 0 waits for it."""
    engine = make_engine(process)
    if SCENARIO == "caught before a sum":
        only_on(process, 1, engine, FIFTH, lambda: 1 / 0)
        engine.add_event_handler(Events.ITERATION_STARTED, lambda: torch.distributed.all_reduce(torch.ones(1)))
    elif SCENARIO == "caught before a vote":
        only_on(process, 1, engine, FIFTH, sys.exit)
    is_refused = SCENARIO == "caught before the run" and process.rank
    try:
        engine.run([] if is_refused else range(20))
    except (ZeroDivisionError, ArgumentError, SystemExit):
        torch.distributed.recv(torch.ones(1), 0)  # as long as rank 0 is there


def left_by_all(process):
    """Let all processes catch what leaves their runs; return how far the next run comes."""
    engine = make_engine(process)
    if process.rank:
        engine.add_event_handler(FIFTH, lambda: 1 / 0)
        engine.add_event_handler(Events.EXCEPTION_RAISED, lambda: torch.distributed.send(torch.ones(1), 0))
    else:
        engine.add_event_handler(FIFTH, lambda: torch.distributed.recv(torch.ones(1), 1))
        engine.add_event_handler(FIFTH, lambda: 1 / 0)
    try:
        engine.run(range(20))
    except ZeroDivisionError:
        time.sleep(0 if process.rank else 3)  # rank 1 waits at the start of the next run, longer than its grace
    again = make_engine(process)
    again.run(range(20))
    return again.state.iteration


def adopted():
    """Take a process group that is there, as Accelerate and Ray make one; a fork of this process changes nothing."""
    torch.distributed.init_process_group("gloo")
    process = start(timeout_s=TIMEOUT_S, device="cpu")
    engine = make_engine(process)
    if (child := os.fork()) == 0:
        try:
            engine.run(range(3))
        except EngineError as error:
            sys.exit(3 if "a forked process has no connection" in str(error) else str(error))
    found = {"fork": os.waitpid(child, 0)[1] >> 8, "terminate": iterations(process, ["terminate"])}
    process.end()
    try:
        process.exchange("something", 1)
    except EngineError as error:
        found["ended"] = str(error)
    return {**found, "is left": torch.distributed.is_initialized(), "ranks": ranks().size}


def started_again():
    """Fail in all processes, and start again over the same group; return what is known of the others then."""
    torch.distributed.init_process_group("gloo")
    with contextlib.suppress(ZeroDivisionError), start(timeout_s=TIMEOUT_S, device="cpu"):
        raise ZeroDivisionError
    with start(timeout_s=TIMEOUT_S, device="cpu") as process:
        process.exchange("something", 1)
        return process._links.control.others()


def parted():
    """Come to the end with an engine that stays; return how many threads of gloo there were, and what is left."""

    def count():
        names = [Path(thread, "comm").read_text().strip() for thread in Path("/proc/self/task").iterdir()]
        return sum("gloo" in name for name in names)

    with start(timeout_s=TIMEOUT_S, device="cpu") as process:
        engine = make_engine(process)
        engine.run(range(3))
        found = [count() > 0]
    found.append(count())
    try:
        engine.run(range(3))
    except EngineError as error:
        found.append(str(error))
    return found


def child(rank, port, folder):
    """Train as one of two processes, of which rank 0 still works when rank 1 has done."""
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    process = start(timeout_s=60, control_timeout_s=1, device="cpu")  # and nothing says where it ends
    make_engine(process).run(range(3))
    if rank == 0:
        time.sleep(3)
        Path(folder, "worked").touch()


def children(folder):
    """Start two processes by multiprocessing; return how they end, and whether one has waited for the other."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=child, args=(rank, store.port, folder)) for rank in range(2)]
    for each in both:
        each.start()
    both[1].join()
    has_worked = Path(folder, "worked").exists()
    both[0].join()
    return [has_worked, [each.exitcode for each in both]]


if SCENARIO == "kill at the start" and os.environ["RANK"] == "1":
    torch.distributed.init_process_group = lambda *args, **options: os.kill(os.getpid(), 9)
if SCENARIO == "children":
    json.dump(children(sys.argv[2]), sys.stdout)
    sys.exit()
if SCENARIO == "parted":
    json.dump(parted(), sys.stdout)
    sys.exit()
if SCENARIO == "started again":
    json.dump(started_again(), sys.stdout)
    sys.exit()
if SCENARIO == "adopted":
    json.dump(adopted(), sys.stdout)
    sys.exit()
IS_LATE = SCENARIO == "caught in all" and os.environ["RANK"] == "0"  # it leaves its run when rank 1 has
with start(timeout_s=TIMEOUT_S, device="cpu", grace_s=60 if IS_LATE else GRACE_S) as this:
    if SCENARIO == "facts":
        json.dump(facts(this), sys.stdout)
    elif SCENARIO == "caught in all":
        json.dump(left_by_all(this), sys.stdout)
    elif SCENARIO.startswith("caught"):
        left_alone(this)
    else:
        failing(this)
