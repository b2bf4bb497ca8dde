"""Which names a synchronised folder takes from a server, whatever that says."""

from __future__ import annotations

from pathlib import Path

import pytest

from colonysim.sdk.s3 import UnsafeName, _inside


@pytest.mark.parametrize(
    "parts",
    [
        ["../x"],
        ["/x"],
        ["a/../../x"],
        ["a/b"],
        ["x\0y"],
        ["a", ".."],
        ["a", "", "b"],
        [""],
        ["..\\x"],
        ["C:"],
        ["\\\\h"],
    ],
)
def test_a_name_that_is_none_of_a_file_is_refused(tmp_path: Path, parts: list[str]) -> None:
    with pytest.raises(UnsafeName, match=r"file 'f' cannot be synchronised: .* is not a file name in .*; rename it"):
        _inside(tmp_path, tmp_path, parts, "file 'f'")


def test_a_link_is_followed_before_it_is_judged(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "real").mkdir(parents=True)
    (top / "out").symlink_to(tmp_path)
    (top / "in").symlink_to(top / "real")
    with pytest.raises(UnsafeName, match="points outside"):
        _inside(top, top, ["out", "x"], "file 'x'")
    assert _inside(top, top, ["in", "..x", "...", "ü b"], "file 'x'") == top / "in" / "..x" / "..." / "ü b"
