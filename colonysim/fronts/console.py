"""Where commands write: results to one place, everything about them to another."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer
from rich.console import Console

out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)


def fail(text: str, status: int = 2) -> NoReturn:
    """Say what is wrong, and leave."""
    err.print(f"colonysim: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(status)


def say(text: str, style: str | None = None) -> None:
    """Print lines as they are, to be copied word for word."""
    out.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
