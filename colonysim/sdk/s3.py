"""Object storage for ColonyFS: moto's S3 server, in the extra colonysim[s3].

The Colonies server stores the metadata of files; SDKs copy the bytes to and from S3
(docs/protocol/d-realtime-and-data.md 3).
"""

from __future__ import annotations

import hashlib
import logging
import os
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from colonysim.extras import needed_for
from colonysim.http.addresses import url_of

BUCKET: Final = "colonies"
_KEY: Final = "colonysim"
_REGION: Final = "us-east-1"
_PATH_MARKS: Final = ("/", "\\", ":", "\0")
"""Characters not allowed in a file name: separators, the marks of drives and streams on Windows, and NUL."""
_RESET_TIMEOUT_S: Final = 10
_SYNC_LIBRARY: Final = "/usr/local/lib/libcfslib.so"


class ObjectStore:
    """An S3 server in this process. Raises MissingExtra if moto is not installed."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        with needed_for("an S3 server"):
            from moto.server import ThreadedMotoServer
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # do not log each request
        self._server = ThreadedMotoServer(host, port, verbose=False)
        self.host = host
        self._in_use = 0

    def start(self) -> ObjectStore:
        """Start the server. `port` is then the port that it listens on."""
        self._server.start()
        self.port: int = self._server.get_host_and_port()[1]
        return self

    def stop(self) -> None:
        """Delete all objects and stop the server."""
        try:
            self.reset()
        except OSError:
            pass  # stop the server anyway
        finally:
            self._server.stop()

    def reset(self) -> None:
        """Delete all objects and buckets. Raises OSError if the server does not answer."""
        reset = urllib.request.Request(f"{url_of(self.host, self.port)}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset, timeout=_RESET_TIMEOUT_S).close()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Within the context, have the store be that of one scope, with a bucket of its own, and its variables set.

        Contexts may be nested; all objects are deleted when the outermost one ends.
        """
        self._in_use += 1
        before = {name: os.environ.get(name) for name in self.environment()}
        os.environ.update(self.environment())
        try:
            yield
        finally:
            self._in_use -= 1
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            if not self._in_use:
                self.reset()

    def __enter__(self) -> ObjectStore:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def environment(self) -> dict[str, str]:
        """Return the environment variables that SDKs and the `colonies` command-line tool read."""
        return {
            "AWS_S3_ENDPOINT": f"{self.host}:{self.port}",
            "AWS_S3_ACCESSKEY": _KEY,
            "AWS_S3_SECRETKEY": _KEY,
            "AWS_S3_REGION": _REGION,
            "AWS_S3_REGION_KEY": _REGION,
            "AWS_S3_BUCKET": BUCKET if self._in_use < 2 else f"{BUCKET}-{self._in_use}",
            "AWS_S3_TLS": "false",
            "AWS_S3_SKIPVERIFY": "false",
        }


# ---------------------------------------------------------------- pycolonies' sync
@contextmanager
def python_sync() -> Iterator[None]:
    """Within the context, replace `sync` of pycolonies' `Colonies` and `CFS` if the library is not installed.

    That library is on no package index. If it is installed (at CFSLIB or its default path), nothing is replaced.
    """
    try:
        import cfs
        import pycolonies
    except ImportError:
        yield
        return
    if Path(os.environ.get("CFSLIB", _SYNC_LIBRARY)).exists():
        yield
        return
    ours = ((pycolonies.Colonies, {"sync": sync}), (cfs.CFS, {"__init__": _load_nothing, "sync": _sync_at}))
    theirs = [(owner, {name: getattr(owner, name) for name in functions}) for owner, functions in ours]
    _set(ours)
    try:
        yield
    finally:
        _set(theirs)


def _set(classes: Iterable[tuple[type, dict[str, Any]]]) -> None:
    for owner, functions in classes:
        for name, function in functions.items():
            setattr(owner, name, function)


def _load_nothing(_: object) -> None:
    """Initialise pycolonies' `CFS` without its library."""


def _sync_at(
    _: object,
    host: str,
    port: int,
    tls: bool,
    skip_tls_verify: bool,
    dir: str,
    label: str,
    keeplocal: bool,
    colonyname: str,
    prvkey: str,
) -> None:
    """`sync` with the signature of pycolonies' `CFS.sync`, whose third parameter is called `insecure` and means TLS."""
    from pycolonies import Colonies

    sync(Colonies(host, port, tls=tls), dir, label, keeplocal, colonyname, prvkey)


class UnsafeName(ValueError):
    """A label or file name points outside the folder that is synchronised."""


def sync(client: Any, dir: str, label: str, keeplocal: bool, colonyname: str, prvkey: str) -> None:
    """Synchronise a folder and a label, recursively, as pycolonies' shared library does.

    Files that exist on one side only are copied to the other. If both differ, the label's file wins, unless
    `keeplocal`. Raises UnsafeName, before anything is changed, if a label, a file name or a link points outside the
    folder.
    """
    folder, top = Path(dir), "/" + label.strip("/")
    below = top.rstrip("/") + "/"
    places = {top: folder}
    for known in client.get_file_labels(colonyname, prvkey, top, True) or ():
        name = known["name"]
        if name.startswith(below):
            places.setdefault(name, _inside(folder, folder, name.removeprefix(below).split("/"), f"label {name!r}"))
    for found in sorted(path for path in folder.rglob("*") if path.is_dir()):
        parts = found.relative_to(folder).parts
        places.setdefault(below + "/".join(parts), _inside(folder, folder, parts, f"folder {str(found)!r}"))
    there = {place: _known_files(client, place, colonyname, prvkey) for place in places}
    for place, where in places.items():
        for name in (*there[place], *_local_files(where)):
            _inside(folder, where, [name], f"file {name!r} of label {place!r}")
    for place, where in sorted(places.items()):
        _sync_one(client, where, place, there[place], keeplocal, colonyname, prvkey)


def _inside(top: Path, folder: Path, parts: Iterable[str], what: str) -> Path:
    """Join path parts to a folder below `top`. Raises UnsafeName if the result is not below `top`."""
    place = folder
    for part in parts:
        if part in ("", ".", "..") or any(mark in part for mark in _PATH_MARKS):
            raise UnsafeName(f"{what} cannot be synchronised: {part!r} is not a file name in {str(top)!r}; rename it")
        place /= part
    if not place.resolve().is_relative_to(top.resolve()):
        raise UnsafeName(f"{what} cannot be synchronised: it points outside {str(top)!r}; remove the link")
    return place


def _known_files(client: Any, label: str, colony: str, key: str) -> dict[str, str]:
    """Return the checksums of a label's files by name."""
    return {file["name"]: file["checksum"] for file in client.get_files(label, colony, key) or ()}


def _local_files(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}


def _sync_one(
    client: Any, folder: Path, label: str, there: dict[str, str], keeplocal: bool, colony: str, key: str
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    here = {name: _checksum(path) for name, path in _local_files(folder).items()}
    for name in sorted(here | there):
        if here.get(name) == there.get(name):
            continue
        if name in here and (keeplocal or name not in there):
            client.upload_file(colony, key, filepath=str(folder / name), label=label)
        else:
            client.download_file(colony, key, dst=str(folder), label=label, filename=name)


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
