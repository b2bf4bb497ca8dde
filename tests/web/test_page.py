"""The files of the page: complete, self-contained, safe and in the package. tests/browser tries the page itself."""

from __future__ import annotations

import re

import pytest
import requests

from colonysim import Simulation, WebServer
from colonysim.web.assets import page_files

FILES = sorted(page_files())
SCRIPTS = [name for name in FILES if name.endswith(".js")]


def test_the_page_is_served_with_all_its_files(server: WebServer) -> None:
    for path, kind in {"": "text/html", "page/main.js": "text/javascript", "page/page.css": "text/css"}.items():
        reply = requests.get(f"{server.url}/colonysim/{path}")
        assert (reply.status_code, reply.headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
        assert "unsafe" not in reply.headers["Content-Security-Policy"]
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("page/", "page/nosuch.js", "page/../control.py", "page/%2e%2e/control.py", "page/views"):
        assert requests.get(f"{server.url}/colonysim/{path}").status_code == 404
    assert requests.post(f"{server.url}/colonysim/page/main.js").status_code == 404


@pytest.mark.parametrize("name", FILES)
def test_nothing_external_is_loaded(name: str) -> None:
    text = page_files()[name].content.decode()
    known = "http://www.w3.org/2000/svg"  # the name of a language, which nothing loads
    assert re.findall(r"(?:https?:)?//[a-z][^\s\"')]*", text.replace(known, "").replace("// ", "")) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_data_never_become_html_or_code(name: str) -> None:
    text = page_files()[name].content.decode()
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"):
        assert way not in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_module_that_is_imported_is_there_and_says_what_it_is(name: str) -> None:
    text = page_files()[name].content.decode()
    assert text.startswith("// ")
    folder = name.rpartition("/")[0]
    for target in re.findall(r'from "([^"]+)"', text):
        path = re.sub(
            r"[^/]+/\.\./",
            "",
            f"{folder}/{target}".replace("./", "", 1) if target.startswith("./") else f"{folder}/{target}",
        )
        assert path.strip("/") in page_files(), target


def test_what_users_submit_is_data_in_every_answer(server: WebServer, sim: Simulation) -> None:
    for path in ("", "page/main.js"):
        before = requests.get(f"{server.url}/colonysim/{path}").content
        assert before == page_files()[path.removeprefix("page/") or "index.html"].content
