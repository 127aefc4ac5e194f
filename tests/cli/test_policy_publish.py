"""`sidecar policy publish` as people run it: what it prints, how it ends, and that it keeps secrets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sidecar.distribution.label import label
from sidecar.engine.sign import of_publisher, signed
from sidecar.policy import archive
from tests.distribution.made import packed
from tests.engine.policy_keys import RSA, private_pem
from tests.support import SIDECAR
from tests.support.scripted_http import reply, scripted


def publish(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it with nothing in the environment but what is named."""
    return subprocess.run(
        [SIDECAR, "policy", "publish", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin:/bin", **env}, check=False,
    )  # fmt: skip


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A signed bundle of serial 1."""
    path = tmp_path / "first.tar.gz"
    path.write_bytes(archive.write(signed(archive.read(packed()), of_publisher(private_pem(RSA), "a key"))))
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "private.pem"
    path.touch(0o600)
    path.write_text(private_pem(RSA))
    return path


def test_it_prints_revision_and_serial(tmp_path: Path, bundle: Path) -> None:
    place = tmp_path / "published"
    found = label(bundle.read_bytes())
    for said in ("published", "already there"):
        done = publish(bundle, place)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{place}: {said}\nrevision {found.revision}\nserial 1\n"
    assert (place / "bundle.tar.gz").read_bytes() == bundle.read_bytes()


def test_a_refusal_is_one_line_and_status_1(tmp_path: Path, bundle: Path) -> None:
    place = tmp_path / "published"
    other = tmp_path / "other.tar.gz"
    other.write_bytes(packed("default: deny\n"))
    assert publish(bundle, place).returncode == 0
    for file, why in ((other, "has serial 1 with other content"), (tmp_path / "none", "cannot read the bundle")):
        done = publish(file, place)
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
        assert why in done.stderr


@pytest.mark.parametrize(
    "arguments", [("s3://b/c",), ("http://127.0.0.1:1",), ("d", "--key", "k.pem"), ("https://n:hunter2@example.com/b",)]
)
def test_wrong_usage_is_status_2(bundle: Path, key: Path, arguments: tuple[str, ...]) -> None:
    done = publish(bundle, *(str(key) if word == "k.pem" else word for word in arguments))
    assert done.returncode == 2, done.stderr
    assert "hunter2" not in done.stderr


def test_a_rollback_names_a_file_or_a_serial(tmp_path: Path, bundle: Path, key: Path) -> None:
    place = tmp_path / "published"
    second = tmp_path / "second.tar.gz"
    files = archive.read(packed("default: deny\n", 2))
    second.write_bytes(archive.write(signed(files, of_publisher(private_pem(RSA), "a key"))))
    for file in (bundle, second):
        assert publish(file, place).returncode == 0
    assert publish(bundle, place).returncode == 1
    unsigned = publish("1", place, "--rollback")
    assert unsigned.returncode == 2
    assert "give --key" in unsigned.stderr
    done = publish("1", place, "--rollback", "--key", key)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("serial 3\n")
    done = publish(second, place, "--rollback", SIDECAR_POLICY_KEY=private_pem(RSA))
    assert done.stdout.endswith("serial 4\n"), done.stderr
    revisions = [label((place / f"serial-{serial}.tar.gz").read_bytes()).revision for serial in range(1, 5)]
    assert revisions == [revisions[0], revisions[1]] * 2
    missing = publish("77", place, "--rollback", "--key", key)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "has no serial 77" in missing.stderr


def test_a_token_is_shown_to_the_place_and_to_nobody_else(tmp_path: Path, bundle: Path) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("t0ken\n")
    with scripted(lambda _: reply(403)) as server:
        for done in (
            publish(bundle, f"{server.url}/b", "--policy-token-file", token),
            publish(bundle, f"{server.url}/b", SIDECAR_POLICY_TOKEN="t0ken"),
        ):
            assert done.returncode == 1
            assert "does not let us in" in done.stderr
            assert "t0ken" not in done.stdout + done.stderr
        assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer t0ken"}
    both = publish(bundle, f"{server.url}/b", "--policy-token-file", token, SIDECAR_POLICY_TOKEN="t0ken")
    assert both.returncode == 2
