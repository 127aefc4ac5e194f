"""A pod of the manifests, played by podman: the images, users, volumes and files as they will be in a cluster.

`make pod-test` runs it; it needs root. What podman cannot show (the order of starting, probes by the kubelet, the
NetworkPolicy) is asserted on the manifests alone.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.pod_manifest import playable
from tests.deploy.test_manifests import built
from tests.support import ROOT
from tests.support.peer import SECONDS, denied, kind, until

pytestmark = [pytest.mark.pod, pytest.mark.timeout(300)]

POD_IP = "192.0.2.1"
UPSTREAM = "127.0.0.1:9000"
"""Where the server of the pod listens."""
POLICY = """
default: deny
tools:
  echo: {rules: [{rate_limit: 100000/minute}]}
  slow: {rules: []}
  erase: {rules: [{action: deny, reason: Never}]}
"""
SERVER = """
import asyncio, pathlib
from fastmcp import FastMCP

server = FastMCP("pod")
tmp = pathlib.Path("/tmp")

@server.tool
def echo(text: str) -> str:
    return text

@server.tool
def erase(text: str) -> str:
    (tmp / "erased").touch()
    return text

@server.tool
async def slow(text: str) -> str:
    (tmp / "began").touch()
    while not (tmp / "go").exists():
        await asyncio.sleep(0.01)
    return text

server.run(transport="http", host="127.0.0.1", port=9000, show_banner=False)
"""


def podman(*words: str, check: bool = True) -> str:
    done = subprocess.run(
        [str(ROOT / "deploy" / "podman"), *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


class Pod:
    """The pod that runs; its network has no way out, and one address that is not loopback."""

    def __init__(self) -> None:
        self.network = f"--net=/proc/{podman('inspect', 'mcp-app', '--format', '{{.State.Pid}}')}/ns/net"
        self._in_network("ip", "address", "add", f"{POD_IP}/32", "dev", "lo")

    def call(self, tool: str, text: str = "", port: int = 8080, host: str = "mcp") -> Any:
        """What a client at the pod's address gets."""
        return answer(self.calling(tool, text, port, host))

    def calling(self, tool: str, text: str = "", port: int = 8080, host: str = "mcp") -> subprocess.Popen[str]:
        """The client of a call, still running."""
        client = Path(__file__).parent / "pod_client.py"
        words = [sys.executable, str(client), f"http://{POD_IP}:{port}/mcp", host, tool, text]
        return subprocess.Popen(
            ["nsenter", self.network, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def is_ready(self) -> bool:
        """What the readiness probe says."""
        return podman("exec", "mcp-sidecar", "sidecar", "health", check=False) == "ready"

    def restore(self) -> None:
        """Start again what does not run, as the kubelet does, and wait until the pod is ready."""
        for name in ("mcp-opa", "mcp-sidecar"):
            podman("start", name)
        until(self.is_ready, 4 * SECONDS, "readiness")

    def listening(self) -> set[str]:
        """Every address and port at which something of the pod listens, but for loopback."""
        return {address for address in self.sockets() if not re.match(r"(127\.|\[::1\])", address)}

    def sockets(self) -> set[str]:
        """Every address and port at which something of the pod listens."""
        lines = self._in_network("ss", "--listening", "--tcp", "--numeric", "--no-header").splitlines()
        return {line.split()[3] for line in lines}

    def _in_network(self, *words: str) -> str:
        done = subprocess.run(["nsenter", self.network, *words], capture_output=True, text=True, timeout=60, check=True)
        return done.stdout


def answer(client: subprocess.Popen[str]) -> Any:
    """What the client got; what it says afterwards is about taking leave of a server that may be gone."""
    return json.loads(client.communicate(timeout=60)[0].splitlines()[0])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    path = tmp_path_factory.mktemp("pod") / "pod.yaml"
    path.write_text(yaml.safe_dump_all(playable(list(built("overlays/beside-server")), POLICY, SERVER)))
    podman("pod", "rm", "--force", "--ignore", "mcp")
    podman("kube", "play", "--network", "none", str(path))
    pod = Pod()
    # The sidecar may be ready before the server is: it waits for none.
    until(lambda: UPSTREAM in pod.sockets(), 4 * SECONDS, "the server")
    yield pod
    podman("kube", "down", str(path))


@pytest.fixture
def pod(played: Pod) -> Pod:
    played.restore()
    return played


def test_a_client_calls_through_the_sidecar_and_is_refused_what_policy_forbids(pod: Pod) -> None:
    assert pod.call("echo", "Grüezi")["content"][0]["text"] == "Grüezi"
    assert denied({"result": pod.call("erase")}) == "Never"
    assert podman("exec", "mcp-app", "ls", "/tmp").split().count("erased") == 0


def test_only_the_sidecar_listens_beyond_loopback(pod: Pod) -> None:
    assert pod.listening() == {"0.0.0.0:8080", "0.0.0.0:9464"}
    assert "error" in pod.call("echo", port=9000)


def test_a_foreign_host_is_turned_away(pod: Pod) -> None:
    assert "error" in pod.call("echo", host="attacker.example")
    assert "error" not in pod.call("echo", host="mcp.default.svc.cluster.local:8080")


def test_without_opa_calls_are_refused_and_pass_again_when_it_was_started_again(pod: Pod) -> None:
    podman("kill", "mcp-opa")
    until(lambda: kind({"result": pod.call("echo")}) == "engine_unavailable")
    assert not pod.is_ready()
    pod.restore()
    assert pod.call("echo", "back")["content"][0]["text"] == "back"


def test_without_the_sidecar_the_server_cannot_be_reached(pod: Pod) -> None:
    podman("kill", "mcp-sidecar")
    podman("wait", "mcp-sidecar")
    assert pod.listening() == set()
    assert "error" in pod.call("echo")
    assert "error" in pod.call("echo", port=9000)


def test_a_sidecar_that_is_asked_to_end_lets_the_call_in_flight_finish(pod: Pod) -> None:
    client = pod.calling("slow", "late")
    until(lambda: "began" in podman("exec", "mcp-app", "ls", "/tmp"), 4 * SECONDS)
    podman("kill", "--signal", "TERM", "mcp-sidecar")
    podman("exec", "mcp-app", "touch", "/tmp/go")
    assert answer(client)["content"][0]["text"] == "late"
    assert podman("wait", "mcp-sidecar") == "0"


def test_nobody_is_root_or_writes_where_it_should_not(pod: Pod) -> None:
    for name, user in (("mcp-sidecar", "10001"), ("mcp-opa", "10001"), ("mcp-app", "10002")):
        assert podman("exec", name, "id", "-u") == user
        assert podman("exec", name, "sh", "-c", "touch /x /etc/x 2>/dev/null || echo read-only") == "read-only"
        assert "CapEff:\t0000000000000000" in podman("exec", name, "cat", "/proc/self/status")
    assert (
        podman("exec", "mcp-app", "sh", "-c", "ls /run/intercept /etc/opa /etc/bundle* 2>/dev/null; echo nothing")
        == "nothing"
    )
    assert (
        podman("exec", "mcp-opa", "stat", "--format", "%a", "/run/intercept/opa.sock", "/run/intercept/token")
        == "600\n600"
    )
