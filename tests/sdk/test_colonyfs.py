"""pycolonies moves real bytes to and from S3, with the server's knowledge of files in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cfs import CFS

from .conftest import Sdk

pytestmark = [
    pytest.mark.usefixtures("colonysim_s3"),
    # botocore still calls datetime.utcnow, moto parses XML in an old way: neither is ours
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def test_a_file_goes_up_and_comes_down(sdk: Sdk, tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_text("Hello")
    sdk.client.upload_file("dev", sdk.user_key, filepath=str(tmp_path / "hello.txt"), label="/myfiles")
    got = sdk.client.download_file(
        "dev", sdk.user_key, dst=str(tmp_path / "there"), label="/myfiles", filename="hello.txt"
    )
    assert Path(got).read_text() == "Hello"
    (known,) = sdk.client.get_files("/myfiles", "dev", sdk.user_key)
    assert (known["name"], known["size"]) == ("hello.txt", 5)


def test_bytes_go_up_and_come_down_by_id_and_by_name(sdk: Sdk) -> None:
    data = bytes(range(256)) * 100
    file = sdk.client.upload_data("dev", sdk.user_key, filename="data", data=data, label="/raw")
    assert sdk.client.download_data("dev", sdk.user_key, label="/raw", filename="data") == data
    assert sdk.client.download_data("dev", sdk.user_key, fileid=file["fileid"]) == data


def test_a_new_revision_hides_the_old_one(sdk: Sdk) -> None:
    for text in (b"one", b"two"):
        sdk.client.upload_data("dev", sdk.user_key, filename="f", data=text, label="/l")
    assert sdk.client.download_data("dev", sdk.user_key, label="/l", filename="f") == b"two"
    assert len(sdk.client.get_file("dev", sdk.user_key, label="/l", filename="f", latest=False)) == 2


def test_a_deleted_file_is_gone(sdk: Sdk) -> None:
    sdk.client.upload_data("dev", sdk.user_key, filename="f", data=b"x", label="/l")
    sdk.client.delete_file("dev", sdk.user_key, label="/l", filename="f")
    assert not sdk.client.get_files("/l", "dev", sdk.user_key)


def test_a_snapshot_keeps_the_files_it_was_made_of(sdk: Sdk) -> None:
    file = sdk.client.upload_data("dev", sdk.user_key, filename="f", data=b"old", label="/l")
    snapshot: dict[str, Any] = sdk.client.create_snapshot("dev", "/l", "s", sdk.user_key)
    sdk.client.upload_data("dev", sdk.user_key, filename="f", data=b"new", label="/l")
    assert snapshot["fileids"] == [file["fileid"]]
    assert sdk.client.download_data("dev", sdk.user_key, fileid=snapshot["fileids"][0]) == b"old"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "here" / "subdir").mkdir(parents=True)
    (tmp_path / "here" / "hello.txt").write_text("Hello")
    (tmp_path / "here" / "subdir" / "hello2.txt").write_text("Hello 2")
    return tmp_path / "here"


def test_folders_are_synchronised_by_way_of_a_label(sdk: Sdk, here: Path, tmp_path: Path) -> None:
    """The walk of the command-line guide: up from one folder, down into another."""
    there = tmp_path / "there"
    sdk.client.sync(str(here), "myfiles", True, "dev", sdk.user_key)
    labels = sdk.client.get_file_labels("dev", sdk.user_key)
    assert {label["name"]: label["files"] for label in labels} == {"/myfiles": 1, "/myfiles/subdir": 1}
    sdk.client.sync(str(there), "/myfiles", False, "dev", sdk.user_key)
    assert (there / "hello.txt").read_text() == "Hello"
    assert (there / "subdir" / "hello2.txt").read_text() == "Hello 2"


def test_the_class_of_the_shared_library_synchronises_as_the_client_does(sdk: Sdk, here: Path, tmp_path: Path) -> None:
    there, port = tmp_path / "there", sdk.client.port
    CFS().sync("localhost", port, False, False, str(here), "/l", True, "dev", sdk.user_key)
    CFS().sync("localhost", port, False, False, str(there), "/l", False, "dev", sdk.user_key)
    assert tree(there) == {"hello.txt": b"Hello", "subdir/hello2.txt": b"Hello 2"}


@pytest.mark.parametrize(("keeplocal", "kept"), [(True, "mine"), (False, "Hello")])
def test_of_two_versions_one_is_kept(sdk: Sdk, here: Path, keeplocal: bool, kept: str) -> None:
    sdk.client.sync(str(here), "/l", True, "dev", sdk.user_key)
    (here / "hello.txt").write_text("mine")
    sdk.client.sync(str(here), "/l", keeplocal, "dev", sdk.user_key)
    assert (here / "hello.txt").read_text() == kept
    assert sdk.client.download_data("dev", sdk.user_key, label="/l", filename="hello.txt") == kept.encode()


UNSAFE_NAMES = ["..", ".", "..\\x", "c:x"]  # the SDK itself uploads a path as its last part
UNSAFE_LABELS = ["/l/..", "/l/../..", "/l/a/../../x", "/l//x", "/l/.", "/l/..\\x", "/l/c:"]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("label", "name"), [*(("/l", name) for name in UNSAFE_NAMES), *((label, "x") for label in UNSAFE_LABELS)]
)
def test_nothing_is_synchronised_where_a_name_leads_out(
    sdk: Sdk, here: Path, tmp_path: Path, label: str, name: str
) -> None:
    sdk.client.upload_data("dev", sdk.user_key, filename="a first one", data=b"good", label="/l")
    sdk.client.upload_data("dev", sdk.user_key, filename=name, data=b"evil", label=label)
    before = tree(tmp_path)
    with pytest.raises(ValueError, match=r"cannot be synchronised: .* is not a file name in .*; rename it"):
        sdk.client.sync(str(here), "/l", False, "dev", sdk.user_key)
    assert tree(tmp_path) == before
    assert [file["name"] for file in sdk.client.get_files("/l", "dev", sdk.user_key) or ()][:1] == ["a first one"]


@pytest.mark.parametrize("link", ["subdir2", "evil.txt"])
def test_nothing_is_synchronised_where_a_link_leads_out(sdk: Sdk, here: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (here / link).symlink_to(outside if link == "subdir2" else outside / "secret")
    with pytest.raises(ValueError, match=r"it points outside .*; remove the link"):
        sdk.client.sync(str(here), "/l", False, "dev", sdk.user_key)
    assert tree(outside) == {"secret": b"secret"}
    assert not sdk.client.get_file_labels("dev", sdk.user_key)


def test_a_label_that_only_begins_alike_is_left_alone(sdk: Sdk, here: Path) -> None:
    sdk.client.upload_data("dev", sdk.user_key, filename="x", data=b"x", label="/label")
    before = tree(here)
    sdk.client.sync(str(here), "/l", False, "dev", sdk.user_key)
    assert tree(here) == before
