from __future__ import annotations

import copy
import signal
import sys
from collections import OrderedDict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, StateDictError
from camshaft.handlers.checkpoint._errors import CheckpointMismatchError
from camshaft.handlers.checkpoint._objects import collect, consolidate, load, require_objects, states_for, unwrap
from camshaft.handlers.checkpoint.format._record import CheckpointRecord

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from collections.abc import Callable

    Same = Callable[[Any, Any], bool]


class Counter:
    """Counts, and can refuse what it is given."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        if state["count"] < 0:
            raise RuntimeError("a count must not be negative")
        self.count = state["count"]


def trained() -> dict[str, Any]:
    """Objects that have seen a few steps of training."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [torch.optim.lr_scheduler.ConstantLR(optimizer), torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)],
        [2],
    )
    trainer = Engine(lambda engine, batch: None)
    trainer.run([1, 2, 3], max_epochs=2)
    for _ in range(3):
        model(torch.randn(5, 3)).sum().backward()
        optimizer.step()
        scheduler.step()
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler, "trainer": trainer, "counter": Counter(7)}


def compiled(model: Any) -> Any:
    return torch.compile(model, backend="eager")


def test_several_objects_are_saved_by_name() -> None:
    payload = collect({"a": Counter(1), "b": Counter(2)})

    assert payload == ({"a": {"count": 1}, "b": {"count": 2}}, ("a", "b"), False)


def test_a_single_object_is_saved_bare() -> None:
    assert collect({"a": Counter(1)}) == ({"count": 1}, ("a",), True)


def test_nested_objects_are_saved_nested() -> None:
    objects = MappingProxyType({"parts": [Counter(1), {"x": Counter(2)}], "more": (Counter(3),)})

    assert collect(objects).state == {"parts": [{"count": 1}, {"x": {"count": 2}}], "more": [{"count": 3}]}


@pytest.mark.parametrize(
    "wrong", [12, [12], "model", None, {"a": object()}, {"a": [1]}, {"a": {"b": 1}}, {1: Counter()}]
)
def test_what_cannot_be_saved_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError):
        require_objects(wrong, "to_save")


def test_objects_that_only_save_are_refused() -> None:
    class SavesOnly:
        def state_dict(self) -> dict[str, int]:
            return {}

    with pytest.raises(ArgumentTypeError, match=r"to_save.*\['parts'\]\[1\].*load_state_dict"):
        require_objects({"parts": [Counter(), SavesOnly()]}, "to_save")


def test_nothing_to_save_is_refused() -> None:
    with pytest.raises(ArgumentError, match="at least one"):
        require_objects({}, "to_save")


def test_modules_are_unwrapped() -> None:
    model = torch.nn.Linear(2, 1)

    assert unwrap(model) is model
    assert unwrap(torch.nn.DataParallel(model)) is model
    assert unwrap(compiled(model)) is model
    assert unwrap(torch.nn.DataParallel(compiled(model))) is model
    assert list(collect({"model": compiled(model), "again": [torch.nn.DataParallel(model)]}).state["model"]) == [
        "weight",
        "bias",
    ]


def test_wrapped_modules_load_what_plain_ones_saved() -> None:
    source, target = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    load({"model": torch.nn.DataParallel(compiled(target))}, {"model": source.state_dict()})

    assert torch.equal(source.weight, target.weight)


def test_spread_states_are_gathered() -> None:
    class Spread(Counter):
        def consolidate_state_dict(self, to: int) -> None:
            self.count = 100 + to

    objects = {"plain": Counter(1), "parts": [Spread(2)]}
    consolidate(objects, 3)

    assert collect(objects).state == {"plain": {"count": 1}, "parts": [{"count": 103}]}


def test_states_are_found_by_name() -> None:
    payload = {"a": {"count": 1}, "b": {"count": 2}, "c": {"count": 3}}

    assert states_for({"a": Counter(), "c": Counter()}, payload) == {"a": {"count": 1}, "c": {"count": 3}}
    assert states_for({"b": Counter()}, payload) == {"b": {"count": 2}}


def test_the_state_of_a_single_object_may_be_bare() -> None:
    assert states_for({"a": Counter()}, {"count": 1}) == {"a": {"count": 1}}
    assert states_for({"parts": [Counter()]}, [{"count": 1}]) == {"parts": [{"count": 1}]}


def test_a_parameter_called_like_the_module_is_no_module() -> None:
    model = torch.nn.Linear(2, 1)
    state = model.state_dict()

    assert states_for({"weight": model}, state) == {"weight": state}
    assert states_for({"weight": model}, {"weight": state, "bias": {}}) == {"weight": state}


def test_a_file_that_says_what_it_holds_is_taken_at_its_word() -> None:
    bare = CheckpointRecord(name="a", keys=("a",), is_bare=True)
    by_name = CheckpointRecord(name="checkpoint", keys=("a", "b"))

    assert states_for({"other": Counter()}, {"other": 1}, bare) == {"other": {"other": 1}}
    with pytest.raises(CheckpointMismatchError, match="lacks 'other'"):
        states_for({"other": Counter()}, {"a": {}, "b": {}}, by_name)
    with pytest.raises(CheckpointMismatchError, match="lacks 'b'"):
        states_for({"a": Counter(), "b": Counter()}, {"count": 1}, bare)


def test_a_missing_object_is_a_value_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"'a', 'b'.*lacks 'b'"):
        states_for({"a": Counter(), "b": Counter()}, {"a": {"count": 1}})


@pytest.mark.parametrize("payload", [None, 5, [1], "text"])
def test_what_is_no_mapping_is_refused(payload: Any) -> None:
    with pytest.raises(CheckpointMismatchError):
        states_for({"a": Counter(), "b": Counter()}, payload)


@pytest.mark.parametrize("states", [{"a": [{"count": 1}]}, {"a": {"count": 1}}, {"a": [{"count": 1}, 2, 3]}, {"a": 5}])
def test_states_nested_in_another_way_are_refused(states: Any) -> None:
    objects = {"a": [Counter(1), Counter(2)]}
    with pytest.raises(CheckpointMismatchError, match=r"nested like"):
        load(objects, states)
    assert [counter.count for counter in objects["a"]] == [1, 2]


def test_options_go_to_modules_only() -> None:
    model, counter = torch.nn.Linear(2, 1), Counter()
    load(
        {"model": model, "counter": counter}, {"model": {"bias": torch.ones(1)}, "counter": {"count": 3}}, strict=False
    )

    assert model.bias.item() == 1
    assert counter.count == 3


def test_trained_objects_come_back_bitwise(same: Same) -> None:
    source, target = trained(), trained()
    for batch in range(4):
        source["model"](torch.full((5, 3), float(batch))).sum().backward()
        source["optimizer"].step()
        source["scheduler"].step()
    payload = copy.deepcopy(collect(source).state)

    load(target, payload)

    assert same(payload, collect(target).state)


REFUSED: list[tuple[str, Any, type[Exception]]] = [
    ("counter", {"count": -1}, RuntimeError),
    ("counter", {}, KeyError),
    ("trainer", {"iteration": -5, "max_epochs": 1, "epoch_length": 3}, StateDictError),
    ("optimizer", {"param_groups": []}, Exception),
    ("optimizer", None, Exception),
    ("scheduler", None, Exception),
    ("model", OrderedDict({"0.weight": torch.ones(4, 3)}), RuntimeError),
    ("model", {"0.weight": "text"}, RuntimeError),
]


@pytest.mark.parametrize(("key", "state", "error"), REFUSED)
@pytest.mark.parametrize("is_last", [True, False])
def test_when_one_object_refuses_none_is_changed(
    same: Same, key: str, state: Any, error: type[Exception], is_last: bool
) -> None:
    target = trained()
    states = copy.deepcopy(collect(trained()).state)
    for entry in states["model"]:
        states["model"][entry] = states["model"][entry] + 1
    for index in states["optimizer"]["state"]:
        states["optimizer"]["state"][index]["exp_avg"] += 1
    states["scheduler"]["last_epoch"] += 5
    states["trainer"] = {"iteration": 4, "max_epochs": 5, "epoch_length": 3}
    states["counter"] = {"count": 1}
    states[key] = state
    names = [name for name in target if name != key]
    order = [*names, key] if is_last else [key, *names]
    before, identities = copy.deepcopy(collect(target).state), [id(p) for p in target["model"].parameters()]
    position = target["trainer"].position

    with pytest.raises(error) as caught:
        load({name: target[name] for name in order}, states)

    assert f"this came up when loading [{key!r}]; no object was changed" in caught.value.__notes__
    assert same(before, collect(target).state)
    assert identities == [id(parameter) for parameter in target["model"].parameters()]
    assert position == target["trainer"].position


@pytest.mark.parametrize("data", [[1, 2, 3, 4], iter([1, 2, 3, 4])], ids=["sequence", "iterator"])
def test_an_interrupted_run_is_still_there_after_a_failed_load(data: Any) -> None:
    seen: list[int] = []
    trainer = Engine(lambda engine, batch: seen.append(batch) or (engine.interrupt() if batch == 2 else None))
    trainer.run(data, epoch_length=4, max_epochs=1)
    before = trainer.position

    with pytest.raises(RuntimeError):
        load(
            {"trainer": trainer, "counter": Counter()},
            {"trainer": {"iteration": 0, "max_epochs": 5, "epoch_length": 4}, "counter": {"count": -1}},
        )
    assert before == trainer.position
    trainer.run()

    assert seen == [1, 2, 3, 4]


def test_a_stop_while_loading_changes_nothing() -> None:
    class Stops(Counter):
        def load_state_dict(self, state: dict[str, int]) -> None:
            raise KeyboardInterrupt

    counter = Counter(1)
    with pytest.raises(KeyboardInterrupt):
        load({"a": counter, "b": Stops()}, {"a": {"count": 5}, "b": {}})
    assert counter.count == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
@pytest.mark.parametrize("name", ["first", "second", "third"])
def test_an_interrupted_load_changes_nothing(name: str) -> None:
    class Interrupted(Counter):
        def load_state_dict(self, state: dict[str, int]) -> None:
            super().load_state_dict(state)
            signal.raise_signal(signal.SIGINT)

    objects = {key: (Interrupted if key == name else Counter)(1) for key in ("first", "second", "third")}
    with pytest.raises(KeyboardInterrupt):
        load(objects, {key: {"count": 5} for key in objects})

    assert [item.count for item in objects.values()] == [1, 1, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
def test_an_interrupt_while_objects_are_put_back_waits_until_all_are() -> None:
    class Interrupting(Counter):
        def load_state_dict(self, state: dict[str, int]) -> None:
            signal.raise_signal(signal.SIGINT)
            super().load_state_dict(state)

    objects = {"first": Counter(1), "second": Interrupting(1), "third": Interrupting(1)}
    with pytest.raises(KeyboardInterrupt):
        load(objects, {key: {"count": 5} for key in objects})

    assert [item.count for item in objects.values()] == [1, 1, 1]
