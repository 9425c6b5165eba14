"""Data that opens itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from camshaft.deterministic._kinds._kind import Setting, require_description
from camshaft.deterministic._kinds._pass import Pass
from camshaft.deterministic._loading._fetch import Seeding
from camshaft.engine import ArgumentTypeError, DataSource, Position


class DeclaredData:
    """Lets data open its own passes: it has a method `make_source(seed)` that returns a `camshaft.engine.DataSource`.

    Args:
        data: the user's data.
        setting: what the passes depend on beside it.

    Raises:
        ArgumentTypeError: what its `make_source` returns lacks a method of a `DataSource`.
    """

    name: ClassVar[str] = "declared"

    def __init__(self, data: Any, setting: Setting) -> None:
        self._source = _require_source(data.make_source(setting.seed), data)

    @staticmethod
    def describe(data: Any, seeding: Seeding | None) -> dict[str, Any]:
        """Return what the data's own `describe` returns, where it has one.

        Raises:
            ArgumentTypeError: that is not a dict.
        """
        del seeding
        describe = getattr(data, "describe", None)
        own = describe() if callable(describe) else {}
        return {"class": type(data).__qualname__, **require_description(own, f"`describe()` of {type(data)}")}

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches that the data's source gives."""
        return Pass(iter(self._source.open(position)), position)

    def state(self, position: Position) -> Any:
        """Return what the data's source saves."""
        return self._source.state(position)

    def close(self) -> None:
        """Close the data's source."""
        self._source.close()


def declares_source(data: Any) -> bool:
    """Return whether `data` has a method `make_source` of its own."""
    return not isinstance(data, type) and callable(getattr(data, "make_source", None))


def _require_source(source: Any, data: Any) -> DataSource:
    for method in ("open", "state", "close"):
        if not callable(getattr(source, method, None)):
            raise ArgumentTypeError(
                f"`data.make_source(seed)` must return an object with the methods open, state and close, got "
                f"{source!r} from {type(data)}, which has no {method!r}"
            )
    opened: DataSource = source
    return opened
