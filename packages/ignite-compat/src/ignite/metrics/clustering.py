"""Not here: an import of its names says what to use instead."""

from typing import NoReturn

from ignite.metrics._elsewhere import refuse


def __getattr__(name: str) -> NoReturn:
    refuse("clustering", name)
