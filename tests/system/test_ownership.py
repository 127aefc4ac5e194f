"""What we decide by must be ours or root's, and nobody else may change it or put another in its place."""

from __future__ import annotations

import grp
import os
import pwd
import re
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from sidecar.errors import StartError
from sidecar.system import ownership
from sidecar.system.ownership import check, everybody_reads, is_ours
from tests.support import OPA, SIDECAR, STUB
from tests.support.peer import SECONDS, Sidecar

SOMEBODY = 4711
NOBODY = 65534
trusted = ownership._trusted


@pytest.fixture(autouse=True)
def _nobody_installed_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "_trusted", lambda: frozenset({0, os.geteuid()}))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A file in a folder in a folder, all of them ours alone."""
    folder = tmp_path / "outer" / "inner"
    folder.mkdir(parents=True, mode=0o700)
    path = folder / "file"
    path.touch(mode=0o600)
    return path


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file belong to somebody else; without root's rights, let us be somebody else instead."""
    if os.geteuid() == 0:
        os.chown(path, SOMEBODY, -1, follow_symlinks=False)
    else:
        monkeypatch.setattr(ownership, "_trusted", lambda: frozenset({0}))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o644, 0o755, 0o640])
def test_what_is_ours_alone_passes_whoever_may_read_it(place: Path, mode: int) -> None:
    place.chmod(mode)
    check(place, "the file")
    check(place.parent, "the folder")


@pytest.mark.parametrize("step", [".", "..", "../.."])
@pytest.mark.parametrize(("more", "who"), [(0o002, "everybody"), (0o020, "group")])
def test_what_others_may_write_is_refused_and_so_is_every_folder_on_the_way(
    place: Path, step: str, more: int, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "_is_private", lambda found: False)
    opened = place if step == "." else (place / step).resolve()
    opened.chmod(opened.stat().st_mode | more)
    with pytest.raises(StartError, match=f"^the file: {who}.* may write {opened} .*`chmod go-w {opened}`$"):
        check(place, "the file")


def test_everybody_reads_what_lets_them_in_a_folder_that_lets_them(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # every user gets as far as here
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "file").touch()
        (folder / "link").symlink_to("file")
        for mode, of_folder, read in ((0o644, 0o755, True), (0o644, 0o711, True), (0o644, 0o750, False),
                                      (0o640, 0o755, False), (0o604, 0o777, True)):  # fmt: skip
            (folder / "file").chmod(mode)
            folder.chmod(of_folder)
            assert everybody_reads(folder / "file") is everybody_reads(folder / "link") is read
    assert not everybody_reads(tmp_path / "missing")


def test_what_is_to_be_typed_is_one_word_to_a_shell(place: Path) -> None:
    odd = place.with_name("a; true $(b)")
    place.rename(odd)
    odd.chmod(0o604)
    with pytest.raises(StartError, match=re.escape(f"`chmod o-r '{odd}'`")):
        check(odd, "the file", secret=True)
    odd.chmod(0o602)
    with pytest.raises(StartError, match=re.escape(f"`chmod go-w '{odd}'`")):
        check(odd, "the file")


def test_in_a_folder_with_the_sticky_bit_nobody_replaces_what_is_ours(place: Path) -> None:
    place.parent.chmod(0o1777)
    check(place, "the file")
    with pytest.raises(StartError, match="everybody may write"):
        check(place.parent, "the folder")  # anybody may put files into it


@pytest.mark.parametrize("step", [".", "..", "../.."])
def test_what_is_somebody_elses_is_refused(place: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    give_away(place if step == "." else (place / step).resolve(), monkeypatch)
    with pytest.raises(StartError, match=r"^the file: .* belongs to user \d+, .*must be ours"):
        check(place, "the file")


def test_a_link_of_somebody_else_is_refused_wherever_it_leads(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o1777)
    link = tmp_path / "link"
    link.symlink_to(place)
    check(link, "the file")
    give_away(link, monkeypatch)
    with pytest.raises(StartError, match="belongs to user"):
        check(link, "the file")


@pytest.mark.parametrize("relative", [True, False])
def test_where_a_link_leads_counts_and_so_do_links_on_the_way(place: Path, tmp_path: Path, relative: bool) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "next").symlink_to("../outer/inner" if relative else place.parent)
    (tmp_path / "first").symlink_to("bad/next" if relative else bad / "next")
    way = tmp_path / "first" / "file"
    check(way, "the file")
    bad.chmod(0o777)
    with pytest.raises(StartError, match=f"everybody may write {bad}"):
        check(way, "the file")
    place.chmod(0o666)
    bad.chmod(0o755)
    with pytest.raises(StartError, match=f"everybody may write {place}"):
        check(way, "the file")


def test_a_path_is_taken_as_it_is_written(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.parent)
    check(Path("../inner/./file"), "the file")
    place.chmod(0o666)
    with pytest.raises(StartError, match=f"everybody may write {place}"):
        check(Path("../inner/./file"), "the file")


def test_what_is_not_there_is_for_others_to_say(tmp_path: Path) -> None:
    check(tmp_path / "nothing" / "there", "the file")
    (tmp_path / "circle").symlink_to("circle")
    check(tmp_path / "circle", "the file")


def test_a_volume_may_be_open_to_whoever_mounts_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.parent.chmod(0o777)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == place.parent)
    check(place, "the file")
    check(place.parent, "the folder")
    place.parent.chmod(0o1777)
    with pytest.raises(StartError, match=f"everybody may write {place.parent} .*: name a folder in it"):
        check(place.parent, "the folder")
    check(place, "the file")


class _Account(NamedTuple):
    pw_name: str
    pw_uid: int
    pw_gid: int


class _Group(NamedTuple):
    gr_name: str
    gr_mem: list[str]


@pytest.mark.parametrize(
    ("group", "others", "passes"),
    [
        (_Group("alice", []), [], True),
        (_Group("alice", ["alice"]), [], True),
        (_Group("alice", ["alice", "bob"]), [], False),
        (_Group("alice", []), ["bob, whose group it is"], False),
        (_Group("staff", []), [], False),
    ],
)
def test_a_group_of_ones_own_is_nobody_else(
    place: Path, group: _Group, others: list[str], passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = place.stat().st_gid or 4321
    os.chown(place, -1, number)  # the group of root is no group of one's own
    accounts = [_Account("alice", place.stat().st_uid, number)]
    accounts += [_Account(name, place.stat().st_uid + 1, number) for name in others]
    monkeypatch.setattr(pwd, "getpwuid", lambda user: accounts[0])
    monkeypatch.setattr(pwd, "getpwall", lambda: accounts)
    monkeypatch.setattr(grp, "getgrgid", lambda number: group)
    place.chmod(0o660)
    if passes:
        check(place, "the file")
    else:
        with pytest.raises(StartError, match="group"):
            check(place, "the file")


def test_the_group_of_root_is_somebody_else(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In containers any user may be in it.
    monkeypatch.setattr(pwd, "getpwuid", lambda user: _Account("root", 0, 0))
    monkeypatch.setattr(grp, "getgrgid", lambda number: _Group("root", []))
    found = os.stat_result((*tuple(place.lstat())[:5], 0, *tuple(place.lstat())[6:]))
    assert not ownership._is_private(found)


def test_a_group_that_bounds_a_list_of_others_is_somebody_else(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listxattr", lambda path: ["system.posix_acl_access"])
    monkeypatch.setattr("sidecar.system.ownership._is_private", lambda found: True)
    place.chmod(0o660)
    with pytest.raises(StartError, match="group"):
        check(place, "the file")


def test_a_group_without_a_name_is_somebody_else(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(grp, "getgrgid", unknown)
    place.chmod(0o660)
    with pytest.raises(StartError, match="group"):
        check(place, "the file")


@pytest.mark.parametrize(("known", "taken"), [("0 0 4294967295\n", False), ("1000 1000 1\n", True)])
def test_in_a_sandbox_that_knows_no_root_its_files_are_nobodys(
    known: str, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"/proc/self/uid_map": known, "/proc/sys/kernel/overflowuid": f"{NOBODY}\n"}
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: files[str(path)])
    assert (NOBODY in trusted()) is taken
    assert {0, os.geteuid()} <= trusted()


def test_a_secret_may_be_read_by_its_group_but_not_by_everybody(place: Path) -> None:
    place.chmod(0o440)
    check(place, "the key", secret=True)
    place.chmod(0o444)
    with pytest.raises(StartError, match=f"^the key {place} can be read by everybody: `chmod o-r {place}`$"):
        check(place, "the key", secret=True)


def test_the_other_end_of_a_socket_is_known_by_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert is_ours(ours)
        if os.geteuid() != 0:
            monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
            assert not is_ours(ours)


# On the command line.


def refusal(folder: Path, *options: str) -> str:
    """What is said when a sidecar does not start."""
    (folder / "policy.yaml").write_text("default: deny\n")
    words = [str(SIDECAR), "run", "-c", str(folder / "policy.yaml"), "--state-dir", str(folder / "state"), *options]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def opened(tmp_path: Path) -> Path:
    """A file that everybody may write."""
    path = tmp_path / "opened"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    path.chmod(0o666)
    return path


@pytest.mark.parametrize(
    "options",
    [
        ("--opa-bin", "{}", "--", "true"),
        ("--transport", "http", "--port", "0", "--auth-token-file", "{}", "--", "true"),
        (
            "--transport", "http", "--port", "0", "--jwt-jwks", "{}", "--jwt-issuer", "i", "--jwt-audience", "a",
            "--", "true",
        ),
        ("--upstream", "http://127.0.0.1:1/mcp", "--header", "Authorization: file:{}"),
        (
            "--opa-url", "unix:///run/opa.sock", "--bundle-token-file", "{}", "--bundle-signing-key", "/dev/null",
            "--", "true",
        ),
    ],
    ids=["opa", "tokens", "keys", "header", "bundle-token"],
)  # fmt: skip
def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path, opened: Path, options: tuple[str, ...]) -> None:
    said = refusal(tmp_path, *(word.format(opened) for word in options))
    assert f"everybody may write {opened} and so decide in our place: `chmod go-w {opened}`" in said


def test_a_signing_key_that_everybody_may_read_is_refused_without_showing_it(tmp_path: Path, opened: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    opened.chmod(0o644)
    said = refusal(
        tmp_path, "--opa-url", "unix:///run/opa.sock", "--bundle-token-file", str(token),
        "--bundle-signing-key", str(opened), "--", "true",
    )  # fmt: skip
    assert f"--bundle-signing-key {opened} can be read by everybody" in said
    assert opened.read_text().strip() not in said


@pytest.mark.parametrize("open_to_all", [True, False], ids=["open", "somebody-elses"])
def test_a_state_folder_that_is_not_ours_alone_is_refused(
    tmp_path: Path, open_to_all: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    if open_to_all or os.geteuid() != 0:
        state.chmod(0o777)
    else:
        os.chown(state, SOMEBODY, -1)
    said = refusal(tmp_path, "--", "true")
    assert "the state folder (--state-dir): " in said
    assert str(state) in said


def test_a_folder_for_temporary_files_in_which_everybody_may_rename_is_refused(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:  # `tmp_path` may be too long for a socket
        Path(temporary).chmod(0o777)
        with Sidecar(tmp_path, "tools: {}\n", env={"TMPDIR": temporary}, ready=False) as sidecar:
            assert sidecar.wait() == 1
            assert f"TMPDIR): everybody may write {temporary}" in sidecar.errors


def test_what_we_write_is_ours_alone_whatever_the_umask(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("tools: {}\n")
    command = f"umask 0 && exec {SIDECAR} run -c policy.yaml --state-dir state/of/ours -- python3 {STUB}"
    subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=True
    )
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state").rglob("*")}
    assert any(name.endswith(".jsonl") for name in modes)
    assert {modes.pop(folder) for folder in ("of", "ours", "events", "instances")} == {0o700}
    assert {mode for name, mode in modes.items() if not name.startswith("counters.db")} == {0o600}


@pytest.mark.parametrize("step", [".", ".."])
def test_a_policy_that_everybody_may_write_or_replace_is_warned_of(tmp_path: Path, step: str) -> None:
    policy = tmp_path / "policies" / "policy.yaml"
    policy.parent.mkdir()
    policy.write_text("tools: {}\n")
    opened = policy if step == "." else policy.parent
    opened.chmod(0o777)
    with Sidecar(tmp_path, policy, "--opa-bin", str(OPA)) as sidecar:
        assert f"{policy}: everybody may write {opened} and so decide in our place" in sidecar.errors


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_policy_of_somebody_else_is_warned_of(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("tools: {}\n")
    os.chown(policy, NOBODY, -1)
    with Sidecar(tmp_path, policy, "--opa-bin", str(OPA)) as sidecar:
        assert f"{policy}: {policy} belongs to user {NOBODY}" in sidecar.errors
