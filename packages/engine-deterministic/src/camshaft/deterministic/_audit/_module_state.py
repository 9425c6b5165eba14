"""What a module has beside its `state_dict`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from camshaft.deterministic._audit._leaf import PLAIN, Leaves, leaf_of_generator, leaves_of
from camshaft.deterministic._inside import GENERATORS, is_of_user


def leaves_beside_state(module: nn.Module, where: str) -> Leaves:
    """Return what a module has beside what it saves, by how it is reached.

    That is: buffers that are not saved; whether a parameter requires its gradient; random generators; and attributes
    of the modules in it, such as `training`, the `p` of a `Dropout`, a number that one counts.

    Args:
        module: the module.
        where: text that the places begin with.
    """
    saved = module.state_dict()
    out = leaves_of({name: buffer for name, buffer in module.named_buffers() if name not in saved}, where)
    for name, parameter in module.named_parameters():
        out |= leaves_of({f"{name}.requires_grad": parameter.requires_grad}, where)
    for name, part in module.named_modules():
        for attribute, value in _attributes(part):
            place = f"{name}.{attribute}" if name else attribute
            if isinstance(value, GENERATORS):
                out[f"{where}[{f'{place} (random generator)'!r}]"] = leaf_of_generator(value)
            else:
                out |= leaves_of({place: value}, where)
    return out


def _attributes(part: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of one module that are compared; those that torch has for itself begin with `_`."""
    kinds = (*PLAIN, torch.Tensor, np.ndarray, list, tuple, dict) if is_of_user(part) else PLAIN
    for name, value in vars(part).items():
        if isinstance(value, GENERATORS) or (isinstance(value, kinds) and name[:1] != "_"):
            yield name, value
