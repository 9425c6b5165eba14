from __future__ import annotations

import logging
import math
from collections import OrderedDict, deque
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest

from camshaft.engine import ArgumentTypeError, Engine, Events
from camshaft.handlers import TerminateOnNan
from camshaft.handlers._terminate_on_nan import find_non_finite

NAN, INF = math.nan, math.inf


class Pair(NamedTuple):
    left: object
    right: object


@pytest.mark.parametrize(
    "output",
    [
        0, 1.5, True, None, "nan", b"nan", object(), 1e100, -1e308, 10**400, Decimal("1e999"), Fraction(10**400, 3),
        1e200 + 1e200j, [], {}, [1.0, [2.0, {"a": "inf", "b": None}]], range(10**12), Engine,
    ],
    ids=lambda output: repr(output).partition(" at 0x")[0],  # the same in every process
)  # fmt: skip
def test_finite_numbers_and_other_things_pass(output):
    assert find_non_finite(output) is None


@pytest.mark.parametrize(
    ("output", "place"),
    [
        (NAN, ""),
        (-INF, ""),
        (Decimal("NaN"), ""),
        (Decimal("-Infinity"), ""),
        (complex(0, NAN), ""),
        (complex(INF, 0), ""),
        ([1.0, NAN], "[1]"),
        ((0, (1, INF)), "[1][1]"),
        ({"loss": 1.0, "parts": [2.0, NAN]}, "['parts'][1]"),
        (OrderedDict(a=NAN), "['a']"),
        (Pair(1.0, INF), "[1]"),
        (deque([NAN]), "[0]"),
        ({NAN}, "[0]"),
    ],
    ids=repr,
)
def test_nan_and_infinity_are_found_where_they_are(output, place):
    assert find_non_finite(output) == place


def test_a_list_that_holds_itself_is_searched_once():
    output = [1.0]
    output.append(output)
    assert find_non_finite(output) is None

    output.append(NAN)
    assert find_non_finite(output) == "[2]"


def test_what_is_there_twice_is_searched_twice():
    shared = [1.0]

    assert find_non_finite([shared, shared, NAN]) == "[2]"


def test_the_run_ends_and_the_log_says_where(caplog):
    engine = Engine(lambda engine, batch: {"loss": batch})
    engine.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())

    with caplog.at_level(logging.WARNING):
        state = engine.run([1.0, 2.0, INF, 3.0], max_epochs=2)

    assert state.iteration == 3
    assert "output['loss'] is not finite in iteration 3" in caplog.text


def test_only_what_the_transform_returns_is_checked():
    engine = Engine(lambda engine, batch: {"loss": batch, "other": NAN})
    engine.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan(lambda output: output["loss"]))

    assert engine.run([1.0, INF, 3.0]).iteration == 2


def test_no_log_handler_is_added():
    before = list(logging.getLogger().handlers)

    TerminateOnNan()

    assert logging.getLogger().handlers == before


def test_a_transform_that_cannot_be_called_is_refused():
    with pytest.raises(ArgumentTypeError, match="`output_transform` must be callable, got 'loss'"):
        TerminateOnNan("loss")


# ---- with numpy and torch --------------------------------------------------------------------------


def test_numpy_arrays_and_scalars_are_checked():
    np = pytest.importorskip("numpy")

    for fine in (np.ones(3), np.float32(1), np.int64(1), np.array(["nan"]), np.array([None]), np.array([], float)):
        assert find_non_finite([fine]) is None
    for bad in (np.array([1, NAN]), np.float32(INF), np.float16(NAN), np.array([1j * NAN])):
        assert find_non_finite([bad]) == "[0]"


def tensors():
    torch = pytest.importorskip("torch")
    bad = torch.tensor([1.0, NAN])
    yield "float32", torch.ones(3), bad
    yield "scalar", torch.tensor(1e30), torch.tensor(INF)
    yield "half", torch.ones(2).half(), bad.half()
    yield "bfloat16", torch.ones(2).bfloat16(), bad.bfloat16()
    yield "float8", torch.ones(2).to(torch.float8_e4m3fn), bad.to(torch.float8_e4m3fn)
    yield "complex", torch.ones(2) * 1j, torch.tensor([complex(0, INF)])
    yield "with a graph", torch.ones(2, requires_grad=True) * 2, bad.requires_grad_() * 2
    yield "sparse", torch.eye(2).to_sparse(), torch.diag(bad.detach()).to_sparse()
    yield "sparse rows", torch.eye(2).to_sparse_csr(), torch.diag(bad.detach()).to_sparse_csr()
    yield (
        "nested",
        torch.nested.nested_tensor([torch.ones(2), torch.ones(1)], layout=torch.jagged),
        (torch.nested.nested_tensor([bad.detach(), torch.ones(1)], layout=torch.jagged)),
    )
    yield "large", torch.full((4,), 3e38), torch.full((4,), -INF)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype")
def test_tensors_of_every_kind_are_checked():
    for kind, fine, bad in tensors():
        assert find_non_finite({"a": fine}) is None, kind
        assert find_non_finite({"a": fine, "b": [bad]}) == "['b'][0]", kind


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "complex64"])
def test_a_single_number_in_a_tensor_is_checked(dtype):
    torch = pytest.importorskip("torch")

    def number(value):
        return torch.tensor(value).to(getattr(torch, dtype))

    assert find_non_finite(number(1.0)) is None
    assert find_non_finite(number(NAN)) == ""
    assert find_non_finite(number(1.0).to("meta")) is None


def test_tensors_that_cannot_be_nan_are_left_alone():
    torch = pytest.importorskip("torch")

    for fine in (torch.ones(2, dtype=torch.long), torch.tensor([True]), torch.ones(2, device="meta"), torch.ones(0)):
        assert find_non_finite([fine]) is None


def test_the_first_of_several_tensors_is_named():
    torch = pytest.importorskip("torch")

    assert find_non_finite([torch.ones(2), torch.tensor(NAN), torch.tensor(INF)]) == "[1]"


def test_all_tensors_cost_one_answer_of_the_device():
    torch = pytest.importorskip("torch")
    from torch.utils._python_dispatch import TorchDispatchMode

    class CountAnswers(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.count += func is torch.ops.aten._local_scalar_dense.default
            return func(*args, **(kwargs or {}))

    with CountAnswers() as answers:
        find_non_finite([torch.ones(3), {"a": torch.ones(2)}, torch.tensor(1.0)])

    # `tolist` hands all answers over in one go, without asking tensor by tensor.
    assert answers.count == 0
