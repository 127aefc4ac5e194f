"""`sidecar policy build` as people run it: the same bytes each time, what it says, and what it refuses."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from sidecar.cli.policy_build import policy_build_command
from sidecar.distribution.admission import admit
from sidecar.distribution.label import label
from sidecar.engine.verify import verification_key, verify
from sidecar.policy import archive
from tests.engine.policy_keys import EC, NOON, RSA, only_at_random, private_pem, public_pem
from tests.repository.made import POLICY, REGO, git, repository
from tests.support import OPA, SIDECAR


def build(*arguments: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it with nothing in the environment but what is named."""
    return subprocess.run(
        [SIDECAR, "policy", "build", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, cwd=cwd, env={"PATH": "/usr/bin:/bin", **env}, check=False,
    )  # fmt: skip


def key_file(folder: Path, key: object = RSA, mode: int = 0o600) -> Path:
    path = folder / "private.pem"
    path.touch(mode)
    path.chmod(mode)
    path.write_text(private_pem(key))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return repository(tmp_path / "policy")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return key_file(tmp_path)


def said(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What it printed, by the first word of each line but the first."""
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines()[1:])


def test_it_builds_what_its_key_verifies_and_every_sidecar_admits(tmp_path: Path, folder: Path, key: Path) -> None:
    file = tmp_path / "p.tar.gz"
    done = build(folder, "-o", file, "--key", key, "--serial", 7, "--commit", "v1.2")
    assert done.stderr == ""
    data = file.read_bytes()
    bundle = admit(data, keys=(public_pem(RSA),), opa=OPA, name="p")
    assert done.stdout == (
        f"{file}: built\nrevision {bundle.revision}\nserial 7\ncommit v1.2\nsha256 {hashlib.sha256(data).hexdigest()}\n"
    )
    assert (bundle.serial, bundle.commit) == (7, "v1.2")
    assert label(data).signed
    names = archive.read(data).keys()
    assert {"intercept/custom/sevens.rego", "intercept/custom/more/data.json", "intercept/sources/data.json"} <= names
    assert not [name for name in names if "_test" in name or "README" in name]


def test_the_same_policy_key_and_serial_give_the_same_bytes_wherever_and_however(tmp_path: Path, key: Path) -> None:
    made = set[bytes]()
    for number, (mask, zone, seed, language) in enumerate(
        [(0o022, "UTC", "1", "C"), (0o077, "Asia/Tokyo", "2", "de_DE.UTF-8"), (0, "America/New_York", "3", "C.UTF-8")]
    ):
        place = repository(tmp_path / f"place-{number}" / ("deep/" * number) / "policy")
        os.utime(place / "policies" / "pay.yaml", (number * 1000, number * 1000))
        before = os.umask(mask)
        try:
            environment = {"TZ": zone, "PYTHONHASHSEED": seed, "LANG": language, "HOME": str(tmp_path)}
            done = build(place, "-o", "p.tar.gz", "--key", key, cwd=place.parent, **environment)
        finally:
            os.umask(before)
        assert done.returncode == 0, done.stderr
        made.add((place.parent / "p.tar.gz").read_bytes())
    (data,) = made
    assert admit(data, keys=(public_pem(RSA),), opa=OPA, name="p").serial == 1
    with tarfile.open(tmp_path / "place-0" / "p.tar.gz") as tar:
        assert {(one.mtime, one.uid, one.gid, one.uname, one.mode) for one in tar} == {(0, 0, 0, "", 0o644)}


def test_a_key_on_a_curve_gives_the_same_bytes_each_time_too(tmp_path: Path, folder: Path) -> None:
    key = key_file(tmp_path, EC)
    first, second = tmp_path / "1.tar.gz", tmp_path / "2.tar.gz"
    for file in (first, second):
        done = build(folder, "-o", file, "--key", key, "--serial", 3)
        assert (done.returncode, done.stderr) == (0, "")
    assert first.read_bytes() == second.read_bytes()
    verify(archive.read(first.read_bytes()), [verification_key(public_pem(EC), "k", NOON)], NOON)


def test_where_openssl_cannot_repeat_a_signature_the_build_says_so(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only_at_random(monkeypatch)
    file = tmp_path / "p.tar.gz"
    assert policy_build_command(folder, file, key_file(tmp_path, EC), 3, opa_bin=OPA) == 0
    assert f"{file} is not reproducible: " in capsys.readouterr().err
    verify(archive.read(file.read_bytes()), [verification_key(public_pem(EC), "k", NOON)], NOON)


def test_the_key_may_come_as_text_in_the_environment(tmp_path: Path, folder: Path, key: Path) -> None:
    by_file, by_text = tmp_path / "1.tar.gz", tmp_path / "2.tar.gz"
    said(build(folder, "-o", by_file, "--key", key))
    said(build(folder, "-o", by_text, SIDECAR_POLICY_KEY=private_pem(RSA)))
    assert by_file.read_bytes() == by_text.read_bytes()


def test_a_single_policy_file_is_built_too(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    said(build(policy, "-o", tmp_path / "p.tar.gz"))
    assert admit((tmp_path / "p.tar.gz").read_bytes(), keys=(), opa=OPA, name="p").commit == ""


@pytest.mark.parametrize(("made", "algorithm"), [(RSA, "RS256"), (EC, "ES256")], ids=["rsa", "ec"])
def test_a_plain_opa_verifies_it(tmp_path: Path, folder: Path, made: object, algorithm: str) -> None:
    said(build(folder, "-o", tmp_path / "p.tar.gz", "--key", key_file(tmp_path, made)))
    (tmp_path / "public.pem").write_text(public_pem(made))
    command: list[str | Path] = [
        OPA, "build", "--bundle", "p.tar.gz", "--verification-key", "public.pem", "--verification-key-id", "intercept",
        "--signing-alg", algorithm, "--scope", "intercept", "--output", "out.tar.gz",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


# What it says by itself.


def test_what_is_not_signed_and_has_no_serial_is_said(tmp_path: Path, folder: Path) -> None:
    done = build(folder, "-o", tmp_path / "p.tar.gz")
    assert said(done)["serial"] == "1"
    unsigned, serial = done.stderr.splitlines()
    assert "is not signed" in unsigned
    assert "--key PRIVATE.pem" in unsigned
    assert "serial 1, since --serial names none" in serial


def test_a_key_that_everybody_can_read_is_warned_of(tmp_path: Path, folder: Path) -> None:
    key = key_file(tmp_path, mode=0o644)
    done = build(folder, "-o", tmp_path / "p.tar.gz", "--key", key, "--serial", 2)
    assert said(done)["serial"] == "2"
    assert "can be read by everybody: `chmod o-r" in done.stderr


def test_it_names_the_commit_though_it_is_written_into_the_repository(folder: Path) -> None:
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    for _ in range(2):
        done = build(folder, "-o", folder / "p.tar.gz", "--serial", 1)
        assert said(done)["commit"] == git(folder, "rev-parse", "HEAD")


def test_what_is_not_as_the_commit_has_it_is_named(folder: Path) -> None:
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    (folder / "policies" / "pay.yaml").write_text(POLICY.replace("100", "200"))
    done = build(folder, "-o", folder / "p.tar.gz", "--serial", 1)
    marked = f"{git(folder, 'rev-parse', 'HEAD')}-dirty"
    assert said(done)["commit"] == marked
    assert f"policies/pay.yaml is not in the commit as read here, so the bundle names {marked}: " in done.stderr
    (folder / "rego" / "custom" / "more" / "data.json").write_text("{}")
    again = build(folder, "-o", folder / "p.tar.gz", "--serial", 1)
    assert "policies/pay.yaml, and 1 more, are not in the commit as read here" in again.stderr


# What it refuses.


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--serial", "0"], "--serial must be a number from 1 to"),
        (["--serial", str(2**53)], "--serial must be a number from 1 to"),
        (["--serial", "-1"], "--serial"),
        (["--serial", "x"], "--serial"),
        (["--commit", "two words"], "--commit must be"),
        (["--commit", "é"], "--commit must be"),
        (["--commit", "a" * 101], "--commit must be"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_status_2(
    tmp_path: Path, folder: Path, arguments: list[str], why: str
) -> None:
    done = build(folder, "-o", tmp_path / "p.tar.gz", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert why in done.stderr
    assert not (tmp_path / "p.tar.gz").exists()


def test_two_keys_are_a_question_and_no_answer(tmp_path: Path, folder: Path, key: Path) -> None:
    done = build(folder, "-o", tmp_path / "p.tar.gz", "--key", key, SIDECAR_POLICY_KEY=private_pem(RSA))
    assert done.returncode == 2
    assert "two answers to one question" in done.stderr


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_refused_and_not_shown(tmp_path: Path, folder: Path, text: str) -> None:
    (tmp_path / "k.pem").touch(0o600)
    (tmp_path / "k.pem").write_text(text or public_pem(RSA))
    done = build(folder, "-o", tmp_path / "p.tar.gz", "--key", tmp_path / "k.pem")
    assert (done.returncode, done.stdout) == (1, "")
    assert "openssl genpkey" in done.stderr
    assert not (tmp_path / "p.tar.gz").exists()


def test_an_empty_key_is_no_way_to_build_without_a_signature(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "k.pem").touch(0o600)
    done = build(folder, "-o", tmp_path / "p.tar.gz", "--key", tmp_path / "k.pem")
    assert (done.returncode, (tmp_path / "p.tar.gz").exists()) == (1, False)


def test_a_wrong_policy_is_told_with_every_line_and_the_old_file_stays(tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "p.tar.gz"
    file.write_bytes(b"old")
    (folder / "policies" / "pay.yaml").write_text(POLICY.replace("lte", "lt_e"))
    done = build(folder, "-o", file)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{folder}/policies/pay.yaml:4:" in done.stderr
    assert file.read_bytes() == b"old"
    assert not list(tmp_path.glob(".p.tar.gz*"))


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("evil.rego", "package intercept.policy\n\nproved := true\n", "evil.rego:1:"),
        ("evil.rego", "package system.authz\n\nallow := true\n", "evil.rego:1:"),
        ("a b.rego", REGO, "a b.rego"),
        ("ü.rego", REGO, ".rego"),
        ("SEVENS.rego", REGO, "some file systems take it for"),
        ("data.json", '{"a": 1, "a": 2}', "data.json"),
    ],
)
def test_hand_written_rego_that_no_sidecar_would_admit_is_not_built(
    tmp_path: Path, folder: Path, file: str, text: str, why: str
) -> None:
    (folder / "rego" / "custom" / file).write_text(text)
    done = build(folder, "-o", tmp_path / "p.tar.gz")
    assert (done.returncode, done.stdout) == (1, "")
    assert why in done.stderr
    assert not (tmp_path / "p.tar.gz").exists()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, folder: Path) -> None:
    for place in (tmp_path / "none" / "p.tar.gz", folder):
        done = build(folder, "-o", place, "--serial", 1)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"cannot write {place}: " in done.stderr.splitlines()[-1]


def test_a_bundle_is_not_built_again(tmp_path: Path, folder: Path) -> None:
    said(build(folder, "-o", tmp_path / "p.tar.gz"))
    done = build(tmp_path / "p.tar.gz", "-o", tmp_path / "q.tar.gz")
    assert (done.returncode, "is a bundle already" in done.stderr) == (2, True)
