"""Prefetching without a GPU: a stand-in for the copying, and everything else as it is."""

import copy
import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, Events, Position
from camshaft.supervised import _factory, create_supervised_trainer
from camshaft.supervised._device_copy import can_copy_early
from camshaft.supervised._prefetch import Prefetch, is_followed, make_prefetch


class Item:
    """A batch, or its copy on the device."""

    def __init__(self, number, where="host"):
        self.number = number
        self.where = where


class Copier:
    """Stands in for a GPU: notes what is asked of it, and how many batches lie there."""

    def __init__(self, log=None):
        self.log = [] if log is None else log
        self.copies = weakref.WeakSet()
        self.most = 0
        self.failing = []

    def make_room(self):
        self.log.append("room")

    def start(self, batch):
        if batch.number in self.failing:
            self.failing.remove(batch.number)
            raise RuntimeError("out of memory")
        self.log.append(f"copy {batch.number}")
        item = Item(batch.number, "device")
        self.copies.add(item)
        self.most = max(self.most, len(self.copies))
        return item

    def finish(self, copy):
        return copy


class Data:
    """An iterable without a length."""

    def __init__(self, length, log=None):
        self.length = length
        self.log = [] if log is None else log

    def __iter__(self):
        return self.rest(0)

    def rest(self, start):
        for number in range(start, self.length):
            self.log.append(f"fetch {number}")
            yield Item(number)
        self.log.append("end")


class Sized(Data):
    def __len__(self):
        return self.length


class Sequence:
    """Python iterates it by index."""

    def __init__(self, length, log=None):
        self.length = length
        self.log = [] if log is None else log

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index >= self.length:
            raise IndexError
        self.log.append(f"fetch {index}")
        return Item(index)


class Saving(Sized):
    """Knows where it is, and begins anew unless a state was loaded right before."""

    def __init__(self, length, log=None):
        super().__init__(length, log)
        self.place, self.start = [0], 0

    def __iter__(self):
        start, self.start = self.start, 0
        self.place = [start]
        for item in self.rest(start):
            self.place[0] += 1
            yield item

    def state_dict(self):
        return {"place": self.place}  # not a copy

    def load_state_dict(self, state):
        (self.start,) = self.place = list(state["place"])


def make_engine(copier, kind=Engine, step=lambda engine, batch: None):
    """Return an engine whose step makes its output as that of a trainer does; without a copier, one that does not."""
    if copier is None:
        return kind(lambda engine, batch: step(engine, batch) or batch.number)
    prefetch = Prefetch(copier)
    output = prefetch.before(lambda batch: batch.number)
    return prefetch.engine(kind, lambda engine, batch: step(engine, batch) or output(batch))


# ---------------------------------------------------------------------- asking for it


@pytest.mark.parametrize("device", [None, "cpu", torch.device("cpu"), "mps"])
def test_another_device_is_refused(device):
    with pytest.raises(ArgumentError, match=r"^`prefetch` needs a CUDA device, got device=.*; leave it out$"):
        make_prefetch(True, device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is available")
def test_a_gpu_that_is_not_there_is_refused_when_the_trainer_is_made():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters())
    with pytest.raises(ArgumentError, match="`device` must be a device that torch finds here, got 'cuda'"):
        create_supervised_trainer(model, optimizer, nn.functional.mse_loss, "cuda", prefetch=True)


@pytest.mark.parametrize("prefetch", [1, "yes", None])
def test_what_is_not_a_bool_is_refused(prefetch):
    with pytest.raises(ArgumentTypeError, match="`prefetch` must be True or False"):
        make_prefetch(prefetch, "cuda")


def test_without_it_the_trainer_is_a_plain_engine():
    model = nn.Linear(1, 1)
    trainer = create_supervised_trainer(model, torch.optim.SGD(model.parameters()), nn.functional.mse_loss)
    assert type(trainer) is Engine


# ---------------------------------------------------------------------- when


def test_the_next_batch_is_fetched_between_the_step_and_its_output():
    log = []
    prefetch = Prefetch(Copier(log))
    output = prefetch.before(lambda batch: log.append(f"output {batch.number}"))

    def step(engine, batch):
        log.append(f"step {batch.number} on the {batch.where}")
        output(batch)

    engine = prefetch.engine(Engine, step)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: log.append("completed"))
    engine.run(Sized(3, log))
    assert log == [
        "room", "fetch 0", "copy 0",
        "step 0 on the device", "room", "fetch 1", "copy 1", "output 0", "completed",
        "step 1 on the device", "room", "fetch 2", "copy 2", "output 1", "completed",
        "step 2 on the device", "output 2", "completed",
    ]  # fmt: skip


@pytest.mark.parametrize("limits", [{"max_epochs": 3}, {"max_iters": 7}, {"max_epochs": 2, "epoch_length": 2}])
@pytest.mark.parametrize("kind", [Data, Sized, Sequence, Saving])
def test_nothing_is_fetched_that_is_not_fetched_without_it(kind, limits):
    plain, ahead = [], []
    make_engine(None).run(kind(4, plain), **limits)
    make_engine(Copier()).run(kind(4, ahead), **limits)
    assert ahead == plain


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, True),
        ({"epoch_iteration": 3}, False),  # it is the last of the epoch
        ({"iteration": 11}, False),  # and of the run
        ({"batch": 7}, False),  # and of the pass
        ({"epoch_iteration": 3, "stage": "GET_BATCH_STARTED"}, True),  # it is not begun
    ],
    ids=["middle", "of an epoch", "of a run", "of a pass", "before"],
)
def test_the_first_batch_of_an_epoch_a_pass_or_a_run_is_not_fetched_early(counts, expected):
    position = Position(epoch=1)._replace(**{"stage": "ITERATION_COMPLETED", **counts})
    assert is_followed(position, 4, 12, 8) is expected
    assert is_followed(position, None, None, None)


@pytest.mark.parametrize("method", ["terminate", "terminate_epoch"])
def test_nothing_is_fetched_early_when_the_step_has_asked_for_the_end(method):
    log = []
    engine = make_engine(Copier(), step=lambda engine, batch: getattr(engine, method)() if batch.number == 1 else None)
    engine.run(Sized(4, log))
    assert log == ["fetch 0", "fetch 1"]


def test_an_iterator_is_not_fetched_from_early():
    log = []
    data = iter(Data(5, log))
    engine = make_engine(Copier())
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    engine.run(data, epoch_length=5)
    assert log == ["fetch 0", "fetch 1"]
    assert next(data).number == 2


def test_data_that_goes_on_where_it_was_left_is_not_fetched_from_early():
    class Keeping(Saving):
        keeps_place = True

    log = []
    engine = make_engine(Copier())
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    engine.run(Keeping(5, log))
    assert log == ["fetch 0", "fetch 1"]


def test_data_that_cannot_say_where_it_is_is_not_fetched_from_early():
    class Silent(Saving):
        def state_dict(self):
            if self.place[0] < self.length:
                raise NotImplementedError
            return super().state_dict()

    log = []
    engine = make_engine(Copier())
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: log.append("completed"))
    engine.run(Silent(2, log))
    assert log[:4] == ["fetch 0", "completed", "fetch 1", "completed"]


def test_a_run_without_data_copies_nothing():
    copier, seen = Copier(), []
    prefetch = Prefetch(copier)
    engine = prefetch.engine(Engine, prefetch.before(lambda engine, batch: seen.append(batch)))
    engine.run(max_epochs=2, epoch_length=2)
    assert seen == [None] * 4
    assert copier.log == []


# ---------------------------------------------------------------------- what is held


@pytest.mark.parametrize("kind", [Data, Sized, Sequence, Saving])
def test_two_batches_at_most_lie_on_the_device(kind):
    copier = Copier()
    make_engine(copier).run(kind(5), max_epochs=2, epoch_length=4)
    assert copier.most == 2
    assert not copier.copies


@pytest.mark.parametrize("method", ["terminate", "terminate_epoch"])
def test_a_batch_that_nobody_will_ask_for_is_let_go_of(method):
    copier = Copier()
    engine = make_engine(copier)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), getattr(engine, method))
    at_end = []
    engine.add_event_handler(Events.EPOCH_COMPLETED | Events.COMPLETED, lambda: at_end.append(len(copier.copies)))
    engine.run(Sized(5), max_epochs=1)
    assert not copier.copies
    if method == "terminate_epoch":
        assert at_end == [1, 1]  # the last one, which the handlers may look at


def test_an_interrupted_run_keeps_the_batch_that_was_fetched_early():
    log = []
    copier = Copier()
    engine = make_engine(copier)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    engine.run(Data(4, log))
    assert len(copier.copies) == 1
    engine.run()
    assert log == ["fetch 0", "fetch 1", "fetch 2", "fetch 3", "end"]
    assert engine.state.iteration == 4


def test_loading_a_state_drops_the_batch_of_an_interrupted_run():
    copier = Copier()
    engine = make_engine(copier)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    engine.run(Sequence(4))
    engine.load_state_dict({"iteration": 1, "max_epochs": 1, "epoch_length": 4})
    assert not copier.copies


def test_a_trainer_is_freed_without_the_cycle_collector():
    engine = make_engine(Copier())
    engine.run(Sized(4))
    reference = weakref.ref(engine)
    gc.disable()
    try:
        del engine
        assert reference() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize("error", [OSError("the disk is away"), RuntimeError("generator raised"), ValueError("no")])
def test_an_error_of_the_data_is_raised_when_its_batch_is_asked_for(error):
    class Failing(Sized):
        def rest(self, start):
            yield from [Item(0), Item(1)]
            raise error

    seen = []
    engine = make_engine(Copier(), step=lambda engine, batch: seen.append(batch.number))
    with pytest.raises(type(error), match=str(error)):
        engine.run(Failing(4))
    assert seen == [0, 1]
    assert engine.state.iteration == 2
    assert engine.position.next_event == "GET_BATCH_COMPLETED"


def test_a_copy_that_fails_early_is_made_again_when_its_batch_is_asked_for():
    copier = Copier()
    copier.failing = [1]
    seen = []
    make_engine(copier, step=lambda engine, batch: seen.append(batch.number)).run(Sized(3))
    assert seen == [0, 1, 2]


def test_a_copy_that_fails_again_is_an_error_of_its_own_iteration():
    copier = Copier()
    copier.failing = [1, 1]
    engine = make_engine(copier)
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.run(Sized(3))
    assert engine.state.iteration == 1


def test_an_interrupt_from_the_keyboard_is_raised_at_once():
    class Interrupted(Sized):
        def rest(self, start):
            yield Item(0)
            raise KeyboardInterrupt

    engine = make_engine(Copier())
    completed = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: completed.append(1))
    with pytest.raises(KeyboardInterrupt):
        engine.run(Interrupted(3))
    assert completed == []


# ---------------------------------------------------------------------- the same as without


REQUESTS = ("terminate", "terminate_epoch", "interrupt", "set_data", "raise", "save")


def noted_run(copier, kind, length, limits, requests):
    """Return all events and batches of a run, and of the runs that continue it, with what is saved on the way."""
    log, saved = [], []
    engine = make_engine(copier, step=lambda engine, batch: log.append(("step", batch.number)))
    left = dict(requests)

    def ask(event):
        log.append((event.name, engine.state.epoch, engine.state.iteration))
        request = left.pop((event.name, engine.state.iteration), None)
        if request == "set_data":
            engine.set_data(kind(length))
        elif request == "raise":
            raise LookupError
        elif request == "save":
            engine.at_safe_point(lambda: saved.append(copy.deepcopy(engine.state_dict())))
        elif request is not None:
            getattr(engine, request)()

    for event in (Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED,
                  Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED, Events.COMPLETED):  # fmt: skip
        engine.add_event_handler(event, lambda event: ask(event), event)
    data = kind(length)
    for _ in range(len(requests) + 1):
        try:
            engine.run(data, **limits)
        except LookupError:
            log.append("raised")
        saved.append(copy.deepcopy(engine.state_dict()))
        log.append(("left at", engine.position.next_event, engine.state.iteration))
        if engine.position.over:
            break
        limits = {}
    return log, saved


@pytest.mark.filterwarnings("ignore::camshaft.engine.EngineWarning")
@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from([Data, Sized, Sequence, Saving]),
    length=st.integers(1, 5),
    limits=st.one_of(
        st.fixed_dictionaries({"max_epochs": st.integers(1, 3)}, optional={"epoch_length": st.integers(1, 6)}),
        st.fixed_dictionaries({"max_iters": st.integers(1, 9)}),
    ),
    requests=st.dictionaries(
        st.tuples(
            st.sampled_from(["GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED", "ITERATION_COMPLETED",
                             "EPOCH_COMPLETED"]),
            st.integers(0, 9),
        ),
        st.sampled_from(REQUESTS),
        max_size=3,
    ),
)  # fmt: skip
def test_events_batches_and_saved_states_are_those_of_a_run_without(kind, length, limits, requests):
    expected = noted_run(None, kind, length, limits, requests)
    assert noted_run(Copier(), kind, length, limits, requests) == expected


@pytest.mark.parametrize("kind", [Sequence, Saving])
@pytest.mark.parametrize("continuing", [None, Copier()])
def test_a_saved_run_continues_with_the_batch_that_was_fetched_early(kind, continuing):
    seen = []
    for stop in range(1, 8):
        first = make_engine(Copier())
        first.add_event_handler(Events.ITERATION_COMPLETED(once=stop), first.terminate)
        first.run(kind(4), max_epochs=2)
        state = copy.deepcopy(first.state_dict())
        seen.clear()
        second = make_engine(continuing, step=lambda engine, batch: seen.append(batch.number))
        second.load_state_dict(state)
        second.run(kind(4))
        assert seen == [0, 1, 2, 3, 0, 1, 2, 3][stop:]


@pytest.mark.parametrize("kind", [Data, Sized, Sequence, Saving])
def test_an_output_that_fails_leaves_the_run_where_it_leaves_it_without(kind):
    def run(prefetches):
        def fail(batch):
            if batch.number == 1:
                raise LookupError
            return batch.number

        prefetch = Prefetch(Copier())
        output = prefetch.before(fail)
        if prefetches:
            engine = prefetch.engine(Engine, lambda engine, batch: output(batch))
        else:
            engine = Engine(lambda engine, batch: fail(batch))
        with pytest.raises(LookupError):
            engine.run(kind(4), epoch_length=4)
        return engine.position, copy.deepcopy(engine.state_dict())

    assert run(prefetches=True) == run(prefetches=False)


def test_a_state_taken_before_an_early_fetch_is_a_copy():
    states = []
    engine = make_engine(Copier())
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: states.append(engine.state_dict()))
    engine.run(Saving(4))
    assert [state["position"]["data_state"]["place"] for state in states[:3]] == [[1], [2], [3]]


def test_another_step_put_into_the_engine_gets_its_batches_when_it_asks():
    seen = []
    engine = make_engine(Copier())
    engine.process_function = lambda engine, batch: seen.append((batch.number, batch.where))
    engine.run(Sized(3))
    assert seen == [(0, "device"), (1, "device"), (2, "device")]


def test_an_engine_and_its_copy_run_inside_each_other():
    seen = []
    engine = make_engine(Copier(), step=lambda engine, batch: seen.append(batch.number))
    other = copy.deepcopy(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: other.run(Sized(3)))
    engine.run(Sized(4))
    assert seen == [0, 1, 0, 1, 2, 2, 3]


# ---------------------------------------------------------------------- trainers


class TensorCopier:
    """Stands in for a GPU that copies batches of tensors."""

    def make_room(self):
        pass

    def start(self, batch):
        return [part.clone() for part in batch]

    def finish(self, copy):
        return copy


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(
        _factory, "make_prefetch", lambda prefetch, device: Prefetch(TensorCopier()) if prefetch else None
    )


def make_trainer(**options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = create_supervised_trainer(model, optimizer, nn.functional.cross_entropy, **options)
    return trainer, model


def make_loader(**options):
    torch.manual_seed(1)
    dataset = TensorDataset(torch.randn(21, 3), torch.randint(2, (21,)))
    return DataLoader(dataset, batch_size=4, shuffle=True, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_accumulation_steps": 4},
        {"amp_mode": "amp"},
        {"output_transform": lambda *parts: parts[-1].item()},
    ],
    ids=["plain", "accumulated", "bfloat16", "output read"],
)
@pytest.mark.usefixtures("stand_in")
def test_training_is_bitwise_the_same(options):
    trained = []
    for prefetch in (False, True):
        trainer, model = make_trainer(prefetch=prefetch, **options)
        trainer.run(make_loader(), max_epochs=2)
        trained.append(list(model.parameters()))
    assert all(map(torch.equal, *trained))


@pytest.mark.usefixtures("stand_in")
def test_a_deterministic_trainer_stays_one():
    deterministic = pytest.importorskip("camshaft.deterministic")
    trainer, _ = make_trainer(prefetch=True, deterministic=True)
    assert isinstance(trainer, deterministic.DeterministicEngine)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.usefixtures("stand_in")
def test_a_deterministic_run_is_resumed_with_or_without(num_workers):
    pytest.importorskip("camshaft.deterministic")

    def run(prefetch, stop=None, state=None):
        trainer, model = make_trainer(prefetch=prefetch, deterministic=True)
        if state is not None:
            trainer.load_state_dict(state[0])
            model.load_state_dict(state[1])
        if stop is not None:
            trainer.add_event_handler(Events.ITERATION_COMPLETED(once=stop), trainer.terminate)
        log = []
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: log.append((engine.state.output.item(), torch.rand(1).item()))
        )
        limits = {"max_epochs": 2, "seed": 7} if state is None else {}
        trainer.run(make_loader(num_workers=num_workers), **limits)
        return log, (trainer.state_dict(), copy.deepcopy(model.state_dict()))

    whole, _ = run(prefetch=False)
    assert run(prefetch=True)[0] == whole
    stops = (3, 6, 8) if num_workers == 0 else (4,)
    for stop, first, second in zip(stops, (True, True, False), (False, True, True), strict=False):
        begun, state = run(first, stop=stop)
        rest, _ = run(second, state=state)
        assert begun + rest == whole


# ---------------------------------------------------------------------- what is copied early


class Pinnable:
    def pin_memory(self): ...
    def to(self, device): ...


class Recording(Pinnable):
    def record_stream(self, stream): ...


class Image(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (torch.ones(2), True),
        (torch.ones(2, 3).t(), True),
        (torch.ones(2, requires_grad=True), False),
        (torch.eye(2).to_sparse(), False),
        (torch.ones(2).as_subclass(Image), False),
        (torch.empty(2, device="meta"), False),
        (Pinnable(), False),
        (Recording(), True),
        (nn.Linear(1, 1), False),
    ],
    ids=[
        "dense",
        "transposed",
        "with gradient",
        "sparse",
        "subclass",
        "elsewhere",
        "pins",
        "tells its stream",
        "module",
    ],
)
def test_only_what_can_say_on_which_stream_it_is_used_is_copied_early(leaf, expected):
    assert can_copy_early(leaf) is expected
