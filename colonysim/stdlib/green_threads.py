"""Libraries that replace threads by their own: they wait in real time, so programs refuse them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from colonysim.stdlib import inplace
from colonysim.stdlib.here import here

LIBRARIES: Final = ("gevent", "eventlet")
_PATCHED: Final = (
    ("gevent", "gevent.monkey", ("is_module_patched", "threading")),
    ("eventlet", "eventlet.patcher", ("is_monkey_patched", "thread")),
)
"""How each library says whether it has replaced threads."""
_ENTRIES: Final = (
    ("gevent.monkey", "patch_all"),
    ("gevent.hub", "Hub.__init__"),
    ("eventlet", "monkey_patch"),
    ("eventlet.hubs", "get_hub"),
)
"""What is called before a library replaces anything or waits, which each thread does by a hub of its own."""
_taken: Final[dict[str, inplace.Undo]] = {}


def refuse_if_patched() -> None:
    """Raise RuntimeError if gevent or eventlet has replaced threads by its own, which act as they like."""
    for library, module, names in _PATCHED:
        is_patched = getattr(sys.modules.get(module), names[0], None)
        if is_patched is not None and is_patched(names[1]):
            raise RuntimeError(
                _refusal(library, "has replaced them by its own in this process: do not monkey-patch here")
            )


def _refusal(library: str, what: str) -> str:
    instead = "or serve the simulation to your code with colonysim.WebServer"
    return f"programs need real threads, and {library} {what}, {instead}"


def _refuse(library: str) -> inplace.Wrapper:
    def wrap(real: Any) -> Callable[..., Any]:
        def enter(*args: Any, **kwargs: Any) -> Any:
            if here.thread is not None:
                raise RuntimeError(_refusal(library, "waits in real time by threads of its own: use threading"))
            return real(*args, **kwargs)

        return enter

    return wrap


def take() -> None:
    """Have the libraries that are loaded refuse to be used by programs, until `leave`."""
    for module, path in _ENTRIES:
        owner: Any = sys.modules.get(module)
        for name in path.split("."):
            owner = None if owner is None else vars(owner).get(name)
        if callable(owner) and f"{module}.{path}" not in _taken:
            _taken[f"{module}.{path}"] = inplace.replace_function(owner, _refuse(module.partition(".")[0]))


def _leave() -> None:
    while _taken:
        _taken.popitem()[1]()


def patch() -> list[inplace.Undo]:
    """Refuse what is loaded by now; what is returned puts everything back."""
    take()
    return [_leave]
