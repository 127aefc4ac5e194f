"""A program that speaks one JSON message a line on its pipes, and the client's side of it. Every wait is bounded."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support import OPA, SIDECAR, STUB
from tests.support.audit_lines import decided_lines
from tests.support.signals import with_default_signals

SECONDS = 15.0
"""Longest wait for anything that should come at once; only a failing test waits it out."""

START_SECONDS: Final = 60.0
"""Longest wait for a program to be up; some import for many seconds on a busy machine."""

REVISION = "2025-11-25"
PATIENT: Final = ("--opa-timeout", "10s")
"""On a busy machine the engine may take longer than a user would wait; few tests are about that."""

AS_A_USER: Final = ("--opa-timeout", "250ms")
"""The default, for tests of an engine that hangs."""

TELEMETRY: Final = ("--telemetry", "127.0.0.1:0")


class Peer:
    """A running program; what it writes on its error stream goes to a file."""

    def __init__(self, command: Sequence[str], folder: Path, env: dict[str, str] | None = None) -> None:
        self.errors_path = folder / f"stderr-{time.monotonic_ns()}.txt"
        with self.errors_path.open("wb") as errors:
            self.process = subprocess.Popen(
                with_default_signals(command),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                env={**os.environ, "HOME": str(folder), **(env or {})},
            )  # fmt: skip
        self._buffer = b""
        self._last_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        # In good order where it can: a sidecar that is killed leaves its temporary folder behind.
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(3)
        self.process.kill()
        self.process.wait(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def errors(self) -> str:
        """What the program wrote on its error stream so far."""
        return self.errors_path.read_text(errors="replace")

    @property
    def messages(self) -> list[str]:
        """The lines of its log in text form, without time, level and event."""
        return [re.sub(r"^[-0-9]+T[:0-9]+Z [A-Z]+ \w+ ", "", line) for line in self.errors.splitlines()]

    def send_bytes(self, data: bytes) -> None:
        """Write bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, message: Any) -> None:
        """Write one message as a line."""
        self.send_bytes(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def read_line(self, seconds: float = SECONDS) -> bytes | None:
        """The next line, without its end; None at the end of the stream. Raises TimeoutError."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError(f"no line within {seconds} s; it said: {self.errors[-2000:]}")
            data = os.read(self.process.stdout.fileno(), 1 << 20)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def read(self, seconds: float = SECONDS) -> Any:
        """The next message."""
        line = self.read_line(seconds)
        assert line is not None, f"the program ended; it said: {self.errors[-2000:]}"
        return json.loads(line)

    def reply(self, wanted: str | int | None, seconds: float = SECONDS) -> Any:
        """The next response with this id; other messages are passed over."""
        while True:
            message = self.read(seconds)
            if "method" not in message and message.get("id") == wanted:
                return message

    def request(self, method: str, params: Any = None, seconds: float = SECONDS) -> Any:
        """Send a request and wait for its response."""
        id_ = self.post(method, params)
        return self.reply(id_, seconds)

    def post(self, method: str, params: Any = None) -> int:
        """Send a request and return its id."""
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method}
        self.send(message if params is None else message | {"params": params})
        return self._last_id

    def call(self, tool: str, arguments: Any = None, seconds: float = SECONDS) -> Any:
        """Call a tool and wait for the response."""
        params = {"name": tool} if arguments is None else {"name": tool, "arguments": arguments}
        return self.request("tools/call", params, seconds)

    def initialize(self, seconds: float = SECONDS) -> Any:
        """Say hello as a client of revision 2025-11-25."""
        answer = self.request(
            "initialize",
            {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": {"name": "peer", "version": "1"}},
            seconds,
        )
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def until_ping(self) -> list[Any]:
        """Everything that comes before the answer to a ping that is sent now."""
        ping, came = self.post("ping"), list[Any]()
        while (message := self.read()) != {"jsonrpc": "2.0", "id": ping, "result": {}}:
            came.append(message)
        return came

    def wait_for_error(self, text: str, seconds: float = SECONDS) -> None:
        """Wait until the error stream holds a text."""
        until(lambda: text in self.errors, seconds, f"{text!r} on the error stream")

    def close(self) -> None:
        """Close its input."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def wait(self, seconds: float = SECONDS) -> int:
        """Wait for its end; its exit status, negative for a signal."""
        return self.process.wait(seconds)

    def end(self) -> int:
        """Close its input and wait for its end."""
        self.close()
        return self.wait()


class Sidecar(Peer):
    """`sidecar run` in front of a server; by default the stub, which logs what it receives to `received`.

    `stub` are options of the stub; `store` are those that say where counters are kept, instead of `--state-dir`.
    """

    def __init__(
        self, folder: Path, policy: str | Path, *options: str, server: Sequence[str] | None = None,
        stub: Sequence[str] = (), env: dict[str, str] | None = None, state: Path | None = None,
        store: Sequence[str] | None = None, ready: bool = True,
    ) -> None:  # fmt: skip
        if isinstance(policy, str):
            (folder / "policy.yaml").write_text(policy)
            policy = folder / "policy.yaml"
        self.state = state or folder / "intercept-sidecar"
        place = ["--state-dir", str(self.state)] if store is None else store
        self.log = folder / "received.jsonl"
        self.log.touch()
        command = server or [sys.executable, "-S", "-E", str(STUB), "--log", str(self.log), *stub]
        super().__init__(
            [str(SIDECAR), "run", "-c", str(policy), *place, *PATIENT, *options, "--", *command],
            folder, {"XDG_STATE_HOME": str(folder), **(env or {})},
        )  # fmt: skip
        try:
            if ready:
                self.wait_for_error("ready\n", START_SECONDS)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    @property
    def received(self) -> list[str]:
        """The `tools/call` lines that the stub got, as they were sent."""
        return [json.loads(line)["line"] for line in self.log.read_text().splitlines()]

    @property
    def audit(self) -> list[dict[str, Any]]:
        """What every sidecar that used this state folder decided, by its audit trail."""
        return decided_lines(self.state)

    @property
    def metrics(self) -> list[Sample]:
        """Every sample of its telemetry, which must be on (`TELEMETRY`)."""
        found = re.search(r"telemetry on (\S+)", self.errors)
        assert found is not None
        with urllib.request.urlopen(found[1], timeout=10) as reply:
            families = text_string_to_metric_families(reply.read().decode())
            return [sample for family in families for sample in family.samples]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        samples = [sample for sample in self.metrics if sample.name == f"mcp_policy_{name}"]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def readiness(self) -> tuple[int, str]:
        """What `/readyz` of its telemetry says now, which must be on (`TELEMETRY`): the status and the text."""
        found = re.search(r"telemetry on (http://[^/\s]+)", self.errors)
        assert found is not None
        try:
            with urllib.request.urlopen(f"{found[1]}/readyz", timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    @property
    def opa(self) -> int:
        """The process id of its OPA."""
        (pid,) = [pid for pid in self.children("--server") if str(OPA) in command_line(pid)]
        return pid

    def children(self, name: str) -> list[int]:
        """Process ids of its children whose command line holds a text."""
        return [pid for pid in child_pids(self.process.pid) if name in command_line(pid)]


def kind(reply: Any) -> str | None:
    """The kind of a refusal by policy; None for any other response."""
    if denied(reply) is None:
        return None
    found: str = reply["result"]["_meta"]["intercept/decision"]["kind"]
    return found


def denied(reply: Any) -> str | None:
    """The first line of the message of a refusal by policy; None for any other response."""
    lines = refusal(reply)
    return lines[0] if lines is not None else None


def refusal(reply: Any) -> list[str] | None:
    """All lines of a refusal by policy, the prefix left out; None for any other response."""
    prefix = "[INTERCEPT POLICY DENIED] "
    result = reply.get("result") or {}
    text = result["content"][0].get("text", "") if result.get("content") else ""
    return text.removeprefix(prefix).split("\n") if result.get("isError") and text.startswith(prefix) else None


def until(true: Callable[[], object], seconds: float = SECONDS, what: str = "what the test waits for") -> None:
    """Wait until something holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {seconds} s")
        time.sleep(0.005)


def kill(pid: int) -> None:
    """Kill a process and wait until its connections must be closed."""
    os.kill(pid, signal.SIGKILL)
    # Its files are closed once its last thread is gone; the first one may be a zombie before.
    until(lambda: not is_alive(pid) and len(_threads(pid)) <= 1, what="its end")


def child_pids(pid: int) -> list[int]:
    """Process ids of the living children of a process."""
    return [int(child) for task in _threads(pid) for child in _read(task / "children").split()]


def command_line(pid: int) -> str:
    """The command line of a process, its words parted by blanks; empty when it is gone."""
    return _read(Path(f"/proc/{pid}/cmdline")).replace("\0", " ").strip()


def is_alive(pid: int) -> bool:
    """True while a process runs; a zombie does not."""
    return _state(Path(f"/proc/{pid}")) not in ("", "Z")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that is halted (SIGSTOP) for the length of a `with`."""
    os.kill(pid, signal.SIGSTOP)
    try:
        # The signal is on its way when kill() returns; a thread on another processor may run on for a moment.
        until(lambda: all(_state(task) == "T" for task in _threads(pid)), what="the halt")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _threads(pid: int) -> list[Path]:
    """The threads of a process, as folders; none when it is gone, also if it goes while we look."""
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []


def _state(process: Path) -> str:
    """The state of a process or thread: `R`, `S`, `T` (halted), `Z`...; empty when it is gone."""
    return "".join(_read(process / "stat").rpartition(")")[2].split()[:1])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
