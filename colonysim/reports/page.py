"""Make the HTML page of a report. It needs no other file, and draws its charts by a script of its own."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final

import msgspec

from colonysim.reports.data import page_data
from colonysim.reports.observed import Observed

_SCRIPT: Final = "<script>", "</script>"


def page(data: dict[str, Any]) -> str:
    """Return the page that shows data of `page_data`; `name` is its title."""
    text = msgspec.json.encode(data).decode().replace("</", "<\\/").replace("<!--", "<\\!--")
    return _template().replace("__TITLE__", html.escape(data["name"]), 1).replace("__DATA__", text, 1)


def policy() -> str:
    """Return the Content-Security-Policy under which a browser runs the script of the page, and nothing else."""
    begin, end = _SCRIPT
    script = _template().partition(begin)[2].partition(end)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )


def page_of(observed: Observed, name: str, *, about: str = "", command: str = "", problems: Sequence[str] = ()) -> str:
    """Return the page of what was observed. `command`: the command that repeats it. `problems`: what went wrong."""
    failures = [_failure(text) for text in problems]
    more = {"name": name, "about": about, "command": command, "failures": failures}
    return page(page_data(observed) | more)


def _failure(problem: str) -> dict[str, Any]:
    text, _, story = problem.partition("\n")
    return {"kind": "problem", "name": "", "text": text, "at_s": None, "process_id": "", "story": story}


def _template() -> str:
    return resources.files("colonysim.reports").joinpath("report.html").read_text(encoding="utf-8")
