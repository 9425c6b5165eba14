"""Only one distribution can bring the package `ignite`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

OTHER = "pytorch-ignite"
OWN = "camshaft-ignite-compat"


def require_alone() -> None:
    """Refuse to work where the files of pytorch-ignite are installed too.

    Both distributions write into the folder `ignite`: whichever was installed last has replaced
    some files of the other one, and what an import finds is a mixture.

    Raises:
        ImportError: pytorch-ignite is installed; the text says how to go on.
    """
    try:
        other = distribution(OTHER)
    except PackageNotFoundError:
        return
    if any(file.parts[0] == "ignite" for file in other.files or ()):
        raise ImportError(
            f"{OTHER} {other.version} and {OWN} both bring the package `ignite`, and only one of them can be "
            f"installed; to go on with this one: pip uninstall {OTHER} && pip install --force-reinstall --no-deps "
            f"{OWN}; to go on with the other one: pip uninstall {OWN} && pip install --force-reinstall --no-deps "
            f"{OTHER}",
            name="ignite",
        )
