"""`python -m programs.soak [SECONDS]`: agents that behave and clients that do not, against one sidecar, for a while."""

from __future__ import annotations

import re
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from programs.soak.attacks import TOKEN, forever
from tests.support.cgroup import group
from tests.support.listener import Listener, sidecar
from tests.wire.http.client import Agent
from tests.wire.http.running import POLICY
from tests.wire.http.server import Asked, Upstream, result, text

AGENTS: Final = 4
ATTACKERS: Final = 3
EVERY: Final = 10.0
"""Seconds between two lines."""
SIZE: Final = 640 << 20
"""Bytes that the sidecar and its OPA may use, where a control group can be made: somewhat more than what is shipped."""
UNREADY: Final = 5.0
"""Seconds for which it may say that it is not ready: a busy machine may keep its engine waiting."""
GROWTH: Final = 64
"""MiB by which the memory of the second half may exceed that of the first."""


class Soak:
    """One run: what was measured since the last line, and what went wrong."""

    def __init__(self, listener: Listener, seconds: float) -> None:
        self.listener = listener
        self.until = time.monotonic() + seconds
        telemetry = re.search(r"telemetry on (http://[^/]+)", listener.errors)
        assert telemetry is not None
        self.telemetry = telemetry[1]
        self.took: list[float] = []
        self.attacks = 0
        self.wrong: list[str] = []
        self.mib: list[float] = []

    @property
    def goes_on(self) -> bool:
        """True while time is left and the sidecar lives."""
        return time.monotonic() < self.until and self.listener.process.poll() is None

    def behave(self) -> None:
        """An agent: a session, some calls, and again."""
        while self.goes_on:
            agent = Agent.with_session(self.listener.url, TOKEN)
            for number in range(50):
                started = time.perf_counter()
                answer = agent.call("shown", {"n": number}, number + 1)
                self.took.append(time.perf_counter() - started)
                if "result" not in answer:
                    self.wrong.append(f"a call was answered {answer}")
            agent.post(b"", method="DELETE")

    def attack(self) -> None:
        """A client without manners."""
        for deed in forever():
            if not self.goes_on:
                return
            with suppress(OSError, EOFError):
                deed(self.listener.url, self.telemetry)
            self.attacks += 1

    def probe(self) -> None:
        """The kubelet."""
        ready = time.monotonic()
        while self.goes_on:
            try:
                urllib.request.urlopen(f"{self.telemetry}/readyz", timeout=5).close()
                ready = time.monotonic()
            except OSError as error:
                if time.monotonic() - ready > UNREADY:
                    self.wrong.append(f"/readyz: {error}")
            time.sleep(0.5)

    def watch(self) -> None:
        """Print a line now and then."""
        print("seconds  rss MiB   calls   p50 ms   p99 ms   worst ms  attacks", flush=True)
        started = time.monotonic()
        while self.goes_on:
            time.sleep(min(EVERY, max(0.1, self.until - time.monotonic())))
            took, self.took = sorted(self.took), []
            self.mib.append(_rss(self.listener.process.pid))
            if took:
                p50, p99, worst = (1000 * took[int(part * (len(took) - 1))] for part in (0.5, 0.99, 1))
                line = f"{time.monotonic() - started:7.0f} {self.mib[-1]:8.0f} {len(took):7} {p50:8.2f} {p99:8.2f}"
                print(f"{line} {worst:10.2f} {self.attacks:8}", flush=True)

    def guarded(self, work: Callable[[], None]) -> threading.Thread:
        """A thread whose failure is noted."""

        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is shown
                self.wrong.append(f"{work.__name__}: {error!r}")

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def verdict(self) -> list[str]:
        """What is not as it should be."""
        found = list(dict.fromkeys(self.wrong))
        if self.listener.process.poll() is not None:
            found.append(f"the sidecar ended: {self.listener.errors[-500:]}")
        if "internal error" in self.listener.errors:
            found.append("the sidecar met a defect of its own: see its log")
        half = len(self.mib) // 2
        if half and max(self.mib[half:]) > max(self.mib[:half]) + GROWTH:
            found.append(f"its memory grew from {max(self.mib[:half]):.0f} to {max(self.mib[half:]):.0f} MiB")
        return found


def main(seconds: float) -> int:
    """Run for so long; the exit status."""

    def large(asked: Asked, connection: socket.socket) -> None:
        connection.sendall(result(asked, text("x" * (4 << 20))))

    with tempfile.TemporaryDirectory() as folder, Upstream() as upstream:
        upstream.says["large"] = large
        (Path(folder) / "tokens").write_text("good\n")
        # All holders of a token are one caller, who leaves many sessions behind here.
        sessions = ("--max-sessions", "20000", "--session-idle", "30s")
        options = ("--auth-token-file", f"{folder}/tokens", *sessions, "--upstream", upstream.url)
        command = sidecar(Path(folder) / "sidecar", POLICY, "--transport", "http", "--port", "0", *options)
        with group(SIZE) as made, Listener(made.command(command) if made else command, Path(folder)) as listener:
            soak = Soak(listener, seconds)
            works = [soak.behave] * AGENTS + [soak.attack] * ATTACKERS + [soak.probe, soak.watch]
            for thread in [soak.guarded(work) for work in works]:
                thread.join()
            upstream.seen.clear()
            wrong = soak.verdict()
    print("\n".join(wrong) if wrong else "nothing grew, and nobody who behaves noticed")
    return 1 if wrong else 0


def _rss(pid: int) -> float:
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found is not None else 0.0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 600))
