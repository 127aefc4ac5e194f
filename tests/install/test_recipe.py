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
    "env GOPROXY") printf 'https://proxy.example\\n\\noff\\n\\n\\n\\n\\n\\n' ;;
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


def with_go(env: dict[str, str], *command: str, folder: Path = ROOT) -> str:
    """What a command prints with the Go of `env`."""
    return subprocess.run(
        [ROOT / ".ci" / "with-go", *command],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_what_go_keeps_is_in_one_folder(tmp_path: Path, env: dict[str, str]) -> None:
    folder = tmp_path / "folder"
    said = with_go(env, "sh", "-c", "echo $GOPATH $GOMODCACHE $GOCACHE $GOTMPDIR")
    assert said == f"{folder} {folder}/pkg/mod {folder}/cache {folder}/tmp\n"
    assert (folder / "tmp").is_dir()


def test_of_gos_settings_only_those_count_that_say_where_modules_come_from(env: dict[str, str]) -> None:
    hostile = {
        "GOFLAGS": "-overlay=/evil.json -tags=evil", "GOEXPERIMENT": "jsonv2", "GOROOT": "/evil", "GOARCH": "arm",
        "GOFIPS140": "latest", "GOCACHEPROG": "/evil", "GO111MODULE": "off", "GOTOOLCHAIN": "go1.99.0",
    }  # fmt: skip
    said = dict(line.split("=", 1) for line in with_go({**env, **hostile}, "env").splitlines() if line.startswith("GO"))
    assert said["GOFLAGS"] == "-modcacherw -buildvcs=false"
    assert (said["GOENV"], said["GOWORK"], said["GOTOOLCHAIN"]) == ("off", "off", "local")
    assert said.keys().isdisjoint(hostile.keys() - {"GOFLAGS", "GOTOOLCHAIN"})
    # As `go env` tells them, which knows what `go env -w` wrote.
    assert (said["GOPROXY"], said["GOSUMDB"]) == ("https://proxy.example", "off")


def test_a_go_mod_above_the_checkout_names_no_other_go(tmp_path: Path) -> None:
    # As anybody can put one into /tmp, where an sdist is unpacked.
    (tmp_path / "go.mod").write_text("module x\n\ngo 1.99.0\n")
    below = tmp_path / "below"
    below.mkdir()
    env = {**os.environ, "GOTOOLCHAIN": "auto", "GOPROXY": "off", "GO_FOLDER": str(tmp_path / "folder")}
    assert with_go(env, "--which", folder=below) == with_go(env, "--which", folder=Path("/"))


def test_the_version_of_a_go_whose_vendor_adds_words_is_one_word(tmp_path: Path, env: dict[str, str]) -> None:
    program(tmp_path / "path" / "go", "#!/bin/sh\necho 'go1.26.3 (Red Hat 1.26.3-1.el10)'\n")
    assert with_go(env, "--which") == "go1.26.3_Red_Hat_1.26.3-1.el10\n"


def recipe_says(tmp_path: Path, env: dict[str, str], go: str) -> subprocess.CompletedProcess[str]:
    """What comes of the recipe with a Go whose commands behind `env` are given, as cases of a shell."""
    program(tmp_path / "path" / "go", GO.replace('    "install -v")', f'{go}    "install -v")'))
    (tmp_path / "into").mkdir()
    return subprocess.run(
        [ROOT / ".ci" / "build-opa", "--into", tmp_path / "into" / "opa"], env=env, cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_an_opa_of_other_modules_is_refused_though_go_verified_nothing(tmp_path: Path, env: dict[str, str]) -> None:
    go = """\
    "install -v") mkdir -p "$GOPATH/bin" && printf '#!/bin/sh\\necho Version: 1.22.4\\n' >"$GOPATH/bin/opa"
        chmod 755 "$GOPATH/bin/opa" ;;
    "version -m") printf '\\tmod\\tgithub.com/open-policy-agent/opa\\tv1.22.4\\th1:another=\\n' ;;
"""
    done = recipe_says(tmp_path, {**env, "GOSUMDB": "off"}, go)
    assert done.returncode == 1
    assert "SECURITY ERROR: the modules in what was built have the hash" in done.stdout
    assert list((tmp_path / "into").iterdir()) == []


def test_a_token_in_the_url_of_a_module_proxy_is_not_shown(tmp_path: Path, env: dict[str, str]) -> None:
    go = """\
    "install -v") echo 'go: x: Get "https://t0ken@proxy.example/x/@v/list": 403 Forbidden' >&2; exit 1 ;;
"""
    done = recipe_says(tmp_path, env, go)
    assert done.returncode == 1
    assert 'Get "https://***@proxy.example/x/@v/list": 403 Forbidden' in done.stdout
    assert "t0ken" not in done.stdout


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
