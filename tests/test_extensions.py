"""Code of users' own: it is found by its name, errors say where and what to do, and nothing is left behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from colonysim.extensions import BadCode, Loader


def load(folder: Path, code: str, what: str = "function", fits: Callable[[Any], bool] = callable) -> Any:
    loader = Loader(folder)
    with loader.active():
        return loader.load(code, what, fits)


def test_a_package_that_an_extra_brings_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycolonies", None)
    (tmp_path / "mine.py").write_text("from pycolonies import Colonies\n")
    with pytest.raises(BadCode, match=r"pycolonies.*\(mine\.py, line 1\); pip install 'colonysim\[sdk\]'"):
        load(tmp_path, "mine.py:f")


def is_class(thing: Any) -> bool:
    return isinstance(thing, type)


def test_a_name_leads_to_what_a_file_or_a_module_defines(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def twice(x):\n    return 2 * x\n")
    assert load(tmp_path, "mine.py:twice")(4) == 8
    assert load(tmp_path, f"{tmp_path}/mine.py:twice")(4) == 8
    assert load(tmp_path, "os.path:basename")("a/b") == "b"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "nowhere.py:f", ["nowhere.py cannot be read: No such file", "starts at the scenario's folder"]),
        ("", "folder.py:f", ["folder.py cannot be read: Is a directory"]),
        ("def f(:", "mine.py:f", ["mine.py:1: SyntaxError: invalid syntax"]),
        ("\n\nx = 1 / 0", "mine.py:f", ["mine.py cannot be loaded: ZeroDivisionError: division by zero (mine.py, line 3)"]),
        ("x = 1\nimport not_there", "mine.py:f", ["No module named 'not_there' (mine.py, line 2)"]),
        ("import broken", "mine.py:f", ["mine.py cannot be loaded: KeyError: 'x' (broken.py, line 2)"]),
        ("import torn", "mine.py:f", ["mine.py cannot be loaded: SyntaxError: invalid syntax (torn.py, line 1)"]),
        ("raise SystemExit(3)", "mine.py:f", ["mine.py cannot be loaded: SystemExit: 3 (mine.py, line 1)"]),
        ("raise ValueError('a\\nb')", "mine.py:f", ["ValueError: a (mine.py, line 1)"]),
        ("x = '\\0'.join(", "mine.py:f", ["mine.py:1: SyntaxError"]),
        ("def g(): pass\ndef _h(): pass", "mine.py:f", ["mine.py:f: no function is named 'f'; the module defines g"]),
        ("from os.path import basename", "mine.py:f", ["no function is named 'f'; the module defines no function: add one"]),
        ("f = [1]", "mine.py:f", ["mine.py:f: 'f' is a list, not a function"]),
        ("f = None", "mine.py:f", ["no function is named 'f'"]),
        ("", "no_such_package.parts:f", ["'no_such_package.parts' cannot be imported", "write file.py:function"]),
        ("", "os:no_such_thing", ["os:no_such_thing: no function is named 'no_such_thing'"]),
        ("", "mine.py", ["'mine.py' does not name code; write file.py:name or package.module:name"]),
        ("", "mine.py:", ["does not name code"]),
        ("", ":f", ["does not name code"]),
        ("", "mine.py:f.g", ["does not name code"]),
        ("", "a\0b.py:f", ["is not a valid path"]),
    ],
)  # fmt: skip
def test_code_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, text: str, code: str, words: list[str]) -> None:
    (tmp_path / "mine.py").write_text(text)
    (tmp_path / "broken.py").write_text("\n{}['x']\n")
    (tmp_path / "torn.py").write_text("def (")
    (tmp_path / "folder.py").mkdir()
    before = list(sys.path), set(sys.modules)
    with pytest.raises(BadCode) as refused:
        load(tmp_path, code)
    for word in words:
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (list(sys.path), set(sys.modules)) == before


def test_a_wrong_sort_of_thing_is_told_with_those_that_would_do(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class A: pass\nclass B: pass\ndef f(): pass\n")
    with pytest.raises(BadCode, match="'f' is a function, not a class; the module defines A, B"):
        load(tmp_path, "mine.py:f", "class", is_class)


def test_a_file_is_run_once_by_a_loader_and_anew_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import beside\nbeside.count()\ndef f():\n    return beside.counted\n")
    (tmp_path / "beside.py").write_text("counted = []\ndef count():\n    counted.append(1)\n")
    for _ in range(2):
        loader = Loader(tmp_path)
        with loader.active():
            first = loader.load("mine.py:f", "function", callable)
            assert loader.load("./mine.py:f", "function", callable) is first
        assert first() == [1]


def test_a_file_that_has_been_changed_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def f():\n    return 1\n")
    assert load(tmp_path, "mine.py:f")() == 1
    file.write_text("def f():\n    return 22\n")
    assert load(tmp_path, "mine.py:f")() == 22


def test_code_imports_what_is_beside_it_only_while_its_loader_is_active(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def f():\n    import beside_it\n    return id(beside_it)\n")
    (tmp_path / "beside_it.py").write_text("")
    loader, before = Loader(tmp_path), (list(sys.path), set(sys.modules))
    with loader.active():
        f = loader.load("mine.py:f", "function", callable)
        with loader.active():
            first = f()
        assert f() == first
    assert (list(sys.path), set(sys.modules)) == before
    with pytest.raises(ModuleNotFoundError):
        f()
    with loader.active():
        assert f() == first
    assert (list(sys.path), set(sys.modules)) == before


def test_files_of_the_same_name_in_two_folders_are_two(tmp_path: Path) -> None:
    loader = Loader(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(f"class Own:\n    name = {name!r}\n")
    with loader.active():
        first, second = (loader.load(f"{name}/mine.py:Own", "class", is_class) for name in ("a", "b"))
        assert (first.name, second.name) == ("a", "b")
        assert sys.modules[first.__module__] is not sys.modules[second.__module__]


def test_a_file_is_run_as_it_stands_without_the_settings_of_ours(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def f(x: 1 + 1):\n    pass\n")
    assert load(tmp_path, "mine.py:f").__annotations__ == {"x": 2}
