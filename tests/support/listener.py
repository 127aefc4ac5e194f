"""Programs that listen on loopback, the sidecar among them: started, waited for, and ended."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.support import ROOT, SIDECAR
from tests.support.peer import PATIENT, START_SECONDS, Peer, until

ALLOW_ALL: Final = "default: allow\ntools: {}\n"
"""A policy that refuses nothing, so that whatever differs is a fault of the transport."""

LISTENING: Final = r"listening on (http://\S+)\n"


class Listener(Peer):
    """A program that says on its error stream where it listens. It is ended with a signal."""

    def __init__(
        self, command: Sequence[str], folder: Path, env: dict[str, str] | None = None,
        listening: str = LISTENING, says: str = "",
    ) -> None:  # fmt: skip
        """Start it; wait for the address, which is the first group of `listening`, and for the text `says`."""
        super().__init__(command, folder, env)
        self._listening = re.compile(listening)
        try:
            self._wait_for(listening, lambda: self._listening.search(self.errors) is not None)
            self._wait_for(says, lambda: says in self.errors)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    @property
    def url(self) -> str:
        """Where it listens."""
        found = self._listening.search(self.errors)
        assert found is not None
        return found[1]

    def close(self) -> None:
        """Close its input and tell it to end."""
        super().close()
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    def _wait_for(self, what: str, true: Callable[[], bool]) -> None:
        until(lambda: true() or self.process.poll() is not None, START_SECONDS, f"{what!r} of {self.process.args!r}")
        if not true():
            raise RuntimeError(f"it ended with status {self.process.poll()} and said: {self.errors[-2000:]}")


def everything(transport: str) -> list[str]:
    """The command that starts the server with every feature on `http`, `sse` or `stdio`."""
    # `env` lets it start in any folder, from a client that hands on no environment, and then is gone.
    return ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.servers.everything", transport]


def sidecar(folder: Path, policy: str, *options: str) -> list[str]:
    """The command that starts the sidecar in a folder of its own, under a policy that is given as text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text(policy)
    where = ["--state-dir", str(folder / "state"), "--telemetry", "127.0.0.1:0", "--server", "peer"]
    return [str(SIDECAR), "run", "-c", str(folder / "policy.yaml"), *where, *PATIENT, *options]
