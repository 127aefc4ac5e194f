"""An OPA without us: it pulls what we published to a registry, and verifies it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sidecar.engine.sign import of_publisher, signed
from sidecar.policy import archive
from tests.distribution.made import packed, run
from tests.distribution.publishing import published
from tests.engine.policy_keys import OTHER_RSA, RSA, private_pem, public_pem
from tests.support import OPA
from tests.support.peer import Peer, until


def by(key: object, policy: str, serial: int) -> bytes:
    files = archive.read(packed(policy, serial))
    return archive.write(signed(files, of_publisher(private_pem(key), "a key")))


@contextmanager
def opa(folder: Path, host: str, name: str) -> Iterator[tuple[httpx.Client, Peer]]:
    """An OPA that takes its policy from a registry; its log is on its error stream."""
    configuration = {
        "services": {"registry": {"url": f"http://{host}", "type": "oci"}},
        "bundles": {
            "policy": {
                "service": "registry",
                "resource": f"{host}/{name}:latest",
                "polling": {"min_delay_seconds": 1, "max_delay_seconds": 1},
                "signing": {"keyid": "intercept", "scope": "intercept"},
            }
        },
        "keys": {"intercept": {"algorithm": "RS256", "key": public_pem(RSA)}},
        "persistence_directory": str(folder / "kept"),
    }
    (folder / "opa.yaml").write_text(json.dumps(configuration))
    socket = folder / "opa.sock"
    command = [
        str(OPA), "run", "--server", "--addr", f"unix://{socket}", "--config-file", str(folder / "opa.yaml"),
        "--skip-version-check", "--log-level", "error",
    ]  # fmt: skip
    with Peer(command, folder) as running:
        until(socket.exists, what="opa")
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://opa") as client:
            yield client, running
        running.process.terminate()


def serial_of(client: httpx.Client) -> Any:
    return client.get("/v1/data/intercept/bundle/serial").json().get("result")


@pytest.mark.slow
def test_an_opa_without_us_pulls_and_verifies_what_we_published(tmp_path: Path, host: str) -> None:
    place = f"oci://{host}/plain/policy"
    run(published(place, by(RSA, "default: allow\n", 1)))
    with opa(tmp_path, host, "plain/policy") as (client, running):
        until(lambda: serial_of(client) == 1, what="the first bundle")
        call = {"version": 1, "method": "tools/call", "server": "s", "tool": "t", "arguments": {}}
        assert client.post("/v1/data/intercept/decision", json={"input": call}).json()["result"]["action"] == "allow"
        run(published(place, by(RSA, "default: deny\n", 2)))
        until(lambda: serial_of(client) == 2, what="the second bundle")
        assert client.post("/v1/data/intercept/decision", json={"input": call}).json()["result"]["action"] == "deny"
        run(published(place, by(OTHER_RSA, "default: allow\n", 3)))
        until(lambda: "verif" in running.errors, what="the refusal")
        assert serial_of(client) == 2
