"""A sidecar that takes its policy as a bundle, and what can be seen of that."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.policy_repo.verbs import CLOSED, OPEN, REFUSAL, Key
from tests.support import SIDECAR, STUB
from tests.support.peer import PATIENT, SECONDS, TELEMETRY, Peer, Sidecar, denied, until


def measured(true: Callable[[], object]) -> str:
    """How long it takes from now until something holds."""
    began = time.monotonic()
    until(true, what="what was published")
    return f"{time.monotonic() - began:.2f} s"


@dataclass(frozen=True, slots=True)
class Followed:
    """Seconds that it took to publish, and seconds after that until it decided; below 0 where it did so before."""

    publishing: float
    after: float

    def __str__(self) -> str:
        whole = self.publishing + self.after
        return f"{max(0.0, self.after):.2f} s after `publish` ended, {whole:.2f} s after it was started"


class Following(Sidecar):
    """`sidecar run --bundle` in front of the stub server."""

    def __init__(
        self, folder: Path, source: str, keys: Iterable[Key], *options: str, state: Path | None = None,
        store: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        self.state = state or folder / "intercept-sidecar"
        self.log = folder / "received.jsonl"
        self.log.touch()
        known = [word for key in keys for word in ("--bundle-key", str(key.public))]
        kept = ["--state-dir", str(self.state)] if store is None else store
        command = [str(SIDECAR), "run", "--bundle", source, *known, *kept, "--server", "stub"]
        stub = [sys.executable, "-S", "-E", str(STUB), "--log", str(self.log)]
        Peer.__init__(
            self, [*command, *PATIENT, *TELEMETRY, *options, "--", *stub], folder, {"XDG_STATE_HOME": str(folder)}
        )
        try:
            self.wait_for_error("ready\n", 2 * SECONDS)
            self.initialize()
        except BaseException:
            self.__exit__(None, None, None)
            raise

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

    def wait_until(self, tool: str, permitted: bool) -> None:
        """Wait until calls of the tool are decided so."""
        until(lambda: self.permits(tool) is permitted, 2 * SECONDS, f"{tool} decided otherwise")

    def follows(self, publishing: Sequence[str], folder: Path, tool: str, permitted: bool) -> Followed:
        """Run a command that publishes, and call the tool all the time until calls are decided so."""
        began, ended, decided = time.monotonic(), 0.0, 0.0
        said = folder / "publishing.txt"
        with said.open("wb") as out, subprocess.Popen(publishing, cwd=folder, stdout=out, stderr=out) as publisher:
            while not ended or not decided:
                assert time.monotonic() - began < 4 * SECONDS, f"{tool} is not decided otherwise: {said.read_text()}"
                if not decided and self.permits(tool) is permitted:
                    decided = time.monotonic()
                if not ended and publisher.poll() is not None:
                    ended = time.monotonic()
                    assert publisher.returncode == 0, said.read_text()
        return Followed(ended - began, decided - ended)

    def refusals(self, reason: str) -> float:
        """How many bundles were refused for this reason, by the metric."""
        return self.metric("bundle_refusals_total", reason=reason)

    def readyz(self) -> tuple[int, list[str]]:
        """The status of its readiness probe, and the lines of the answer."""
        status, text = self.readiness()
        return status, text.splitlines()
