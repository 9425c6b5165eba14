from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camshaft.engine import EngineWarning, StateDictError
from camshaft.handlers._row_file import RowFile, complete_lines


def written(path, *lines):
    file = RowFile(path)
    for line in lines:
        file.add(line)
    return file


def test_a_line_is_in_the_file_at_once(tmp_path):
    file = written(tmp_path / "new" / "rows", "a", "ü")

    assert (tmp_path / "new" / "rows").read_bytes() == "a\nü\n".encode()
    assert file.lines() == ["a", "ü"]


def test_a_new_file_replaces_an_earlier_one_with_its_first_line(tmp_path):
    path = tmp_path / "rows"
    written(path, "old", "older")

    file = RowFile(path)
    assert file.lines() == []
    assert path.read_text() == "old\nolder\n"

    file.add("new")
    assert path.read_text() == "new\n"


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=8), max_size=6),
    data=st.data(),
)
def test_it_continues_after_what_was_saved_wherever_it_was_killed(lines, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows"
    saved_at = data.draw(st.integers(0, len(lines)))
    first = written(path, *lines[:saved_at])
    state = first.state_dict()
    for line in lines[saved_at:]:
        first.add(line)
    if path.exists():  # the part behind the saved one is cut anywhere, as a kill does
        with path.open("r+b") as file:
            file.truncate(data.draw(st.integers(state["size"], path.stat().st_size)))

    second = RowFile(path)
    second.load_state_dict(state)
    assert second.lines() == lines[:saved_at]
    second.add("again")

    assert complete_lines(path) == [*lines[:saved_at], "again"]


def test_restoring_changes_the_file_only_with_the_next_line(tmp_path):
    file = written(tmp_path / "rows", "a", "b")
    file.load_state_dict({"size": 2})

    assert (tmp_path / "rows").read_text() == "a\nb\n"
    assert file.lines() == ["a"]

    file.add("c")
    assert (tmp_path / "rows").read_text() == "a\nc\n"


@pytest.mark.parametrize(("left", "kept"), [(b"", b""), (b"a\n", b"a\n"), (b"a\nb", b"a\n"), (b"abcdef", b"")])
def test_lost_lines_are_warned_about_and_whole_ones_kept(tmp_path, left, kept):
    path = tmp_path / "rows"
    path.write_bytes(left)
    file = RowFile(path)
    file.load_state_dict({"size": 4})

    with pytest.warns(EngineWarning, match=f"has {len(kept)} bytes of whole lines, but 4 when it was saved"):
        file.add("c")

    assert path.read_bytes() == kept + b"c\n"
    assert file.state_dict() == {"size": len(kept) + 2}


def test_a_missing_file_is_started_again_with_a_warning(tmp_path):
    file = RowFile(tmp_path / "rows")
    file.load_state_dict({"size": 4})

    with pytest.warns(EngineWarning, match="has 0 bytes"):
        file.add("c")

    assert file.lines() == ["c"]


@pytest.mark.parametrize("state", [None, {}, {"size": -1}, {"size": 1.5}, {"size": True}, {"size": 1, "rows": 2}])
def test_a_wrong_state_is_refused_and_changes_nothing(tmp_path, state):
    file = written(tmp_path / "rows", "a")

    with pytest.raises(StateDictError):
        file.load_state_dict(state)

    assert file.lines() == ["a"]


def test_the_lines_of_a_file_that_is_not_there_are_none(tmp_path):
    assert complete_lines(tmp_path / "missing") == []
