"""The sidecars of the scripted traffic, started and ended: two of a shop on HTTP, one of a desk on stdio."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from programs.traffic.policies import DESK, candidate, shop
from programs.traffic.server import shop_server
from tests.support import OPA, SIDECAR, STUB
from tests.support.listener import Listener
from tests.support.peer import Peer, child_pids, command_line
from tests.support.receiver import TAKEN, receiving, status
from tests.wire.http.server import Upstream

TOKEN: Final = "a-token-of-the-shop"
APPROVER: Final = "a-token-of-ann-who-may-approve"


@dataclass(frozen=True, slots=True)
class Place:
    """One sidecar, and the labels that a pod of it has."""

    namespace: str
    pod: str
    process: Peer
    state: Path

    @property
    def telemetry(self) -> str:
        """`HOST:PORT` of its metrics."""
        found = re.search(r"telemetry on http://([^/\s]+)", self.process.errors)
        assert found is not None, self.process.errors
        return found[1]

    @property
    def opa(self) -> int | None:
        """The process id of the engine that decides for it; None while there is none."""
        found = [pid for pid in child_pids(self.process.process.pid) if command_line(pid).startswith(str(OPA))]
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class World:
    """Everything that runs. `folder` has the policies, the bundles, and the state of each server."""

    folder: Path
    shop: Place
    shop_too: Place
    desk: Place
    till: Place
    server: Upstream

    @property
    def places(self) -> tuple[Place, ...]:
        """Every sidecar."""
        return self.shop, self.shop_too, self.desk, self.till

    @property
    def policy(self) -> Path:
        """The shop's policy file."""
        return self.folder / "shop.yaml"

    def publish(self, text: str, serial: int) -> None:
        """Build the desk's policy as a bundle and publish it."""
        publish(self.folder, text, serial)


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """All of it, for the length of a `with`."""
    (folder / "till.yaml").write_text(DESK)
    (folder / "tokens").write_text(TOKEN + "\n")
    _private(folder / "approvers.yaml", f"approvers:\n  - {{name: ann, token_sha256: {_digest(APPROVER)}}}\n")
    _key(folder)
    publish(folder, DESK, 1)
    with ExitStack() as running:
        server = running.enter_context(shop_server())
        # The first message is not taken, and sent again.
        webhook = running.enter_context(receiving(status(503), TAKEN))
        policy = shop(webhook.url)
        (folder / "shop.yaml").write_text(policy)
        (folder / "candidate.yaml").write_text(candidate(policy))
        spans = running.enter_context(receiving(status(200, "content-type: application/json", body=b"{}")))
        people = ["--approvals", "127.0.0.1:0", "--approvals-url", "http://127.0.0.1:9465"]
        people += ["--approvers-file", str(folder / "approvers.yaml")]
        more = ["--shadow", str(folder / "candidate.yaml"), "--otlp", f"http://127.0.0.1:{spans.port}"]
        first = running.enter_context(_shop(folder, server.url, *people, *more))
        # As where a rollout is stuck: the second one goes on with the policy that it began with.
        second = running.enter_context(_shop(folder, server.url, "--no-watch"))
        bundle = ["--bundle", str(folder / "published"), "--bundle-key", str(folder / "public.pem")]
        desk = running.enter_context(_program(folder, "desk", *bundle))
        # Where the till writes its audit log there is no room: whatever is written there fails as on a full disk.
        alone = [
            "-c",
            str(folder / "till.yaml"),
            "--mode",
            "monitor",
            "--state-fail-mode",
            "open",
            "--audit",
            "/dev/full",
        ]
        till = running.enter_context(_program(folder, "till", *alone))
        state = folder / "shop"
        yield World(
            folder, Place("shop", "shop-1", first, state), Place("shop", "shop-2", second, state),
            Place("desk", "desk-1", desk, folder / "desk"), Place("desk", "till-1", till, folder / "till"), server,
        )  # fmt: skip


def publish(folder: Path, text: str, serial: int) -> None:
    """Build a policy as a bundle, signed, and publish it where the desk looks."""
    repository = folder / "repository"
    (repository / "policies").mkdir(parents=True, exist_ok=True)
    (repository / "policies" / "policy.yaml").write_text(text)
    bundle = folder / f"desk-{serial}.tar.gz"
    key = ["--key", str(folder / "private.pem"), "--serial", str(serial)]
    _run([str(SIDECAR), "policy", "build", str(repository), "-o", str(bundle), *key], folder)
    _run([str(SIDECAR), "policy", "publish", str(bundle), str(folder / "published")], folder)


def _shop(folder: Path, upstream: str, *options: str) -> Listener:
    return Listener(
        [
            str(SIDECAR), "run", "-c", str(folder / "shop.yaml"), "--server", "shop",
            "--state-dir", str(folder / "shop"),
            "--transport", "http", "--port", "0", "--telemetry", "127.0.0.1:0",
            "--auth-token-file", str(folder / "tokens"), *options, "--upstream", upstream,
        ],
        folder, {"POD_NAMESPACE": "shop", "WEBHOOK_SECRET": "only for the script, and long enough"}, says="ready\n",
    )  # fmt: skip


def _program(folder: Path, name: str, *options: str) -> Peer:
    """A sidecar on stdio in front of the stub."""
    started = Peer(
        [
            str(SIDECAR), "run", *options, "--server", name, "--state-dir", str(folder / name),
            "--telemetry", "127.0.0.1:0",
            "--", sys.executable, "-S", "-E", str(STUB), "--tools", "place_order,cancel_order",
        ],
        folder, {"XDG_STATE_HOME": str(folder)},
    )  # fmt: skip
    try:
        started.wait_for_error("ready\n", 30)
    except BaseException:
        started.__exit__(None, None, None)
        raise
    return started


def _key(folder: Path) -> None:
    new = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    _run([*new, "-out", str(folder / "private.pem")], folder)
    _run(["openssl", "pkey", "-in", str(folder / "private.pem"), "-pubout", "-out", str(folder / "public.pem")], folder)


def _run(command: Sequence[str], folder: Path) -> None:
    environment = os.environ | {"SIDECAR_OPA_BIN": str(OPA)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")


def _private(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
