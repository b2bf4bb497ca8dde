"""Packages that only some parts of colonysim need, and the extras that install them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

EXTRAS: Final = {
    "freezegun": "freeze",
    "hypothesis": "hypothesis",
    "matplotlib": "plot",
    "moto": "s3",
    "pandas": "frame",
    "pyarrow": "frame",
    "pycolonies": "sdk",
    "pytest": "test",
    "rich": "cli",
    "typer": "cli",
    "werkzeug": "server",
    "wsproto": "server",
    "yaml": "scenarios",
}
"""The extra of each optional package, by the name under which the package is imported."""


class MissingExtra(ImportError):
    """A package that comes with an extra is not installed. The text names it and the command that installs it."""


def fix_for(error: ImportError) -> str:
    """Return the command that installs the package an import did not find; empty if no extra brings it."""
    extra = EXTRAS.get((error.name or "").partition(".")[0])
    return f"pip install 'colonysim[{extra}]'" if extra and isinstance(error, ModuleNotFoundError) else ""


@contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Import optional packages inside: a missing one raises MissingExtra, which says that `what` needs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if not (fix := fix_for(error)):
            raise
        package = (error.name or "").partition(".")[0]
        raise MissingExtra(f"{what} needs {package}, which is not installed: {fix}", name=package) from None
