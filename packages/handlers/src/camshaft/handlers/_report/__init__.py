"""One page about a run, from the files of its handlers: `_run_folder` reads, `_chart` draws, `_page` shows."""

from camshaft.handlers._report._page import write_report

__all__ = ["write_report"]
