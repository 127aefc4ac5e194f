"""A contender as running programs: started, measured, checked, and ended with all they started.

What OPA was asked is read from the audit trail of a sidecar; other programs are taken as they are.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from programs.bench.client import Client, PipeClient
from programs.bench.contenders import HTTP_SERVER, SERVER, Contender, expand
from programs.bench.errors import Failed
from programs.bench.http_client import HttpClient, wait_for_listener
from programs.bench.processes import cpu_nanoseconds
from tests.support.ports import free_port

_END_SECONDS: Final = 5.0


class Program:
    """A started contender with a folder for its policy, its state and its errors.

    Over HTTP the server behind a proxy is a second program, started here: a proxy would not start it.
    """

    def __init__(self, contender: Contender, folder: Path) -> None:
        self._state, self._errors = folder / "state", folder / "errors.txt"
        self._audited = contender.role == "sidecar"
        self._state.mkdir(parents=True)
        self._processes: list[subprocess.Popen[bytes]] = []
        (folder / "policy.yaml").write_text(contender.policy)
        values = {"policy": str(folder / "policy.yaml"), "state": str(self._state)}
        start = self._on_http if contender.over == "http" else self._on_pipes
        try:
            self.client = start(contender, values, folder)
        except Failed:
            self.close()
            raise
        self.greet = self.client.greet
        self.one_by_one = self.client.one_by_one
        self.in_flight = self.client.in_flight

    @property
    def pid(self) -> int:
        """The process that the client speaks to."""
        return self._processes[-1].pid

    def cpu_nanoseconds(self) -> int:
        """CPU time of every process that has a part in a call, but the client's."""
        return sum(cpu_nanoseconds(process.pid) for process in self._processes)

    def asked(self) -> float | None:
        """The share of the calls that was put to OPA; None for a program that does not tell.

        Raises `Failed` when the server did not get every call exactly once, or got one that was to be refused.
        """
        calls, served = self.client.calls, self.client.served()
        if served != (0 if self.client.refusal else calls):
            refused = " to be refused" if self.client.refusal else ""
            raise Failed(f"{calls} calls{refused} were made and {served} came to the server")
        if not self._audited:
            return None
        trail = b"".join(file.read_bytes() for file in (self._state / "events").glob("*.jsonl")).splitlines()
        decided = b'"tool":"echo","decision":"%b"' % (b"deny" if self.client.refusal else b"allow")
        decisions = [line for line in trail if decided in line]
        if len(decisions) != calls:
            raise Failed(f"{calls} calls were made and {len(decisions)} are so decided in the audit trail")
        return sum(b'"remembered":false' in line for line in decisions) / calls if calls else None

    def said(self) -> str:
        """The last line on its error stream."""
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else ""

    def close(self) -> None:
        """End it, the proxy before the server."""
        for process in reversed(self._processes):
            _end(process)

    def _on_pipes(self, contender: Contender, values: dict[str, str], folder: Path) -> Client:
        process = self._start(expand(contender.command, values, SERVER), folder, pipes=True)
        assert process.stdin is not None
        assert process.stdout is not None
        writing, reading = process.stdin.fileno(), process.stdout.fileno()
        return PipeClient(writing, reading, contender.always_new, contender.payload, contender.more, contender.refusal)

    def _on_http(self, contender: Contender, values: dict[str, str], folder: Path) -> Client:
        port = free_port()
        self._start(expand(HTTP_SERVER, {"port": str(port)}), folder, pipes=False)
        if contender.role != "direct":
            # A proxy may connect at once, and not again.
            wait_for_listener(port)
            upstream, port = f"http://127.0.0.1:{port}/mcp", free_port()
            values = values | {"upstream": upstream, "port": str(port)}
            self._start(expand(contender.command, values), folder, pipes=False)
        return HttpClient(port, contender.always_new, contender.refusal)

    def _start(self, command: Sequence[str], folder: Path, *, pipes: bool) -> subprocess.Popen[bytes]:
        with self._errors.open("ab") as errors:
            try:
                process = subprocess.Popen(
                    command, stderr=errors, bufsize=0, cwd=folder, start_new_session=True,
                    stdin=subprocess.PIPE if pipes else subprocess.DEVNULL, stdout=subprocess.PIPE if pipes else errors,
                    env={**os.environ, "HOME": str(folder)},
                )  # fmt: skip
            except OSError as error:
                raise Failed(f"{command[0]} cannot be started: {error.strerror}") from None
        self._processes.append(process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close its input or tell it to end, so that it does by itself; then kill whatever of it is left."""
    try:
        if process.stdin is not None:
            process.stdin.close()
        else:
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
    finally:
        # Its group is its own, and outlives it while a child of it does.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_END_SECONDS)
        if process.stdout is not None:
            process.stdout.close()
