"""What a sidecar that other machines can reach says at its start, and that it is true."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.support.listener import Listener
from tests.wire.http.running import running

OPEN = "--bind 0.0.0.0 lets whoever reaches this port call without showing who it is"
UNSERVED = "--bind 0.0.0.0 and no --allow-host: clients on other machines get 421"


def status(sidecar: Listener, host: str) -> int:
    """The status of a request that comes by this name."""
    port = urlsplit(sidecar.url).port
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    headers = {"Host": f"{host}:{port}", "Content-Type": "application/json", "Accept": "application/json"}
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}/mcp", body, headers), timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize("host", [None, "mcp.example"])
def test_a_listener_for_everybody_says_so_and_for_whom_it_is_not(tmp_path: Path, host: str | None) -> None:
    options = ("--bind", "0.0.0.0", *(("--allow-host", host) if host else ()))
    with running(tmp_path, *options) as sidecar:
        assert OPEN in sidecar.errors
        assert (UNSERVED in sidecar.errors) is (host is None)
        # A page cannot send the first of these names. Any program can, so --allow-host is no guard against those.
        assert status(sidecar, "localhost") != 421
        assert (status(sidecar, "mcp.example") == 421) is (host is None)


def test_a_listener_that_asks_for_tokens_by_its_name_says_nothing(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-thirty-two-characters\n")
    tokens.chmod(0o600)
    options = ("--bind", "0.0.0.0", "--allow-host", "mcp.example", "--auth-token-file", str(tokens))
    with running(tmp_path / "sidecar", *options) as sidecar:
        assert "--bind" not in sidecar.errors
        assert status(sidecar, "mcp.example") == 401


def test_a_listener_on_loopback_says_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as sidecar:
        assert "--bind" not in sidecar.errors
        assert "--allow-host" not in sidecar.errors


def test_a_name_for_a_tunnel_to_loopback_is_warned_of_and_opens_it(tmp_path: Path) -> None:
    with running(tmp_path, "--allow-host", "mcp.example") as sidecar:
        assert "--allow-host mcp.example lets whoever reaches a tunnel or a proxy to this port call" in sidecar.errors
        assert status(sidecar, "mcp.example") != 421


@pytest.mark.parametrize("folder", [0o755, 0o700])
def test_tokens_that_others_can_read_or_guess_are_warned_of_and_not_shown(tmp_path: Path, folder: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # every user gets as far as here
        Path(place).chmod(folder)
        tokens = Path(place) / "tokens"
        tokens.write_text("# ours\nshort-token-xyz\na-token-of-thirty-two-characters\n")
        tokens.chmod(0o644)
        with running(tmp_path, "--auth-token-file", str(tokens)) as sidecar:
            said = sidecar.errors
    assert (f"--auth-token-file: every user of this machine can read {tokens}: `chmod o-r" in said) is (folder == 0o755)
    assert f"--auth-token-file: {tokens}:2: a token of fewer than 16 characters can be guessed" in said
    assert f"{tokens}:3" not in said
    assert "xyz" not in said
    assert "thirty" not in said
