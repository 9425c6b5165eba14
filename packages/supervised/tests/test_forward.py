from __future__ import annotations

import copy

import pytest
import torch

from camshaft.engine import ArgumentError, ArgumentTypeError
from camshaft.supervised import create_supervised_evaluator, create_supervised_trainer
from camshaft.supervised._batch import prepare_batch, require_pair
from camshaft.supervised._forward import call_model, compile_model, identity, make_predict, make_split

mse_loss = torch.nn.functional.mse_loss
EAGER = {"backend": "eager"}  # traces the model as every backend does, and generates no code: that takes half a minute
TRACED = {"backend": "aot_eager"}  # traces its backward pass as well


def make_model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Tanh(), torch.nn.Linear(4, 1))


def make_batches(count: int = 5) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(4, 3, generator=generator), torch.randn(4, 1, generator=generator)) for _ in range(count)]


def train(model: torch.nn.Module, epochs: int = 2, **options) -> list[float]:
    losses: list[float] = []
    output = lambda x, y, y_pred, loss: losses.append(loss.item())  # noqa: E731  # short beside its use
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    create_supervised_trainer(model, optimizer, mse_loss, output_transform=output, **options).run(
        make_batches(), max_epochs=epochs
    )
    return losses


def test_nothing_is_composed_that_was_not_asked_for():
    model = make_model()

    assert make_predict(model, call_model, identity) is model
    assert make_split(prepare_batch, None, False) is require_pair


def test_the_batch_is_split_by_the_given_function():
    split = make_split(lambda batch, device, non_blocking: (batch, device, non_blocking), "cpu", True)

    assert split("batch") == ("batch", "cpu", True)


def test_the_model_is_called_and_its_output_transformed():
    model = make_model()
    predict = make_predict(model, lambda model, x: (model, x), lambda output: ["transformed", output])

    assert predict("x") == ["transformed", (model, "x")]


@pytest.mark.parametrize(
    "options",
    [
        {"compile": EAGER},
        {"compile": TRACED},
        {"compile": TRACED, "gradient_accumulation_steps": 2},
        {"compile": TRACED, "amp_mode": "amp"},
        {"compile": TRACED, "amp_mode": "amp", "scaler": True, "clip_grad_norm": 0.5},
        {"compile": TRACED, "model_fn": lambda model, x: model(x), "model_transform": lambda y_pred: 2 * y_pred},
    ],
    ids=["eager", "traced", "accumulated", "bfloat16", "float16", "own parts"],
)
def test_a_compiled_model_learns_as_one_that_is_not(options):
    compiled, plain = make_model(), make_model()
    uncompiled = {name: value for name, value in options.items() if name != "compile"}

    assert train(compiled, **options) == pytest.approx(train(plain, **uncompiled), rel=2e-2, abs=1e-3)
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict(), rtol=2e-2, atol=2e-3)


def test_the_model_is_really_compiled():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    train(make_model(), compile={"backend": backend})
    create_supervised_evaluator(make_model(), compile={"backend": backend}).run(make_batches())

    assert len(graphs) == 2


@pytest.mark.parametrize("saved", [False, EAGER], ids=["saved plain", "saved compiled"])
@pytest.mark.parametrize("restored", [False, EAGER], ids=["restored plain", "restored compiled"])
def test_a_state_goes_between_compiled_and_plain_models(saved, restored):
    first, second, uninterrupted = make_model(), make_model(), make_model()
    train(first, epochs=1, compile=saved)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(second, epochs=1, compile=restored)
    train(uninterrupted, epochs=2)

    assert list(first.state_dict()) == list(uninterrupted.state_dict())
    torch.testing.assert_close(second.state_dict(), uninterrupted.state_dict())


def test_an_evaluator_shares_the_model_of_a_compiled_training():
    model = make_model()
    train(model, compile=EAGER)
    model[1].eval()
    before = [module.training for module in model.modules()]

    y_pred, _ = create_supervised_evaluator(model, compile=EAGER).run(make_batches(1)).output

    assert [module.training for module in model.modules()] == before
    torch.testing.assert_close(y_pred, model.eval()(make_batches(1)[0][0]))


def test_a_model_that_came_compiled_is_trained_and_evaluated():
    model, plain = make_model(), make_model()
    came_compiled = torch.compile(model, backend="eager")
    model[1].eval()
    plain[1].eval()
    before = [module.training for module in model.modules()]

    assert train(came_compiled) == pytest.approx(train(plain))
    create_supervised_evaluator(came_compiled).run(make_batches())
    assert [module.training for module in model.modules()] == before


@pytest.mark.parametrize("option", [None, "inductor", 1, [EAGER]])
def test_what_is_neither_bool_nor_options_is_refused(option):
    with pytest.raises(ArgumentTypeError, match="`compile` must be a bool or a mapping of options of torch.compile"):
        compile_model(make_model(), option)


def test_an_unknown_option_is_refused_with_the_choices():
    with pytest.raises(ArgumentError, match=r"must be options of torch.compile, got 'fast'; choose from fullgraph"):
        create_supervised_trainer(make_model(), None, mse_loss, compile={"fast": True})


def test_an_unknown_backend_is_refused_with_the_choices():
    with pytest.raises(ArgumentError, match=r"must be one of torch's, got 'gcc'; choose from .*eager, .*inductor"):
        create_supervised_evaluator(make_model(), compile={"backend": "gcc"})


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own default backend gives them
@pytest.mark.parametrize("options", [{"mode": "fastest"}, {"dynamic": "yes"}, {"mode": "default", "options": {}}])
def test_options_that_torch_refuses_are_refused_at_once(options):
    with pytest.raises(ArgumentError, match="`compile` must be options that go together, got "):
        compile_model(make_model(), options)
