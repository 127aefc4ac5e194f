"""A contender as a running program: started, measured through its pipes, checked, and ended with all it started.

What OPA was asked is read from the audit trail of a sidecar; other programs are taken as they are.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Final

from tests.bench.client import Client
from tests.bench.contenders import SERVER, Contender, expand
from tests.bench.errors import Failed

_END_SECONDS: Final = 5.0


class Program:
    """A started program in a process group of its own, with a folder for its policy, its state and its errors."""

    def __init__(self, contender: Contender, folder: Path) -> None:
        self._state, self._errors = folder / "state", folder / "errors.txt"
        self._audited = contender.role == "sidecar"
        self._state.mkdir(parents=True)
        (folder / "policy.yaml").write_text(contender.policy)
        command = expand(contender.command, str(folder / "policy.yaml"), str(self._state), SERVER)
        with self._errors.open("wb") as errors:
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0, cwd=folder,
                    env={**os.environ, "HOME": str(folder)}, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise Failed(f"{command[0]} cannot be started: {error.strerror}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._client = Client(self._process.stdin.fileno(), self._process.stdout.fileno(), contender.always_new)
        self.greet = self._client.greet
        self.one_by_one = self._client.one_by_one
        self.in_flight = self._client.in_flight

    def asked(self) -> float | None:
        """The share of the calls that was put to OPA; None for a program that does not tell.

        Raises `Failed` when the server did not get every call exactly once.
        """
        calls, served = self._client.calls, self._client.served()
        if served != calls:
            raise Failed(f"{calls} calls were made and {served} came to the server")
        if not self._audited:
            return None
        trail = b"".join(file.read_bytes() for file in (self._state / "events").glob("*.jsonl")).splitlines()
        decisions = [line for line in trail if b'"tool":"echo"' in line]
        if len(decisions) != calls:
            raise Failed(f"{calls} calls were made and {len(decisions)} are in the audit trail")
        return sum(b'"remembered":false' in line for line in decisions) / calls if calls else None

    def said(self) -> str:
        """The last line on its error stream."""
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else ""

    def close(self) -> None:
        """Close its input, so that it ends by itself; then kill whatever of it is left."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
        finally:
            # Its group is its own, and outlives it while a child of it does.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_END_SECONDS)
            self._process.stdout.close()
