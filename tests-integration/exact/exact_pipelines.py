"""Streams of Hugging Face's `datasets` and pipelines of `torchdata.nodes`, where these libraries are installed."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from exact_samples import SIZE, Kind, loader, mix, noise
from torch import Tensor
from torch.utils.data import RandomSampler, SubsetRandomSampler

Example = dict[str, Any]


def _rows(example: Example) -> Example:
    return {"row": noise(example["index"]).tolist()}


def _block_of_rows(examples: Example) -> Example:
    return {"row": [noise(index).tolist() for index in examples["index"]]}


def _often(example: Example) -> bool:
    return example["index"] < 9 or random.random() < 0.8


def _collate(examples: list[Example]) -> Tensor:
    return mix([torch.tensor(example["row"]) for example in examples])


def _stream(change: Callable[[Any], Any]) -> Any:
    dataset = importlib.import_module("datasets").Dataset.from_dict({"index": list(range(SIZE))})
    return change(dataset.to_iterable_dataset(num_shards=4))


def _map_in_blocks(stream: Any) -> Any:
    return stream.map(_block_of_rows, batched=True, batch_size=5, remove_columns="index")


def _in_blocks() -> Any:
    return _stream(_map_in_blocks)


def _one_by_one() -> Any:
    return _stream(lambda stream: stream.map(_rows, remove_columns="index"))


def _filtered_in_blocks() -> Any:
    return _stream(lambda stream: _map_in_blocks(stream.filter(_often)))


def _shuffled() -> Any:
    return _stream(lambda stream: stream.shuffle(buffer_size=6, seed=1).map(_rows, remove_columns="index"))


def _stateful_loader(*arguments: Any, **options: Any) -> Any:
    return importlib.import_module("torchdata.stateful_dataloader").StatefulDataLoader(*arguments, **options)


def _nodes(change: Callable[[Any, Any], Any], sampler: Any = RandomSampler) -> Any:
    nodes = importlib.import_module("torchdata.nodes")
    return nodes.Loader(change(nodes, nodes.SamplerWrapper(sampler(range(9)))))


def _row_of(index: int) -> Tensor:
    return noise(index).unsqueeze(0)


def _row_without_numbers(index: int) -> Tensor:
    return torch.arange(5).unsqueeze(0) + float(index)


def _pipeline(change: Callable[[Any, Any], Any], sampler: Any = RandomSampler) -> Kind:
    return Kind(lambda workers: _nodes(change, sampler), workers="none")


OF_DATASETS = {
    "stream of datasets": Kind(loader(_one_by_one, collate_fn=_collate), workers="same"),
    "stream mapped in blocks": Kind(loader(_in_blocks, collate_fn=_collate), workers="same"),
    "stream filtered, mapped in blocks": Kind(
        loader(_filtered_in_blocks, collate_fn=_collate), workers="none", has_end=False
    ),
    "stream with a shuffle buffer": Kind(loader(_shuffled, collate_fn=_collate), workers="same"),
    "stateful loader of a stream mapped in blocks": Kind(
        loader(_in_blocks, collate_fn=_collate, kind=_stateful_loader), workers="same"
    ),
}
OF_NODES = {
    "nodes": _pipeline(lambda nodes, order: nodes.Mapper(order, _row_of)),
    "nodes that look ahead": _pipeline(
        lambda nodes, order: nodes.Prefetcher(nodes.Mapper(order, _row_without_numbers), 3), SubsetRandomSampler
    ),
    "nodes in blocks": _pipeline(
        lambda nodes, order: nodes.Unbatcher(nodes.Batcher(nodes.Mapper(order, _row_of), 4, drop_last=False))
    ),
    "nodes mapped in threads": _pipeline(
        lambda nodes, order: nodes.ParallelMapper(order, _row_without_numbers, num_workers=2)
    ),
}
_LIBRARIES = {"datasets": OF_DATASETS, "torchdata": OF_NODES}
MISSING = [name for name in _LIBRARIES if find_spec(name) is None]
PIPELINES: dict[str, Kind] = {
    name: kind for library, kinds in _LIBRARIES.items() if library not in MISSING for name, kind in kinds.items()
}
