"""Where it runs: any locale, a temporary folder with a long path, and what a sidecar that was killed left there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import SIDECAR
from tests.support.peer import Sidecar, command_line, denied

ALLOW = "default: allow\n"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""Python then takes the machine for one that has no letters but those of ASCII."""
POLICY = """\
tools:
  t€: {rules: [{name: größe, action: deny, reason: Kostet 5 €}]}
  u: {rules: [{conditions: [{path: args.a, op: regex, value: €$}]}]}
"""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty temporary folder with a short path."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(path))
    yield path
    shutil.rmtree(path)


def folder_of(sidecar: Sidecar) -> Path:
    found = re.search(r"unix://(\S+)/opa\.sock", command_line(sidecar.opa))
    assert found is not None
    return Path(found[1])


# Letters.


def test_a_policy_with_any_letters_is_served_in_any_locale(tmp_path: Path) -> None:
    policy = tmp_path / "p€.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    with Sidecar(tmp_path, policy, "--server", "größe", env=ASCII) as sidecar:
        assert denied(sidecar.call("t€")) is not None
        assert denied(sidecar.call("u", {"a": "5 €"})) is None
        assert sidecar.end() == 0
        (line, _) = [one for one in sidecar.audit if one["tool"] in ("t€", "u")]
        assert (line["server"], line["rule"], line["reason"]) == ("größe", "größe", "Kostet 5 €")
        assert "denied t€ by größe (rule): Kostet 5 €" in sidecar.errors


@pytest.mark.parametrize("locale", [ASCII, {"LC_ALL": "C.UTF-8"}])
@pytest.mark.parametrize("name", ["p€.yaml", os.fsdecode(b"p\xff.yaml")])
def test_every_command_reads_and_writes_any_letters_in_any_locale(
    tmp_path: Path, locale: dict[str, str], name: str
) -> None:
    (tmp_path / name).write_text(POLICY.replace("{name: größe", "{nam: größe"), encoding="utf-8")
    (tmp_path / "ok.yaml").write_text(POLICY, encoding="utf-8")

    def said(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [SIDECAR, *words], cwd=tmp_path, env={**os.environ, **locale}, capture_output=True, timeout=60, check=False
        )
        return done.returncode, (done.stdout + done.stderr).decode("utf-8")

    status, text = said("validate", "-c", name)
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    assert (status, text.startswith(f"{shown}:2:17: tools.t€.rules[1]: ")) == (1, True), text
    assert said("compile", "-c", "ok.yaml", "-o", "out")[0] == 0
    assert said("compile", "-c", "ok.yaml", "-o", "out", "--check") == (0, "")
    status, text = said("explain", "-c", "ok.yaml", "t€", "--args", '{"é": "ü"}')
    assert (status, "deny: Kostet 5 €" in text) == (3, True), text


def test_logs_in_json_hold_any_letters_in_any_locale(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, "--log-format", "json", env=ASCII, ready=False) as sidecar:
        sidecar.call("t€")
        lines = [json.loads(line)["message"] for line in sidecar.errors_path.read_text(encoding="utf-8").splitlines()]
        assert any("Kostet 5 €" in line for line in lines)


# The temporary folder.


def test_a_long_path_of_the_temporary_folder_is_no_obstacle(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    with Sidecar(tmp_path, ALLOW, env={"TMPDIR": str(long)}) as sidecar:
        assert "result" in sidecar.call("t")
        folder = folder_of(sidecar)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert sidecar.end() == 0
        assert not folder.exists()


def test_what_a_killed_sidecar_left_is_removed_at_the_next_start_and_what_is_in_use_is_not(
    tmp_path: Path, short: Path
) -> None:
    (short / "intercept-run-mine").symlink_to(tmp_path)
    (short / "else").mkdir()
    with Sidecar(tmp_path, ALLOW) as living, Sidecar(tmp_path, ALLOW) as killed:
        used, left = folder_of(living), folder_of(killed)
        killed.process.kill()
        killed.wait()
        assert left.exists()
        with Sidecar(tmp_path, ALLOW) as third:
            assert not left.exists()
            assert used.exists()
            assert "result" in living.call("t")
            assert third.end() == 0
    assert sorted(path.name for path in short.iterdir()) == ["else", "intercept-run-mine"]
    assert tmp_path.exists()
