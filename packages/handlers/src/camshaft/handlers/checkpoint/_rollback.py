"""Rolling back: objects are put back into exactly the state that they were in.

Loading the old state back would not do: optimizers change the precision of what they load, engines
forget an interrupted run. So the attributes themselves are recorded: references to what is
replaced as a whole, the content of containers and tensors that may be changed in place.
"""

from __future__ import annotations

import copy
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from camshaft.engine import Engine, State, has_state, imported
from camshaft.handlers._number import is_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MAPPINGS = (dict, OrderedDict, defaultdict)
_COLLECTIONS = (list, set, deque)


class Snapshot:
    """The state of objects at the time they were added, to be put back.

    Attributes of their own are recorded, with all that hangs on them: containers, tensors (copied
    to main memory), modules and other objects that save a state. Objects of unknown classes, whose
    state may lie elsewhere, are put back through their own `load_state_dict` before.

    Examples:
        >>> class Counter:
        ...     def __init__(self):
        ...         self.counts = {"seen": 1}
        ...     def state_dict(self):
        ...         return dict(self.counts)
        ...     def load_state_dict(self, state):
        ...         self.counts["seen"] = state["seen"]
        >>> counter, snapshot = Counter(), Snapshot()
        >>> snapshot.add(counter)
        >>> counter.load_state_dict({"seen": 5})
        >>> snapshot.restore()
        []
        >>> counter.counts
        {'seen': 1}
    """

    def __init__(self) -> None:
        self._load_back: list[Callable[[], None]] = []
        self._undo: list[Callable[[], None]] = []
        self._recorded: dict[int, Any] = {}

    def add(self, target: Any) -> None:
        """Record the state of an object."""
        if id(target) in self._recorded:
            return
        if not _keeps_state_in_attributes(target):
            self._record_own_state(target)
        self._record(target)

    def restore(self) -> list[BaseException]:
        """Put everything back, and return the errors that came up."""
        problems: list[BaseException] = []
        for undo in [*reversed(self._load_back), *reversed(self._undo)]:
            try:
                undo()
            except BaseException as error:  # noqa: BLE001 - whatever comes up, the other objects are put back
                problems.append(error)
        self._load_back.clear()
        self._undo.clear()
        self._recorded.clear()
        return problems

    def _record_own_state(self, target: Any) -> None:
        state = _copy_of(target.state_dict())
        self._load_back.append(lambda: target.load_state_dict(state))

    def _record(self, value: Any) -> None:
        """Record one value and what hangs on it, each once."""
        waiting = [value]
        while waiting:
            value = waiting.pop()
            if id(value) in self._recorded:
                continue
            if is_tensor(value):
                self._recorded[id(value)] = value
                self._record_tensor(value)
            elif type(value) in _MAPPINGS + _COLLECTIONS:
                self._recorded[id(value)] = value
                waiting.extend(self._record_container(value))
            elif isinstance(value, tuple):
                waiting.extend(value)
            elif _holds_state(value):
                self._recorded[id(value)] = value
                waiting.extend(self._record_attributes(value))

    def _record_tensor(self, tensor: Any) -> None:
        if tensor.is_meta or not hasattr(tensor, "untyped_storage"):
            return
        if _is_uninitialized(tensor):
            self._undo.append(partial(_uninitialize, tensor, type(tensor)))
            return
        data = tensor.data
        self._undo.append(partial(_refill_tensor, tensor, data, data.to("cpu", copy=True)))

    def _record_container(self, container: Any) -> Iterable[Any]:
        if isinstance(container, dict):
            items = dict(container)
            self._undo.append(lambda: _refill_mapping(container, items))
            return items.values()
        elements = list(container)
        self._undo.append(lambda: _refill_collection(container, elements))
        return elements

    def _record_attributes(self, target: Any) -> Iterable[Any]:
        attributes = dict(vars(target))
        self._undo.append(lambda: _refill_mapping(vars(target), attributes))
        return attributes.values()


def _copy_of(state: Any) -> Any:
    """Return a deep copy of a state, also of one with tensors that know no deep copy."""
    copies: dict[int, Any] = {}
    seen: dict[int, Any] = {}
    waiting = [state]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if is_tensor(value):
            copies[id(value)] = value if _is_uninitialized(value) else value.detach().clone()
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
    return copy.deepcopy(state, copies)


def _is_uninitialized(tensor: Any) -> bool:
    """Return whether a tensor is one of a lazy module, which gets its shape with its first content."""
    return isinstance(tensor, sys.modules["torch"].nn.parameter.UninitializedTensorMixin)


def _uninitialize(tensor: Any, kind: type) -> None:
    if type(tensor) is not kind:
        tensor.data = tensor.data.new_empty(0)
        tensor.__class__ = kind


def _refill_tensor(tensor: Any, data: Any, content: Any) -> None:
    """Give a tensor its memory and its content back.

    Args:
        tensor: What may have been changed in place, or been given other memory.
        data: Its memory before.
        content: A copy of what was in there.
    """
    torch = sys.modules["torch"]
    with torch.no_grad():
        is_strided = tensor.layout == torch.strided
        if (tensor.shape, tensor.dtype, tensor.device) != (data.shape, data.dtype, data.device) or (
            is_strided and tensor.data_ptr() != data.data_ptr()
        ):
            tensor.data = data
        if not is_strided or not torch.equal(tensor.detach().cpu(), content):
            tensor.copy_(content)


def _refill_mapping(mapping: dict[Any, Any], items: dict[Any, Any]) -> None:
    if list(mapping) != list(items) or any(mapping[key] is not items[key] for key in items):
        mapping.clear()
        mapping.update(items)


def _refill_collection(collection: Any, elements: list[Any]) -> None:
    if len(collection) != len(elements) or any(one is not two for one, two in zip(collection, elements, strict=True)):
        collection.clear()
        if isinstance(collection, set):
            collection.update(elements)
        else:
            collection.extend(elements)


def _holds_state(value: Any) -> bool:
    """Return whether the attributes of a value are, or may be, part of a state that is saved.

    Engines are made of parts, which are ours; whether anything else has a state it says itself.
    """
    if isinstance(value, type) or not hasattr(value, "__dict__"):
        return False
    return isinstance(value, State) or has_state(value) or type(value).__module__.startswith("camshaft.")


def _keeps_state_in_attributes(value: Any) -> bool:
    """Return whether a value is of a class whose state is known to lie in its attributes."""
    torch = imported("torch")
    if torch is None:
        return isinstance(value, Engine)
    known = (torch.nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, torch.amp.GradScaler)
    return isinstance(value, (Engine, *known))
