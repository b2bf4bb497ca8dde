"""Replace what a function does and leave the function object itself in place.

Code binds functions early: as default arguments, class attributes, partials, entries of tables, saved bound methods.
All of them refer to the same object, so the object has to change. A function written in C is made to
call another callable: its method definition becomes that of `PyObject_Call`, and the object it is bound to becomes
the callable. A function written in Python gets other code. A method of a class is replaced in the class's dictionary.
The twin of a function still does what the original did, and each change can be undone.

This relies on the layout of CPython's function objects, which `check_layout` verifies.
"""

from __future__ import annotations

import copyreg
import gc
import time
from collections.abc import Callable
from functools import cache
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final

_WORDS: Final = 5
"""Of a C function behind its header: definition, what it is bound to, module, weak references, fast entry point."""
_TAKES_ANYTHING: Final = 0x0001 | 0x0002  # METH_VARARGS | METH_KEYWORDS
_PLACEHOLDER: Final = 0x0C0104175
"""What stands in the code of `_trampoline` for the function that is called instead."""
_kept: Final[list[Any]] = []
"""Method definitions that functions have pointed to. They are never freed: a call may still be under way."""

_replaced: Final[dict[int, Any]] = {}
"""The C functions that are replaced just now, by identity."""

Undo = Callable[[], None]
Wrapper = Callable[[Any], Callable[..., Any]]
"""Makes the replacement of a function from its twin."""


class _WrittenInPython:
    """Any class whose special methods are written in Python."""

    def __hash__(self) -> int:
        return 0

    def __new__(cls) -> _WrittenInPython:
        return object.__new__(cls)


class _WrittenInC:
    """Any class that takes its special methods over from `object`."""


def check_layout() -> None:
    """Errors: RuntimeError where functions written in C are not laid out as they are here expected to be."""
    import ctypes

    try:
        definition = _method_definition().from_address(_words(time.sleep)[0])
        fits = definition.name == b"sleep" and twin(time.time)() > 0
        for word in (_HASH_WORD, _NEW_WORD):
            fits = fits and _slot(_WrittenInPython, word)[0] != _slot(object, word)[0] == _slot(_WrittenInC, word)[0]
    except (TypeError, ValueError, AttributeError):
        fits = False
    if not fits or not hasattr(ctypes.pythonapi, "PyCFunction_NewEx"):
        raise RuntimeError("programs in virtual time need CPython with its global interpreter lock")


def twin(function: Any) -> Any:
    """A function that does what this one does now, whatever is done to this one later."""
    if isinstance(function, FunctionType):
        code, closure = function.__code__, function.__closure__
        made = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
        made.__kwdefaults__ = function.__kwdefaults__
        return made
    import ctypes

    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p] * 3
    definition, bound_to, module, _, _ = _words(function)
    return new(definition, bound_to, module)


def replace_function(function: Any, wrapper: Wrapper) -> Undo:
    """Make a function call what `wrapper` returns when it is given the function's twin."""
    replacement = wrapper(twin(function))
    if isinstance(function, FunctionType):
        return _replace_code(function, replacement)
    return _replace_definition(function, replacement)


def replace_saved(classes: tuple[type, ...], names: tuple[str, ...]) -> list[Undo]:
    """Make saved bound methods of classes written in C, such as `now = datetime.datetime.now`, what they are by now."""
    found = [one for one in gc.get_referrers(*classes) if type(one) is BuiltinFunctionType and one.__name__ in names]
    saved = [(one, owner) for one in found for owner in classes if one.__self__ is owner]
    return [_replace_definition(one, getattr(owner, one.__name__)) for one, owner in saved]


def replace_method(owner: type, name: str, wrapper: Wrapper) -> Undo:
    """Replace a method of a class, also of one written in C, by what `wrapper` makes of the method."""
    real = owner.__dict__[name]
    _set_method(owner, name, wrapper(real))
    return lambda: _set_method(owner, name, real)


def _set_method(owner: type, name: str, method: Any) -> None:
    """Set a method in the dictionary of a class, the only place that takes it for classes written in C."""
    gc.get_referents(owner.__dict__)[0][name] = method
    _forget_cached_methods(owner)


def _forget_cached_methods(owner: type) -> None:
    import ctypes

    ctypes.pythonapi.PyType_Modified(ctypes.py_object(owner))


_HASH_WORD: Final = 13
_NEW_WORD: Final = 37
"""Places of `tp_hash` and `tp_new` among the words of CPython's PyTypeObject behind the header of every object."""


def replace_hash(owner: type, method: Callable[[Any], int]) -> Undo:
    """Have `method` hash the instances of a class written in C that hashes by address, and those of its subclasses.

    Subclasses made meanwhile keep the slot, which then finds the method of `object` again.
    """
    in_python, by_address = _slot(_WrittenInPython, _HASH_WORD)[0], _slot(object, _HASH_WORD)[0]
    slots = [slot for kind in _with_subclasses(owner) if (slot := _slot(kind, _HASH_WORD))[0] == by_address]
    methods = gc.get_referents(owner.__dict__)[0]

    def undo() -> None:
        for slot in slots:
            slot[0] = by_address
        del methods["__hash__"]
        _forget_cached_methods(owner)

    methods["__hash__"] = method
    _forget_cached_methods(owner)
    for slot in slots:
        slot[0] = in_python
    return undo


def _with_subclasses(owner: type) -> list[type]:
    kinds: list[type] = owner.__subclasses__()
    return [owner, *(one for kind in kinds for one in _with_subclasses(kind))]


def replace_new(owner: type, wrapper: Wrapper) -> Undo:
    """Replace how a class written in C makes instances. The twin takes the class, its arguments and its keywords."""
    import ctypes

    slot, methods = _slot(owner, _NEW_WORD), gc.get_referents(owner.__dict__)[0]
    before, method = slot[0], methods["__new__"]
    real = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.py_object)(before)

    def undo() -> None:
        slot[0] = before
        methods["__new__"] = method
        _forget_cached_methods(owner)

    methods["__new__"] = staticmethod(wrapper(real))
    _forget_cached_methods(owner)
    slot[0] = _slot(_WrittenInPython, _NEW_WORD)[0]
    return undo


def _slot(owner: type, word: int) -> memoryview:
    import ctypes

    place = id(owner) + object.__basicsize__ + word * ctypes.sizeof(ctypes.c_size_t)
    return _as_words(ctypes.c_size_t.from_address(place))


# ---------------------------------------------------------------- functions written in Python
def _trampoline(*args: Any, **kwargs: Any) -> Any:
    replacement: Any = 0x0C0104175
    return replacement(*args, **kwargs)


def _in_a_class() -> Any:
    __class__: Any = None

    def trampoline(*args: Any, **kwargs: Any) -> Any:
        replacement: Any = 0x0C0104175
        return replacement(*args, **kwargs) if __class__ is not replacement else None

    return trampoline


def _replace_code(function: FunctionType, replacement: Callable[..., Any]) -> Undo:
    before, template = function.__code__, _trampoline.__code__
    if before.co_freevars:  # it calls super(), and the new code must take its closure over
        template = _in_a_class().__code__
    constants = tuple(replacement if value == _PLACEHOLDER else value for value in template.co_consts)
    function.__code__ = template.replace(co_consts=constants, co_name=before.co_name)

    def undo() -> None:
        function.__code__ = before

    return undo


# ---------------------------------------------------------------- functions written in C
def _words(function: Any) -> memoryview:
    """The words of a C function behind its header; a slice of them is written in one go, under the interpreter lock."""
    import ctypes

    if not isinstance(function, BuiltinFunctionType):
        raise TypeError(f"{function!r} is no function written in C")
    words = (ctypes.c_size_t * _WORDS).from_address(id(function) + object.__basicsize__)
    return _as_words(words)


def _write(words: memoryview, values: list[int]) -> None:
    import ctypes

    words[:] = _as_words((ctypes.c_size_t * _WORDS)(*values))


def _as_words(memory: Any) -> memoryview:
    return memoryview(memory).cast("B").cast("P")


@cache
def _method_definition() -> Any:
    """CPython's PyMethodDef."""
    import ctypes

    class MethodDefinition(ctypes.Structure):
        _fields_ = [
            ("name", ctypes.c_char_p),
            ("function", ctypes.c_void_p),
            ("flags", ctypes.c_int),
            ("doc", ctypes.c_char_p),
        ]

    return MethodDefinition


def _replace_definition(function: Any, replacement: Callable[..., Any]) -> Undo:
    import ctypes

    words = _words(function)
    before = words.tolist()
    real = _method_definition().from_address(before[0])
    call = ctypes.cast(ctypes.pythonapi.PyObject_Call, ctypes.c_void_p)
    definition = _method_definition()(real.name, call, _TAKES_ANYTHING, real.doc)
    _kept.append(definition)
    _count_reference(replacement, 1)  # the one that the function holds
    _write(words, [ctypes.addressof(definition), id(replacement), *before[2:4], 0])
    _replaced[id(function)] = function
    copyreg.pickle(BuiltinFunctionType, _reduced)

    def undo() -> None:
        _write(words, [*before[:2], *words[2:4].tolist(), before[4]])
        _count_reference(replacement, -1)
        del _replaced[id(function)]
        if not _replaced:
            copyreg.dispatch_table.pop(BuiltinFunctionType, None)

    return undo


def _count_reference(value: Any, by: int) -> None:
    import ctypes

    count = ctypes.pythonapi.Py_IncRef if by > 0 else ctypes.pythonapi.Py_DecRef
    count.argtypes, count.restype = [ctypes.py_object], None
    count(value)


def _reduced(function: Any) -> Any:
    """What pickle makes of a C function: the name of a replaced one, as if it were still bound to its module."""
    return function.__name__ if id(function) in _replaced else function.__reduce__()
