"""Packages that only an extra of this distribution installs: imported when something needs them."""

from __future__ import annotations

import importlib
from typing import Any

from camshaft.handlers._errors import ExtraMissingError


def import_extra(module: str, extra: str, needed_by: str) -> Any:
    """Import a module.

    Args:
        module: its dotted name.
        extra: the extra that installs it.
        needed_by: what needs it, for the error.

    Returns:
        The module.

    Raises:
        ExtraMissingError: the package of the module is not installed.

    Examples:
        >>> import_extra("json.decoder", "json", "Example").__name__
        'json.decoder'
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # An installed package that lacks one of its own dependencies is another matter.
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ExtraMissingError(extra, needed_by, package) from error
