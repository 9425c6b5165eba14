from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import shared_models
import torch
from shared_models import TRAININGS, make_batches, make_model, make_trainer, whole

SHARDED_PARTS = 3  # each of them exchanges its gradients by itself


@pytest.fixture(scope="module")
def ranks(warm_python, tmp_path_factory) -> list[dict[str, Any]]:
    """What two processes have found that trained shared models in all ways."""
    folder = tmp_path_factory.mktemp("shared")
    for ran in warm_python.run_ranks(2, Path(shared_models.__file__), folder):
        assert ran.returncode == 0, ran.stderr
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.fixture(params=TRAININGS)
def trained_alone(request) -> tuple[str, list[torch.Tensor]]:
    """The name of a training, and the parameters that one process ends with that has the model to itself."""
    model = make_model()
    TRAININGS[request.param](make_trainer(model), make_batches())
    return request.param, whole(model)


@pytest.mark.parametrize("way", ["sharded", "parallel"])
def test_a_shared_model_ends_as_that_of_one_process(ranks, trained_alone, way):
    name, expected = trained_alone
    for rank in ranks:
        torch.testing.assert_close(rank[f"{way}, {name}"], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("name", "windows"), [("known", 4), ("unknown", 2), ("cut", 4)])
def test_a_sharded_model_exchanges_its_gradients_once_per_window(ranks, name, windows):
    assert ranks[0][f"exchanges, {name}"] == windows * SHARDED_PARTS


def test_inside_a_window_a_sharded_model_exchanges_gradients_only_if_it_is_asked_to(ranks):
    assert ranks[0]["inside a window"] == [0, SHARDED_PARTS]


def test_gradients_that_are_kept_in_another_type_are_exchanged_too(ranks):
    model = make_model()
    TRAININGS["cut"](make_trainer(model), make_batches())

    torch.testing.assert_close(ranks[0]["sharded in bfloat16, cut"], whole(model), rtol=0.01, atol=0.01)


def test_a_model_whose_norm_one_process_does_not_know_is_not_clipped(ranks):
    assert ranks[0]["refusal"] == (
        "`clip_grad_norm` must be None for a model of FullyShardedDataParallel, got 0.3; "
        "shard the model with fully_shard"
    )
