"""A sidecar that takes its policy as a bundle, and what can be seen of that."""

from __future__ import annotations

import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from tests.policy_repo.verbs import CLOSED, OPEN, REFUSAL, Key
from tests.support import SIDECAR, STUB
from tests.support.peer import PATIENT, SECONDS, TELEMETRY, Peer, Sidecar, denied, until


class Following(Sidecar):
    """`sidecar run --bundle` in front of the stub server."""

    def __init__(
        self, folder: Path, source: str, keys: Iterable[Key], *options: str, state: Path | None = None,
        ready: bool = True,
    ) -> None:  # fmt: skip
        self.state = state or folder / "intercept-sidecar"
        self.log = folder / "received.jsonl"
        self.log.touch()
        known = [word for key in keys for word in ("--bundle-key", str(key.public))]
        command = [str(SIDECAR), "run", "--bundle", source, *known, "--state-dir", str(self.state), "--server", "stub"]
        stub = [sys.executable, "-S", "-E", str(STUB), "--log", str(self.log)]
        Peer.__init__(
            self, [*command, *PATIENT, *TELEMETRY, *options, "--", *stub], folder, {"XDG_STATE_HOME": str(folder)}
        )
        if ready:
            self.wait_for_error("ready\n", 2 * SECONDS)
        self.initialize()

    def permits(self, tool: str) -> bool:
        """True if a call of the tool came to the server, and back; false if policy refused it."""
        before = len(self.received)
        reply = self.call(tool, {})
        passed = denied(reply) is None
        assert len(self.received) - before == passed, "what the client was told is not what the server got"
        return passed

    def decides_as_before(self) -> bool:
        """True if calls are decided by the policy `verbs.POLICY`."""
        return self.permits(OPEN) and not self.permits(CLOSED) and denied(self.call(CLOSED, {})) == REFUSAL

    def seconds_until(self, tool: str, permitted: bool) -> float:
        """How long it takes, from now, until calls of the tool are decided so."""
        began = time.monotonic()
        until(lambda: self.permits(tool) is permitted, what=f"{tool} decided otherwise")
        return time.monotonic() - began

    def refusals(self, reason: str) -> float:
        """How many bundles were refused for this reason, by the metric."""
        return self.metric("bundle_refusals_total", reason=reason)

    def readyz(self) -> tuple[int, list[str]]:
        """The status of its readiness probe, and the lines of the answer."""
        found = re.search(r"telemetry on (http://[^/\s]+)", self.errors)
        assert found is not None
        try:
            with urllib.request.urlopen(f"{found[1]}/readyz", timeout=10) as reply:
                return reply.status, reply.read().decode().splitlines()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode().splitlines()
