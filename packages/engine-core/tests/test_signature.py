from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any

import pytest

from camshaft.engine import ArgumentError, Engine, Events


def fire(handler: Callable[..., Any], *args: Any, event: Events = Events.STARTED, **kwargs: Any) -> Engine[Any, Any]:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.add_event_handler(event, handler, *args, **kwargs)
    engine.run([1])
    return engine


def test_a_parameter_without_default_gets_the_engine() -> None:
    got = []
    engine = fire(lambda e: got.append(e))

    assert got == [engine]


def test_a_handler_without_parameters_is_called_without_the_engine() -> None:
    got = []
    fire(lambda: got.append("called"))

    assert got == ["called"]


def test_a_default_never_receives_the_engine() -> None:
    got = []
    fire(lambda n=5: got.append(n))

    assert got == [5]


def test_a_default_behind_the_engine_keeps_its_value() -> None:
    got = []
    engine = fire(lambda e, n=5: got.append((e, n)))

    assert got == [(engine, 5)]


def test_starred_arguments_get_the_engine() -> None:
    got = []
    engine = fire(lambda *args, **kwargs: got.append((args, kwargs)), 1, key=2)

    assert got == [((engine, 1), {"key": 2})]


def test_attached_arguments_follow_the_engine() -> None:
    got = []
    engine = fire(lambda e, a, b, *, c: got.append((e, a, b, c)), 1, 2, c=3)

    assert got == [(engine, 1, 2, 3)]


def test_attached_arguments_alone_reach_a_handler_that_has_no_place_for_the_engine() -> None:
    got = []
    fire(lambda a, b: got.append((a, b)), 1, 2)

    assert got == [(1, 2)]


def test_attached_arguments_fill_defaults_and_the_engine_does_not() -> None:
    got = []
    fire(lambda a=0, b=0: got.append((a, b)), 1)

    assert got == [(1, 0)]


def test_a_partial_with_its_arguments_filled_is_called_without_the_engine() -> None:
    evaluator: Engine[Any, Any] = Engine(lambda engine, batch: batch)
    fire(functools.partial(evaluator.run, [1, 2, 3]))

    assert evaluator.state.iteration == 3
    assert evaluator.state.max_epochs == 1


def test_a_partial_with_room_for_the_engine_gets_it() -> None:
    got = []
    engine = fire(functools.partial(lambda n, e: got.append((n, e)), 7))

    assert got == [(7, engine)]


def test_a_bound_method_and_an_object_that_is_called_get_the_engine() -> None:
    class Listener:
        def __init__(self) -> None:
            self.got: list[Any] = []

        def listen(self, engine: Engine[Any, Any]) -> None:
            self.got.append(engine)

        def __call__(self, engine: Engine[Any, Any]) -> None:
            self.got.append(engine)

    listener = Listener()
    first, second = fire(listener.listen), fire(listener)

    assert listener.got == [first, second]


def test_a_handler_whose_length_is_zero_is_a_handler_all_the_same() -> None:
    class Empty:
        called = 0

        def __len__(self) -> int:
            return 0

        def __call__(self) -> None:
            self.called += 1

    handler = Empty()
    for event in (Events.STARTED, Events.ITERATION_STARTED, Events.GET_BATCH_STARTED, Events.COMPLETED):
        fire(handler, event=event)

    assert handler.called == 4


def test_builtins_attach_with_and_without_a_signature(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Any] = []
    engine = fire(seen.append)
    fire(print, "halfway", sep=" | ")
    sink: set[Any] = set()
    fire(sink.add)

    assert seen == [engine]
    assert capsys.readouterr().out.endswith(" | halfway\n")
    assert len(sink) == 1


def test_a_callable_without_any_signature_gets_the_engine() -> None:
    engine = fire(operator.methodcaller("register_events", "halfway"))

    assert engine.has_registered_events("halfway")


@pytest.mark.parametrize(
    "handler",
    [
        lambda a, b: None,
        lambda a, *, key: None,
        3,
        None,
        "name",
    ],
    ids=["two parameters", "keyword only", "number", "none", "string"],
)
def test_a_handler_that_cannot_be_called_is_refused_with_both_names(handler: Any) -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)

    with pytest.raises(ArgumentError, match=r"handler.*EPOCH_STARTED|EPOCH_STARTED.*handler") as caught:
        engine.add_event_handler(Events.EPOCH_STARTED, handler)
    assert repr(handler) in str(caught.value)
    assert "EPOCH_STARTED" not in repr(engine)


def test_keyword_arguments_that_do_not_fit_are_refused_at_once() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)

    with pytest.raises(ArgumentError, match="key"):
        engine.add_event_handler(Events.STARTED, lambda engine: None, key=1)


def test_a_handler_of_a_failure_gets_the_engine_and_the_exception() -> None:
    got: list[Any] = []

    def fail(engine: Engine[Any, Any], batch: Any) -> None:
        raise OSError("disk")

    def both(engine: Engine[Any, Any], error: BaseException) -> None:
        got.append((engine, type(error)))

    engine: Engine[Any, Any] = Engine(fail)
    engine.add_event_handler(Events.EXCEPTION_RAISED, both)
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda: got.append("nothing"))
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error, place: got.append(place), "place")
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda n=5: got.append(n))
    with pytest.raises(OSError, match="disk"):
        engine.run([1])

    assert got == [(engine, OSError), "nothing", "place", 5]


def test_a_handler_of_an_ended_epoch_gets_the_number_of_its_iterations() -> None:
    got: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: engine.terminate_epoch() if batch == 2 else None)
    engine.add_event_handler(Events.TERMINATE_SINGLE_EPOCH, lambda engine, iter_counter: got.append(iter_counter))
    engine.add_event_handler(Events.TERMINATE_SINGLE_EPOCH, lambda: got.append("nothing"))
    engine.run([1, 2, 3])

    assert got == [2, "nothing"]


@pytest.mark.parametrize("event", [Events.TERMINATE_SINGLE_EPOCH, Events.EXCEPTION_RAISED])
def test_an_events_own_argument_comes_after_the_engine_to_handlers_with_a_parameter_for_it(event: Events) -> None:
    got: dict[str, tuple[Any, ...]] = {}

    def step(engine: Engine[Any, Any], batch: Any) -> None:
        engine.terminate_epoch()
        if event is Events.EXCEPTION_RAISED:
            raise OSError("disk")

    def optional(engine: Any, iter_counter: Any = None) -> None:
        got["optional"] = (engine, iter_counter)

    engine: Engine[Any, Any] = Engine(step)
    engine.add_event_handler(event, lambda one: got.update(one=(one,)))
    engine.add_event_handler(event, lambda engine, own: got.update(two=(engine, own)))
    engine.add_event_handler(event, optional)
    engine.add_event_handler(event, lambda *everything: got.update(everything=everything))
    engine.add_event_handler(event, lambda engine, verbose=True: got.update(verbose=(engine, verbose)))
    engine.add_event_handler(event, lambda engine, name: got.update(name=(engine, name)), "attached")
    engine.add_event_handler(Events.EXCEPTION_RAISED, engine.terminate)
    engine.run([1])
    own = got["two"][1]

    assert own == 1 or isinstance(own, OSError)
    assert got == {
        "one": (engine,),
        "two": (engine, own),
        "optional": (engine, own),
        "everything": (engine, own),
        "verbose": (engine, True),
        "name": (engine, "attached"),
    }


def test_arguments_of_one_firing_do_not_stick_to_the_handler() -> None:
    got: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)

    def handler(engine: Engine[Any, Any], *args: Any, **kwargs: Any) -> None:
        kwargs["more"] = 1
        got.append((args, kwargs))

    engine.add_event_handler(Events.ITERATION_STARTED, handler, 1, key=2)
    engine.run([0, 0])

    assert got == [((1,), {"key": 2, "more": 1})] * 2


@pytest.mark.parametrize("step", [None, 3, lambda: None, lambda engine: None, lambda a, b, c: None], ids=range(5))
def test_a_step_that_does_not_take_engine_and_batch_is_refused(step: Any) -> None:
    with pytest.raises(ArgumentError, match="process_function"):
        Engine(step)


def test_a_step_may_be_any_callable_with_two_arguments() -> None:
    assert Engine(lambda engine, batch, scale=2: batch * scale).run([4]).output == 8
    assert Engine(functools.partial(lambda scale, engine, batch: batch * scale, 3)).run([4]).output == 12


def test_a_handler_whose_first_parameter_is_named_like_what_the_event_brings_gets_that_alone() -> None:
    got: list[Any] = []

    def count(iter_counter: int, more: str) -> None:
        got.append((iter_counter, more))

    engine: Engine[int, None] = Engine(lambda engine, batch: engine.terminate_epoch() if batch == 2 else None)
    engine.add_event_handler(Events.TERMINATE_SINGLE_EPOCH, count, "more")
    engine.run([1, 2, 3])
    assert [(2, "more")] == got


@pytest.mark.parametrize("builtin", [TypeError, ValueError])
def test_what_cannot_be_called_is_of_the_wrong_kind_and_breaks_a_rule(builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match="`process_function` must be callable"):
        Engine(3)  # type: ignore[arg-type]  # that is the point
    engine: Engine[int, None] = Engine(lambda engine, batch: None)
    with pytest.raises(builtin, match="`handler` must be callable"):
        engine.add_event_handler(Events.STARTED, 3)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(builtin, match="`event_filter` must be callable"):
        Events.ITERATION_STARTED(event_filter=3)  # type: ignore[arg-type]  # that is the point


def test_a_signature_that_python_could_not_read_beside_another_thread_is_read_again(monkeypatch) -> None:
    read, errors = inspect.signature, [SystemError("recursion depth mismatch"), SystemError("recursion depth mismatch")]

    def signature(function: Callable[..., Any]) -> inspect.Signature:
        if errors:
            raise errors.pop()
        return read(function)

    monkeypatch.setattr(inspect, "signature", signature)
    got: list[int] = []
    fire(got.append, 3)

    assert got == [3]
    assert not errors
