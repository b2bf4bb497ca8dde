"""Packages that only some parts of colonysim need, and the extras that install them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

EXTRAS: Final = {
    "hypothesis": "hypothesis",
    "moto": "s3",
    "rich": "cli",
    "typer": "cli",
    "werkzeug": "server",
    "wsproto": "server",
    "yaml": "scenarios",
}
"""The extra of each optional package, by the name under which the package is imported."""


class MissingExtra(ImportError):
    """A package that comes with an extra is not installed. The text names it and the command that installs it."""


@contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Import optional packages inside: a missing one raises MissingExtra, which says that `what` needs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        fix = f"pip install 'colonysim[{EXTRAS[package]}]'"
        raise MissingExtra(f"{what} needs {package}, which is not installed: {fix}", name=package) from None
