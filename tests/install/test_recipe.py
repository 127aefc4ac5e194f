"""The scripts that fetch Go and build with it: which Go, where its caches are, and that nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.install.test_opa_cache import program
from tests.support import ROOT
from tests.support.signals import with_default_signals

GO = """\
#!/bin/sh
case "$1 $2" in
    "env GOVERSION") echo go1.26.6 ;;
    "env GOHOSTARCH") echo amd64 ;;
    "env GOFLAGS") echo "-buildvcs=false" ;;
    "install -v")
        mkdir -p "$GOMODCACHE/x" "$GOCACHE" && echo fetched >"$GOMODCACHE/x/y" && echo in the works
        while :; do sleep 0.1; done ;;
esac
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment with a Go that never ends what it builds."""
    program(tmp_path / "path" / "go", GO)
    return {**os.environ, "PATH": f"{tmp_path / 'path'}:{os.environ['PATH']}", "GO_FOLDER": str(tmp_path / "folder")}


def test_what_go_keeps_is_in_one_folder_and_the_flags_that_are_set_stay(tmp_path: Path, env: dict[str, str]) -> None:
    done = subprocess.run(
        [ROOT / ".ci" / "with-go", "sh", "-c", "echo $GOPATH $GOMODCACHE $GOCACHE; echo $GOFLAGS"],
        env=env, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    folder = tmp_path / "folder"
    assert done.stdout == f"{folder} {folder}/pkg/mod {folder}/cache\n-buildvcs=false -modcacherw\n"


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_stopped_leaves_nothing(tmp_path: Path, env: dict[str, str], by: signal.Signals) -> None:
    into = tmp_path / "into"
    into.mkdir()
    command = with_default_signals([ROOT / ".ci" / "build-opa", "--into", into / "opa"])
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("building OPA 1.22.4 for amd64 with go1.26.6")
        assert process.stdout.readline() == "in the works\n"
        assert list(into.glob("building-opa-*/pkg/mod/x/y"))
        os.killpg(process.pid, by)
        assert process.wait(60)
    assert list(into.iterdir()) == []
