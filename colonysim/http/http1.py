"""HTTP/1.1 without sockets: parses requests and renders replies as the reference (Go's net/http) does.

Clients can observe its answers to malformed requests (docs/protocol/a-foundation.md 1.2, 1.3), and no available
library gives the same ones; so both servers share this reader.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Mapping
from copy import copy
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from colonysim.http.held_bytes import HeldBytes, Share
from colonysim.http.limits import DEFAULTS, Limits, Phase

PLAIN: Final = "text/plain; charset=utf-8"
CHUNKED_FROM_BYTES: Final = 2049
REASONS: Final = {
    100: "Continue", 101: "Switching Protocols", 200: "OK", 204: "No Content", 301: "Moved Permanently",
    307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict", 413: "Request Entity Too Large",
    415: "Unsupported Media Type", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
    501: "Not Implemented", 503: "Service Unavailable", 505: "HTTP Version Not Supported",
}  # fmt: skip

LINGER_S: Final = 0.5
"""How long to wait, after a refusal, for the client to stop sending: closing a connection with unread bytes resets
it, and loses the reply."""
LINGER_IN_ALL_S: Final = 5.0
"""How long to read, after a refusal, from a client that never stops sending."""

_USUAL_HEAD_BYTES: Final = 2048
"""Parsed heads up to this size are cached."""

T = TypeVar("T")
Headers = list[tuple[str, str]]
Waiting = Generator[None, None, T]

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_TOKEN_OR_BLANKS: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z ]+\Z")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HOST: Final = re.compile(r"[!$%&'()*+,\-.:;=\[\]_~0-9A-Za-z]*\Z")
_VERSION: Final = re.compile(r"HTTP/([0-9])\.([0-9])\Z")
_DIGITS: Final = re.compile(r"[0-9]{1,18}\Z")
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_CHUNK_SIZE: Final = re.compile(rb"[0-9a-fA-F]{1,16}\Z")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9a-fA-F]{2})")
_ABSOLUTE: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]*://([^/?#]*)(.*)\Z", re.DOTALL)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_SHORT_BODY: Final = "unexpected EOF"
_BAD_CHUNK: Final = "invalid byte in chunk length"


class HttpRequest(msgspec.Struct):
    """A request. Header names are in lower case, `path` is unquoted, `problem` is what is wrong with the body.

    A repeated header has all its values: see `lines_of`.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    minor: int = 1
    keep: bool = True
    body: bytes = b""
    problem: str = ""
    remote: str = ""  # address of the client
    local: str = ""  # address of this machine that the client has connected to
    about: Any = None  # what the application remembers about it


class Reply(msgspec.Struct):
    """Status, headers and body of a reply."""

    status: int
    body: bytes = b""
    headers: Headers = []


class BadRequest(Exception):
    """A malformed request. `line` is status and reason, and the body of the reply."""

    def __init__(self, status: int, detail: str = "") -> None:
        self.status = status
        self.line = f"{status} {REASONS[status]}" + (f": {detail}" if detail else "")
        super().__init__(self.line)

    def reply(self) -> bytes:
        """Render the reply to send before closing the connection."""
        head = f"HTTP/1.1 {self.line}\r\nContent-Type: {PLAIN}\r\nConnection: close\r\n\r\n"
        return (head + self.line).encode("latin-1")


class HttpReader:
    """The requests of one connection, in order. Feed it bytes, then ask for the next request.

    `share` counts the bytes that it holds: the input that is not parsed yet, and the body of the last request until
    the next call of `next`.
    """

    def __init__(self, limits: Limits = DEFAULTS, share: Share | None = None) -> None:
        self._limits = limits
        self._share = share or Share(HeldBytes(limits))
        self._chunk_bytes = 0  # of the body being received, no longer in the buffer
        self._buffer = bytearray()
        self._scanned = 0  # where to resume the search for a line end, so that each byte is searched once
        self._ended = False
        self._steps = self._read()
        self.phase = Phase.REQUEST
        self.body_bytes = 0
        """The bytes received so far of the current body."""
        self.interim_reply = b""
        """What to send before the client sends more; the caller sends and clears it."""

    def feed(self, data: bytes) -> None:
        """Add bytes from the client; empty at the end of its input."""
        if data:
            self._buffer += data
            self._share.change(len(data))
        else:
            self._ended = True

    def next(self) -> HttpRequest | None:
        """Return the next request, or None if more bytes are needed. Raises BadRequest; nothing is read after it."""
        try:
            request = next(self._steps)
            if not self._count_held(len(request.body) if request else self._chunk_bytes):
                all_held = self._share.all_held
                raise BadRequest(
                    503, f"all connections together hold held_bytes={all_held.limit}, the most they may; try again"
                )
        except BadRequest:
            self.clear()
            raise
        return request

    def clear(self) -> None:
        """Discard all input; nothing more is read."""
        self._steps.close()
        self._buffer = bytearray()
        self._count_held(0)

    def _count_held(self, body_bytes: int) -> bool:
        """Count the bytes held, in the buffer and outside of it. Returns False if they are too many."""
        return self._share.change(len(self._buffer) + body_bytes - self._share.size)

    @property
    def waiting_bytes(self) -> int:
        """The bytes received that are not parsed yet."""
        return len(self._buffer)

    @property
    def remaining(self) -> bytes:
        """The input after the last request, which belongs to the protocol it upgrades to."""
        return bytes(self._buffer)

    def timeout_reply(self) -> BadRequest | None:
        """The reply to a client whose time has run out, None if it has not sent a whole head."""
        if self.phase is not Phase.BODY:
            return None
        return BadRequest(408, f"{self.body_bytes} bytes of the body came in the time it has; send it faster")

    def _read(self) -> Generator[HttpRequest | None, None, None]:
        while True:
            while (end := self._head_end()) is None:
                self.phase = Phase.HEAD if self._buffer else Phase.REQUEST
                yield None
            head = bytes(self._buffer[: end[0]])
            self._take(end[1])
            request, length = parse_head(head, self._limits)
            self._count_body(length)
            self.phase, self.body_bytes = Phase.BODY if length else Phase.REQUEST, 0
            if length and request.headers.get("expect", "").lower() == "100-continue":
                self.interim_reply = _CONTINUE
            if length < 0:
                yield from self._chunks(request)
                self._chunk_bytes = 0
            elif length:
                yield from self._body(request, length)
            self.phase = Phase.REQUEST
            yield request

    def _take(self, size: int) -> None:
        """Drop the first `size` bytes of the buffer."""
        del self._buffer[:size]
        self._scanned = 0

    def _count_body(self, size: int) -> None:
        self.body_bytes, limit = size, self._limits.body_bytes
        if size > limit:
            raise BadRequest(413, f"a body of {size} bytes or more; this server takes body_bytes={limit}")
        if size > (most := self._share.all_held.most):
            why = f"with held_bytes={self._share.all_held.limit} one connection may hold {most}"
            raise BadRequest(413, f"a body of {size} bytes or more; {why}")

    def _head_end(self) -> tuple[int, int] | None:
        """Find where the head ends and where the body begins."""
        buffer = self._buffer
        if buffer.startswith((b"\r", b"\n")):
            raise BadRequest(400)
        if found := _HEAD_END.search(buffer, max(self._scanned - 2, 0)):
            start = found.start()
            return start - buffer.endswith(b"\r", 0, start), found.end()
        if len(buffer) > self._limits.head_bytes:
            raise BadRequest(431)
        self._scanned = len(buffer)
        return None

    def _body(self, request: HttpRequest, length: int) -> Waiting[None]:
        while len(self._buffer) < length:
            if self._ended:
                request.problem, request.keep = _SHORT_BODY, False
                return
            self.body_bytes = len(self._buffer)
            yield None
        request.body = bytes(self._buffer[:length])
        self._take(length)

    # ------------------------------------------------------------ chunks
    def _chunks(self, request: HttpRequest) -> Waiting[None]:
        body = bytearray()
        while True:
            line = yield from self._line(request)
            if line is None:
                return
            size_text = line.partition(b";")[0].rstrip(b" \t")
            if not _CHUNK_SIZE.match(size_text):
                request.problem, request.keep = _BAD_CHUNK, False
                return
            size = int(size_text, 16)
            if not size:
                break
            while len(self._buffer) < size + 2:
                if self._ended:
                    request.problem, request.keep = _SHORT_BODY, False
                    return
                self._count_body(len(body) + len(self._buffer))
                yield None
            self._count_body(len(body) + size)
            if self._buffer[size : size + 2] != b"\r\n":
                request.problem, request.keep = "malformed chunked encoding", False
                return
            body += self._buffer[:size]
            self._chunk_bytes = len(body)
            self._take(size + 2)
        trailers = 0
        while trailer := (yield from self._line(request)):
            trailers += len(trailer) + 2  # fields after the body are ignored
            if trailers > self._limits.head_bytes:
                raise BadRequest(431)
        request.body = bytes(body)

    def _line(self, request: HttpRequest) -> Waiting[bytes | None]:
        """Read a line without its end. Returns None, and sets the request's problem, if there is none."""
        while (end := self._buffer.find(b"\n", self._scanned)) < 0:
            if self._ended or len(self._buffer) > self._limits.head_bytes:
                request.problem, request.keep = _SHORT_BODY if self._ended else _BAD_CHUNK, False
                return None
            self._scanned = len(self._buffer)
            yield None
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        self._take(end + 1)
        return line


# ---------------------------------------------------------------- heads
def parse_head(head: bytes, limits: Limits = DEFAULTS) -> tuple[HttpRequest, int]:
    """Parse a request without its body; also the body's length, -1 if it is chunked. Raises BadRequest."""
    if len(head) > limits.head_bytes:
        raise BadRequest(431)
    if head.count(b"\n") > limits.head_fields:
        raise BadRequest(431, f"more than {limits.head_fields} header fields")
    parsed, length = _parsed(head) if len(head) < _USUAL_HEAD_BYTES else _parsed.__wrapped__(head)
    request = copy(parsed)
    request.headers = parsed.headers.copy()
    return request, length


@lru_cache(256)
def _parsed(head: bytes) -> tuple[HttpRequest, int]:
    """Parse a head, with a cache: most requests of a client have equal heads."""
    lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    words = lines[0].split(" ")
    version = _VERSION.match(words[2]) if len(words) == 3 else None
    if version is None or not _TOKEN.match(words[0]):
        raise BadRequest(400)
    headers = _headers(lines)
    if version[1] != "1":
        raise BadRequest(505, "unsupported protocol version")
    minor = int(version[2])
    _check_names(headers, host_needed=minor > 0)
    path, query = _target(words[1], headers)
    tokens = headers.get("connection", "").lower().replace(_NEXT_LINE, ",")
    if tokens not in ("", "close", "keep-alive"):
        tokens = " ".join(token.strip() for token in tokens.split(",") if token.strip() in ("close", "keep-alive"))
    keep = "close" not in tokens if minor else "keep-alive" in tokens
    return HttpRequest(words[0], path, query, headers, minor, keep), _length(headers)


def request_to(
    method: str, target: str, headers: Mapping[str, str], body: bytes = b"", remote: str = "127.0.0.1"
) -> HttpRequest:
    """Create a request that has no connection. Raises BadRequest for an invalid target."""
    fields = {"host": "localhost"} | {name.lower(): value for name, value in headers.items()}
    path, query = _target(target, fields)
    return HttpRequest(method, path, query, fields, body=body, remote=remote)


_NEXT_LINE: Final = "\n"
"""Separates the values of a repeated header: unlike a comma, no value contains it."""


def lines_of(value: str) -> list[str]:
    """Return the values of a header, one for each of its lines in the request."""
    return value.split(_NEXT_LINE)


def first_of(value: str) -> str:
    """Return the first value of a header, for headers that have only one."""
    return value.partition(_NEXT_LINE)[0]


def is_token(text: str) -> bool:
    """Whether a text is a token of HTTP: letters, digits and a few signs, at least one."""
    return _TOKEN.match(text) is not None


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    name = ""
    for line in lines[1:]:
        if line[:1] in (" ", "\t") and name:
            headers[name] += " " + line.strip()
            if _CONTROL.search(line):
                raise BadRequest(400)
            continue
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN_OR_BLANKS.match(name) or _CONTROL.search(value):
            raise BadRequest(400)
        name, value = name.lower(), value.strip(" \t")
        if name not in headers:
            headers[name] = value
        elif name != "content-length":
            headers[name] += _NEXT_LINE + value
        elif headers[name] != value:
            raise BadRequest(400)
    return headers


def _check_names(headers: dict[str, str], host_needed: bool) -> None:
    """Refuse an invalid Host, then header names that contain blanks, in the order of the reference."""
    if host_needed and "host" not in headers:
        raise BadRequest(400, "missing required Host header")
    if _NEXT_LINE in (host := headers.get("host", "")):
        raise BadRequest(400)
    if not _HOST.match(host):
        raise BadRequest(400, "malformed Host header")
    if not all(map(is_token, headers)):
        raise BadRequest(400, "invalid header name")


def _target(target: str, headers: dict[str, str]) -> tuple[str, str]:
    """Split a target into path and query. The host of an absolute target replaces the Host header."""
    if absolute := _ABSOLUTE.match(target):
        headers["host"], target = absolute[1], absolute[2]
    elif not target.startswith("/") and target != "*":
        raise BadRequest(400)
    path, _, query = target.partition("?")
    if "%" in path:
        if _BAD_ESCAPE.search(path):
            raise BadRequest(400)
        path = unquote_to_bytes(path).decode("utf-8", "replace")
    elif not path.isascii():
        path = path.encode("latin-1").decode("utf-8", "replace")
    return path, query


def _length(headers: dict[str, str]) -> int:
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked":
            raise BadRequest(501, "unsupported transfer encoding")
        return -1
    length = headers.get("content-length", "0")
    if not _DIGITS.match(length):
        raise BadRequest(400)
    return int(length)


# ---------------------------------------------------------------- replies
def length_header(body: bytes) -> tuple[str, str]:
    """Return the header for the length of a body; long bodies are chunked, as by the reference."""
    if len(body) >= CHUNKED_FROM_BYTES:
        return "Transfer-Encoding", "chunked"
    return "Content-Length", str(len(body))


def render(reply: Reply, request: HttpRequest) -> bytes:
    """Render a reply. Afterwards `request.keep` says whether the connection stays open."""
    status, body = reply.status, reply.body
    lines = [f"HTTP/1.{min(request.minor, 1)} {status} {REASONS.get(status, 'Unknown')}", f"Date: {_date()}"]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    bodiless = request.method == "HEAD" or status in (204, 304)
    name, length = length_header(body)
    if bodiless:
        if body:
            lines.append(f"Content-Length: {len(body)}")  # of the text that is not sent
    elif length == "chunked" and request.minor:
        lines.append(f"{name}: {length}")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    elif length == "chunked":
        request.keep = False  # the end of the connection is the end of the body
    else:
        lines.append(f"Content-Length: {len(body)}")
    if not request.minor:
        lines += ["Connection: keep-alive"] * request.keep
    elif not request.keep:
        lines.append("Connection: close")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head if bodiless else head + body


_dates: Final[dict[int, str]] = {}


def _date() -> str:
    """The time of this machine in the format of HTTP, formatted once a second."""
    second = int(time.time())
    if second not in _dates:
        _dates.clear()
        _dates[second] = formatdate(second, usegmt=True)
    return _dates.get(second) or formatdate(second, usegmt=True)
