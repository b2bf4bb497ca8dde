"""Who may use the control API: not a web page of somebody else, and another machine only with the token."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from typing import Final
from urllib.parse import parse_qsl

from colonysim.web.addresses import LOCALHOST
from colonysim.web.http1 import HttpRequest

CONTROL_HEADERS: Final = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]
"""Sent with each reply of the control API: no other site may embed it, guess its type or learn of its address."""
CHALLENGE: Final = ("WWW-Authenticate", 'Bearer realm="colonysim control API"')
"""Sent where the token is missing or another one."""

_JSON: Final = "application/json"
_READS: Final = ("GET", "HEAD", "OPTIONS")
_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:/?#@\[\],]+))(?::[0-9]{1,5})?\Z")
_TOKEN: Final = re.compile(r"[!-~]+\Z")
_TOKEN_BYTES: Final = 24


class Forbidden(Exception):
    """A request that the control API does not answer: status and text of the reply."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class ControlAccess:
    """The rules by which the control API takes a request; see docs/control-api.md.

    `host` is the one that the server listens on. `from_anywhere`: other machines are answered too, with the token,
    which is made up where none is given. With a token every request needs it. Errors: ValueError for a bad token.
    """

    def __init__(self, *, from_anywhere: bool = False, token: str | None = None, host: str = LOCALHOST) -> None:
        if token is not None and not _TOKEN.match(token):
            raise ValueError("the token of the control API must be visible ASCII characters, at least one, no blanks")
        if token is None and from_anywhere:
            token = secrets.token_urlsafe(_TOKEN_BYTES)
        self.token = token
        self._from_anywhere = from_anywhere
        self._hosts = {LOCALHOST, host.lower()}

    def check(self, request: HttpRequest) -> None:
        """Refuse what is not to be answered. Errors: Forbidden, which says what to do instead."""
        if not (self._from_anywhere or _same_machine(request)):
            text = "the control API answers this machine only; start the server with --control-from-anywhere"
            raise Forbidden(403, f"{text} to let others use it, with a token")
        if self.token is None:
            self._check_host(request)
        _check_origin(request)
        if self.token is not None:
            self._check_token(request, self.token)
        _check_content_type(request)

    def _check_host(self, request: HttpRequest) -> None:
        """Refuse names that lead here by somebody else's DNS: a page under such a name counts as of the same origin."""
        host = request.headers.get("host")
        if host is None:  # no browser leaves it out
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
            what = "needs its token" if not given else "has another token"
            text = f"the control API {what}: send it as Authorization: Bearer TOKEN, or with GET as ?token=TOKEN"
            raise Forbidden(401, text)


def _check_origin(request: HttpRequest) -> None:
    """Refuse what a browser sends on behalf of a page from elsewhere."""
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
    """Require of a change what a page of another origin cannot send without asking: JSON, named as such.

    A request without body and type is no danger: browsers name the origin of each, and that has been looked at.
    """
    given = request.headers.get("content-type")
    if request.method in _READS or (given is None and not request.body):
        return
    if (given or "").partition(";")[0].strip().lower() != _JSON:
        what = f"not {given!r}" if given is not None else "and has none"
        raise Forbidden(415, f"{request.method} {request.path} needs the header Content-Type: {_JSON}, {what}")


def _same_machine(request: HttpRequest) -> bool:
    """Whether the client is on this machine: it comes from a loopback, or from the address it has connected to."""
    remote = request.remote
    return remote in ("", "<local>") or _is_loopback(remote) or remote == request.local


def _is_loopback(address: str) -> bool:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(known, "ipv4_mapped", None) or known).is_loopback
