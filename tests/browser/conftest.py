"""A served simulation, and a browser that looks at its page. Without a browser these tests are skipped, saying why.

With BROWSER_REQUIRED in the environment they fail instead: so does `.ci/run`, which installs a browser.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from colonysim import WebServer
from tests.browser.driving import Browser, browser, missing
from tests.serving import colony, executor, sim

__all__ = ["colony", "executor", "sim"]

REQUIRED = bool(os.environ.get("BROWSER_REQUIRED"))


@pytest.fixture(scope="session")
def _window() -> Iterator[Browser]:
    """One window for all tests: starting the browser takes longer than most of them."""
    if reason := missing():
        if REQUIRED:
            pytest.fail(f"BROWSER_REQUIRED is set, but {reason}", pytrace=False)
        pytest.skip(f"no browser to drive: {reason}")
    with ExitStack() as stack:
        yield stack.enter_context(browser())


@pytest.fixture
def window(_window: Browser) -> Iterator[Browser]:
    """The window, wide and light, with nothing in it."""
    _window.look_like(1600)
    _window.complaints()
    yield _window
    _window.open("about:blank")


@pytest.fixture
def page(window: Browser, server: WebServer) -> Iterator[Browser]:
    """The page of the server, opened and live. At the end there must be no error in the console of the browser."""
    window.open(f"{server.url}/colonysim/")
    window.until(lambda: window.text("#live") == "live", "the stream")
    yield window
    complaints = window.complaints()
    window.open("about:blank")  # before the server ends
    assert complaints == []


@pytest.fixture(params=["werkzeug", "asyncio"])
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def server(sim: object, kind: str) -> Iterator[WebServer]:
    with WebServer(sim, kind=kind) as server:  # type: ignore[arg-type]
        yield server
    assert server.errors == []
