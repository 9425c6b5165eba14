"""Requests that several processes carry out together. The other process is played by the vote."""

from __future__ import annotations

import copy

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, Events, RunningError
from camshaft.engine.testing import record_events


def silent(engine, batch):
    return None


class Other:
    """Plays the other process: notes what it is told, and wishes what it was given, by iteration."""

    def __init__(self, **wishes):
        self.wishes = {int(name[2:]): wish for name, wish in wishes.items()}
        self.votes = []

    def __call__(self, event, position, wishes):
        told = [name for name, is_wished in wishes.items() if is_wished]
        self.votes.append((event.name, position.iteration, told))
        return {*told, *self.wishes.pop(position.iteration, [])}


def shared(other, every=1, step=silent):
    engine = Engine(step)
    engine.share_requests(other, every)
    return engine


def test_the_processes_vote_at_the_same_places_in_every_run():
    other = Other()
    shared(other).run([1, 2], max_epochs=1)
    places = [(event, iteration) for event, iteration, _ in other.votes]

    assert places == [
        ("STARTED", 0), ("EPOCH_STARTED", 0), ("ITERATION_COMPLETED", 1), ("ITERATION_COMPLETED", 2),
        ("EPOCH_COMPLETED", 2),
    ]  # fmt: skip


def test_they_vote_after_every_nth_iteration():
    other = Other()
    shared(other, every=3).run(range(7))

    assert [iteration for event, iteration, _ in other.votes][2:-1] == [3, 6]


@pytest.mark.parametrize("event", [Events.STARTED, Events.EPOCH_STARTED, Events.ITERATION_COMPLETED])
def test_they_vote_after_handlers_that_are_attached_later(event):
    other = Other()
    engine = shared(other)
    engine.add_event_handler(event, engine.terminate)
    engine.run([1, 2])

    assert other.votes[-1] == (event.name, engine.state.iteration, ["terminate"])


def test_they_vote_where_the_run_stands():
    seen, engine = [], Engine(silent)
    engine.share_requests(lambda event, position, wishes: seen.append((position, engine.position)) or [])
    engine.run([1, 2], max_epochs=2)

    assert len(seen) == 9
    assert all(told == stands for told, stands in seen)


def test_what_is_added_or_removed_in_a_run_can_be_wished_from_the_next_vote_on():
    named, engine = [], Engine(silent)
    engine.share_requests(lambda event, position, wishes: named.append([*wishes][5:]) or [])
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.add_request, "save", print)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.remove_request, "save")
    engine.run(range(3))

    assert named == [[], [], ["save"], ["save"], [], []]


@pytest.mark.parametrize("event", [Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED, Events.ITERATION_COMPLETED])
def test_a_request_of_any_moment_waits_for_the_vote(event):
    other = Other()
    engine = shared(other, every=4)
    # GET_BATCH_COMPLETED sees the count before the iteration.
    engine.add_event_handler(event(event_filter=lambda _, value: value == 5), engine.terminate)
    seen = engine.run(range(20)).iteration

    assert seen == 8
    assert ["terminate"] == [name for *_, told in other.votes for name in told]


def test_a_request_in_the_step_waits_for_the_vote():
    engine = shared(Other(), every=4, step=lambda engine, batch: engine.terminate() if batch == 5 else None)

    assert engine.run(range(20)).iteration == 8


def test_what_the_other_process_wishes_is_carried_out_here():
    engine = shared(Other(at3=["terminate"]))
    log = record_events(engine)
    engine.run(range(10))

    assert engine.state.iteration == 3
    assert log.names[-2:] == ["TERMINATE", "COMPLETED"]


def test_the_end_of_an_epoch_and_an_interrupt_are_shared():
    engine = shared(Other(at2=["terminate_epoch"], at4=["interrupt"]))
    engine.run(range(5), max_epochs=3)

    assert (2, 4, True) == (engine.state.epoch, engine.state.iteration, engine.should_interrupt)


def test_a_wish_is_told_once():
    other = Other()
    engine = shared(other)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate_epoch)
    engine.run(range(5), max_epochs=2)

    assert ["terminate_epoch"] == [name for *_, told in other.votes for name in told]
    assert engine.state.iteration == 7


def test_a_wish_that_was_not_told_yet_can_be_seen_and_taken_back():
    engine = shared(Other(), every=10)
    seen = []
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: seen.append(engine.should_terminate))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda: setattr(engine, "should_terminate", False))
    engine.run(range(20))

    assert ([True], 20) == (seen, engine.state.iteration)


def test_safe_points_of_this_process_do_not_wait_for_a_vote():
    engine, seen = shared(Other(), every=10), []

    def ask(engine):
        engine.at_safe_point(lambda: seen.append(engine.state.iteration))

    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), ask)
    engine.run(range(20))

    assert seen == [3]


@pytest.mark.parametrize("every", [None, 1, 4])
def test_what_has_a_name_is_called_once_at_a_safe_point(every):
    engine, seen = Engine(silent), []
    if every is not None:
        engine.share_requests(Other(), every)
    engine.add_request("save", lambda: seen.append(engine.state.iteration))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.request, "save")
    engine.run(range(10))

    assert seen == [4 if every == 4 else 3]


def test_what_another_process_asks_for_by_name_is_called_here():
    engine, seen = shared(Other(at3=["save"])), []
    engine.add_request("save", lambda: (seen.append(engine.state.iteration), engine.terminate()))
    engine.run(range(10))

    assert ([3], 3) == (seen, engine.state.iteration)  # all processes call it, so its terminate() is one of all


def test_what_a_safe_point_of_this_process_asks_for_is_a_wish():
    other = Other(at3=["interrupt"])
    engine = shared(other)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: engine.at_safe_point(engine.terminate))
    engine.run(range(10))

    assert (3, True) == (engine.state.iteration, engine.should_interrupt)
    assert ["terminate"] not in [told for *_, told in other.votes]


def test_what_a_safe_point_wishes_is_told_at_the_next_vote():
    engine = shared(Other())
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: engine.at_safe_point(engine.terminate))

    assert engine.run(range(10)).iteration == 4


def test_a_run_that_ends_takes_its_wishes_with_it():
    other = Other()
    engine = shared(other, every=10)
    engine.add_event_handler(Events.COMPLETED, engine.terminate)
    engine.run(range(3))
    engine.run(range(3))

    assert [] == [name for *_, told in other.votes for name in told]


@pytest.mark.parametrize("ends", [Events.COMPLETED, Events.TERMINATE, Events.INTERRUPT])
def test_a_request_by_name_that_comes_too_late_for_a_vote_is_told_in_the_next_run(ends):
    engine, seen = shared(Other(at1=["interrupt" if ends is Events.INTERRUPT else "terminate"])), []
    engine.add_request("save", lambda: seen.append(engine.state.iteration))
    with engine.add_event_handler(ends, engine.request, "save"):
        engine.run(range(3))
    assert seen == []

    engine.run(range(3), max_epochs=2)

    assert len(seen) == 1


def test_a_request_by_name_outlives_the_failure_of_the_run():
    engine, seen = shared(Other()), []
    engine.add_request("save", lambda: seen.append(engine.state.iteration))

    def fail(engine):
        engine.request("save")
        raise OSError("the disk")

    with engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), fail), pytest.raises(OSError, match="the disk"):
        engine.run(range(4), max_epochs=2)
    engine.run(range(4), max_epochs=2)

    assert len(seen) == 1


@pytest.mark.parametrize("agreed", ["terminate", "terminate, skip_completed"])
def test_what_a_handler_of_terminate_asks_for_in_one_process_changes_nothing(agreed):
    logs = []
    for skips in (None, False, True):
        engine = shared(Other(at2=[agreed]))
        if skips is not None:
            engine.add_event_handler(Events.TERMINATE, engine.terminate, skip_completed=skips)
        log = record_events(engine)
        engine.run(range(4))
        logs.append(log.names)

    assert logs[0] == logs[1] == logs[2]


def test_what_is_removed_by_another_request_of_the_same_vote_is_not_called():
    engine, seen = shared(Other(at2=["a", "b"])), []
    engine.add_request("a", lambda: (seen.append("a"), engine.remove_request("b")))
    engine.add_request("b", lambda: seen.append("b"))
    engine.run(range(4))

    assert seen == ["a"]


def test_a_wish_goes_with_the_request_that_is_removed():
    engine, seen = shared(Other(), every=3), []
    engine.add_request("save", lambda: seen.append("the first"))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.request, "save")

    def replace(engine):
        engine.remove_request("save")
        engine.add_request("save", lambda: seen.append("the second"))

    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), replace)
    engine.run(range(4))

    assert seen == []


def test_sharing_ends():
    other = Other()
    engine = shared(other)
    engine.share_requests(None)
    engine.run(range(3))

    assert other.votes == []


def test_sharing_again_replaces_the_places():
    first, second = Other(), Other()
    engine = shared(first, every=1)
    engine.share_requests(second, every=2)
    engine.run(range(4))

    assert ([], 5) == (first.votes, len(second.votes))


def test_what_says_better_why_a_run_has_failed_is_raised_in_all_its_places():
    seen = []
    engine = Engine(lambda engine, batch: 1 / 0)
    engine.share_requests(Other(), explain=lambda error: OSError(f"gone: {error}"))
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: seen.append(str(error)))
    with pytest.raises(OSError, match="gone: division by zero") as raised:
        engine.run([1])

    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert ["gone: division by zero"] == seen


def test_a_run_that_is_refused_is_explained_too():
    engine = Engine(lambda engine, batch: None)
    engine.share_requests(Other(), explain=lambda error: OSError(f"gone: {error}"))
    with pytest.raises(OSError, match="gone: `max_epochs` must") as raised:
        engine.run([1], max_epochs=0)

    assert isinstance(raised.value.__cause__, ArgumentError)


def test_no_handler_turns_an_exception_into_an_end_of_one_process_alone():
    engine = Engine(lambda engine, batch: 1 / 0)
    engine.share_requests(Other())
    engine.add_event_handler(Events.EXCEPTION_RAISED, engine.terminate)
    with pytest.raises(ZeroDivisionError) as raised:
        engine.run([1])

    assert "the others would wait" in raised.value.__notes__[0]


def test_a_copy_shares_nothing_and_knows_the_names():
    other = Other()
    engine = shared(other)
    engine.add_request("save", print)
    copied = copy.deepcopy(engine)
    copied.run(range(3))
    copied.request("save")

    assert other.votes == []


@pytest.mark.parametrize("name", ["", "terminate", "save"])
def test_a_name_that_is_taken_or_empty_is_refused(name):
    engine = Engine(silent)
    engine.add_request("save", print)
    with pytest.raises(ArgumentError, match="must be a name of its own"):
        engine.add_request(name, print)


def test_a_request_that_is_no_function_is_refused():
    with pytest.raises(ArgumentTypeError, match="`callback` callable"):
        Engine(silent).add_request("save", 3)


def test_an_unknown_name_is_refused():
    with pytest.raises(ArgumentError, match="add it first"):
        Engine(silent).request("save")


def test_a_run_does_not_change_how_it_shares_requests():
    engine = Engine(lambda engine, batch: engine.share_requests(Other()))
    with pytest.raises(RunningError):
        engine.run([1])


def test_what_was_removed_is_not_called_and_its_name_is_free() -> None:
    called: list[str] = []
    engine = Engine(lambda engine, batch: engine.request("save") if batch == 1 else None)
    engine.add_request("save", lambda: called.append("the first"))
    engine.request("save")
    engine.remove_request("save")
    engine.add_request("save", lambda: called.append("the second"))

    engine.run([1, 2])

    assert called == ["the second"]


def test_what_was_never_added_cannot_be_removed() -> None:
    with pytest.raises(ArgumentError, match="add it first"):
        Engine(lambda engine, batch: None).remove_request("save")


def test_a_run_that_fails_reaches_no_safe_point_as_the_others_would_not_be_there():
    engine, seen = shared(Other()), []

    def ask(engine):
        engine.at_safe_point(lambda: seen.append(engine.last_event_name))

    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), ask)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: 1 / 0)
    engine.add_event_handler(Events.EXCEPTION_RAISED, ask)
    with pytest.raises(ZeroDivisionError):
        engine.run(range(5))

    assert seen == []
