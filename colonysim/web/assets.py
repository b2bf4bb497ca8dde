"""The files of the page at /colonysim/: HTML, CSS and JavaScript modules, served as they are in the package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from colonysim.http.http1 import HttpRequest

INDEX: Final = "index.html"
_PREFIX: Final = "/colonysim/page/"
HTML: Final = "text/html; charset=utf-8"
_TYPES: Final = {
    "html": HTML,
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class PageFile(NamedTuple):
    """A file of the page, with its name within the folder, such as `views/faults.js`."""

    name: str
    content: bytes
    type: str


def file_of(request: HttpRequest) -> PageFile | None:
    """Return the file of the page that a request is about; None if it is about something else."""
    if request.method != "GET":
        return None
    if request.path in ("/colonysim/", "/colonysim"):
        return page_files()[INDEX]
    return page_files().get(request.path.removeprefix(_PREFIX)) if request.path.startswith(_PREFIX) else None


@cache
def page_files() -> dict[str, PageFile]:
    """Return all files of the page by name."""
    top = files("colonysim.web") / "page"
    listed = [("", each) for each in top.iterdir()] + [("views/", each) for each in (top / "views").iterdir()]
    named = {f"{folder}{each.name}": each for folder, each in listed}
    return {
        name: PageFile(name, each.read_bytes(), _TYPES[kind])
        for name, each in named.items()
        if (kind := name.rpartition(".")[2]) in _TYPES
    }
