"""The data that `run` was given, beside what the program has put into its place since."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from camshaft.deterministic._kinds import describe, shows_batch
from camshaft.deterministic._loading._fetch import Seeding
from camshaft.deterministic._mismatch import REPLACED, compare_runs
from camshaft.engine import Position


class GivenData:
    """Knows what a run was given, for the states that are saved once other data is in use.

    A program that resumes tends to give `run` what it gave at first. Where that data has the same description as the
    data in use, and no batch tells them apart, nobody would notice.

    Args:
        data: what the run was given.
        described: its description, where that has to be made before it is drawn from.
        replaced: the description of what an earlier part of the run was given, if that is not in use any more.
    """

    def __init__(self, data: Any, described: Mapping[str, Any] | None, replaced: Mapping[str, Any] | None) -> None:
        self._data = data
        self._described = described
        self._replaced = replaced

    def replaced_by(self, present: Any, seeding: Seeding | None) -> Mapping[str, Any] | None:
        """Return the description of what was given at first, None if it is what is in use now.

        Args:
            present: the data in use.
            seeding: as for `DeterministicEngine`.
        """
        if self._replaced is not None or present is self._data:
            return self._replaced
        return describe(self._data, seeding) if self._described is None else self._described


def find_replaced(
    saved: Mapping[str, Any], data: Any, describe_now: Callable[[], Mapping[str, Any]], data_state: Any
) -> dict[str, tuple[Any, Any]]:
    """Return why what is given to `run` may be what had been replaced when it was saved, by name: (saved, present).

    Args:
        saved: the description in the saved run's state.
        data: what is given to `run`.
        describe_now: describes it.
        data_state: what the data has saved.
    """
    replaced = saved.get(REPLACED)
    if replaced is None or shows_batch(data, data_state) or compare_runs(replaced, describe_now()):
        return {}
    return {"data_given_to": ("set_data", "run")}


def find_lost_place(saved: Position | None, present: Position) -> dict[str, tuple[Any, Any]]:
    """Return it if a run begins another pass than that in which it was saved, by name: (saved, present).

    That is so where a handler of STARTED has set other data: it is opened at its beginning.

    Args:
        saved: where a loaded run is to go on; None where none was loaded.
        present: where it goes on.
    """
    if saved is None or not saved.pass_open or saved.iteration != present.iteration or present.pass_open:
        return {}
    return {"place in the data": (f"batch {saved.batch} of pass {saved.data_pass}", f"start of {present.data_pass}")}
