from __future__ import annotations

from functools import partial

from camshaft.handlers._profile import Row, format_table, name_of, summarize


class Handler:
    def __call__(self, engine):
        return engine

    def method(self):
        return self

    @classmethod
    def of_class(cls):
        return cls


class Derived(Handler):
    pass


def function():
    return None


def test_a_handler_is_named_as_its_reader_knows_it():
    def local():
        return None

    assert name_of(function) == "function"
    assert name_of(partial(partial(function))) == "function"
    assert name_of(Derived()) == "Derived"
    assert name_of(Derived().method) == "Derived.method"
    assert name_of(Derived.of_class) == "Derived.of_class"
    assert name_of([].append) == "list.append"
    assert name_of(print) == "print"
    assert name_of(local) == "test_a_handler_is_named_as_its_reader_knows_it.local"
    assert name_of(lambda: None).startswith("lambda (test_profile.py:")


def test_the_most_expensive_rows_come_first():
    cheap, dear = Row("handler", "COMPLETED", "cheap"), Row("handler", "STARTED", "dear")
    cheap.count, cheap.total_ns = 2, 1_000
    dear.count, dear.total_ns = 1, 3_000
    summary = summarize([cheap, dear, Row("handler", "COMPLETED", "never called")], 4_000)

    assert [row["name"] for row in summary["handlers"]] == ["dear", "cheap"]
    assert [row["name"] for row in summary["events"]] == ["STARTED", "COMPLETED"]
    assert [line.split()[0] for line in format_table(summary).splitlines()] == [
        "count", "STARTED", "dear", "COMPLETED", "cheap", "total",
    ]  # fmt: skip
