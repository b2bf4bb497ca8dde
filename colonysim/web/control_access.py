"""Restricts the control API: refuses web pages of other sites, and other machines without the token."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from typing import Final
from urllib.parse import parse_qsl

from colonysim.http.addresses import LOCALHOST
from colonysim.http.http1 import HttpRequest

_HEADERS: Final = [
    ("Cache-Control", "no-store"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]
CONTROL_HEADERS: Final = [*_HEADERS, ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")]
"""Sent with each reply, so that no other site can embed it, guess its type or learn its address."""
PAGE_HEADERS: Final = [
    *_HEADERS,
    (
        "Content-Security-Policy",
        "default-src 'self'; base-uri 'none'; form-action 'none'; object-src 'none'; frame-ancestors 'none'",
    ),
]
"""Sent with each file of the page, which may load its own files and nothing else, and runs no code in its text."""


def report_headers() -> list[tuple[str, str]]:
    """Return the headers of an HTML report, which runs its own script and loads nothing."""
    from colonysim.reports import page  # few servers are asked for one

    return [*_HEADERS, ("Content-Security-Policy", page.policy())]


CHALLENGE: Final = ("WWW-Authenticate", 'Bearer realm="colonysim control API"')
"""Sent if the token is missing or wrong."""

_JSON: Final = "application/json"
_READS: Final = ("GET", "HEAD", "OPTIONS")
_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:/?#@\[\],]+))(?::[0-9]{1,5})?\Z")
_TOKEN: Final = re.compile(r"[!-~]+\Z")
_TOKEN_BYTES: Final = 24


class Forbidden(Exception):
    """A request that the control API refuses: status and text of the reply."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class ControlAccess:
    """The rules that a request to the control API must meet; see docs/control-api.md.

    `host`: where the server listens. `from_anywhere`: other machines may use it too, with the token, which is
    generated if none is given. If there is a token, every request needs it. Raises ValueError for an invalid token.
    """

    def __init__(self, *, from_anywhere: bool = False, token: str | None = None, host: str = LOCALHOST) -> None:
        if token is not None and not _TOKEN.match(token):
            raise ValueError("the token of the control API must be visible ASCII characters, at least one, no blanks")
        if token is None and from_anywhere:
            token = secrets.token_urlsafe(_TOKEN_BYTES)
        self.token = token
        self._from_anywhere = from_anywhere
        self._hosts = {LOCALHOST, host.lower()}

    def check(self, request: HttpRequest, *, public: bool = False) -> None:
        """Check a request. Raises Forbidden, with the fix.

        What is `public` needs no token: the scripts and styles of the page, for which browsers send none.
        """
        if not (self._from_anywhere or _same_machine(request)):
            text = "the control API answers this machine only; start the server with --control-from-anywhere"
            raise Forbidden(403, f"{text} to let others use it, with a token")
        if self.token is None:
            self._check_host(request)
        _check_origin(request)
        if self.token is not None and not public:
            self._check_token(request, self.token)
        _check_content_type(request)

    def _check_host(self, request: HttpRequest) -> None:
        """Refuse foreign host names (DNS rebinding): a page under such a name would count as of the same origin."""
        host = request.headers.get("host")
        if host is None:  # browsers always send it
            return
        found = _HOST.match(host.lower())
        name = (found[1] or found[2]) if found else ""
        if not (name in self._hosts or _is_loopback(name) or (name and name == request.local)):
            text = f"the control API is not on {host!r}; use http://localhost or the address that the server printed"
            raise Forbidden(403, text)

    def _check_token(self, request: HttpRequest, token: str) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        given = given.strip() if scheme.lower() == "bearer" else ""
        if not given and request.method == "GET":
            given = dict(parse_qsl(request.query)).get("token", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
            what = "needs its token" if not given else "was sent a wrong token"
            text = f"the control API {what}: send it as Authorization: Bearer TOKEN, or with GET as ?token=TOKEN"
            raise Forbidden(401, text)


def _check_origin(request: HttpRequest) -> None:
    """Refuse requests that a browser sends for a page of another site."""
    origin = request.headers.get("origin")
    if origin is not None:
        host = request.headers.get("host", "").lower()
        if not host or origin.lower() not in (f"http://{host}", f"https://{host}"):
            raise Forbidden(403, f"the control API answers no pages of other origins, such as {origin!r}")
    site = request.headers.get("sec-fetch-site", "none")
    if site.lower() not in ("same-origin", "none"):
        text = f"the control API answers no pages of other sites (Sec-Fetch-Site: {site}); open its address itself"
        raise Forbidden(403, text)


def _check_content_type(request: HttpRequest) -> None:
    """Require the JSON content type for changes: a page of another origin cannot send it without a preflight.

    A change without body and type is safe: browsers send its origin, which has been checked before.
    """
    given = request.headers.get("content-type")
    if request.method in _READS or (given is None and not request.body):
        return
    if (given or "").partition(";")[0].strip().lower() != _JSON:
        what = f"not {given!r}" if given is not None else "and has none"
        raise Forbidden(415, f"{request.method} {request.path} needs the header Content-Type: {_JSON}, {what}")


def _same_machine(request: HttpRequest) -> bool:
    """Whether a client is on this machine: its address is a loopback, or the one that it connected to."""
    remote = request.remote
    return remote in ("", "<local>") or _is_loopback(remote) or remote == request.local


def _is_loopback(address: str) -> bool:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(known, "ipv4_mapped", None) or known).is_loopback
