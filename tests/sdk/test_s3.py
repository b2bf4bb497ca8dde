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


def test_the_s3_fixtures_of_a_session_share_a_server_and_no_objects(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os
        import pytest

        boto3 = pytest.importorskip("boto3")
        pytest.importorskip("moto")
        ports = set()

        def client():
            return boto3.client(
                "s3",
                endpoint_url="http://" + os.environ["AWS_S3_ENDPOINT"],
                aws_access_key_id="k",
                aws_secret_access_key="k",
                region_name=os.environ["AWS_S3_REGION"],
            )

        def put():
            bucket = os.environ["AWS_S3_BUCKET"]
            client().create_bucket(Bucket=bucket)
            assert "Contents" not in client().list_objects_v2(Bucket=bucket)
            client().put_object(Bucket=bucket, Key="k", Body=b"v")
            ports.add(os.environ["AWS_S3_ENDPOINT"])

        @pytest.mark.parametrize("number", range(2))
        def test_alone(colonysim_s3, number):
            put()

        class TestShared:
            def test_one(self, colonysim_s3_class):
                put()

            def test_inner(self, colonysim_s3_class, colonysim_s3):
                put()

            def test_other(self, colonysim_s3_class):
                assert client().get_object(Bucket=os.environ["AWS_S3_BUCKET"], Key="k")["Body"].read() == b"v"

        def test_afterwards():
            assert len(ports) == 1
            assert "AWS_S3_BUCKET" not in os.environ
        """
    )
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=6)
