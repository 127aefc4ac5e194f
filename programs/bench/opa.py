"""OPA without a sidecar around it: the same policy and library, asked over a unix socket.

Blocking reads are the leanest client there can be, so what `sidecar, new` takes more is ours.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from programs.bench.client import IN_FLIGHT, SECONDS
from programs.bench.contenders import Contender
from programs.bench.errors import Failed
from programs.bench.processes import cpu_nanoseconds
from sidecar.decision.decision import read_answer
from sidecar.decision.question import question
from sidecar.engine.process import TUNING
from sidecar.engine.together import apart, together
from sidecar.engine.wire import BadReply, ReplyReader, request, request_for_several
from sidecar.errors import EngineUnavailable
from sidecar.policy.bundle import EVERY_PATH, build, rego_folder, rooted, write
from sidecar.policy.compile import compile_policy
from sidecar.repository.load import find, load
from tests.support import OPA
from tests.support.peer import until


@dataclass(frozen=True, slots=True)
class Setting:
    """A way to run OPA and to ask it, as it differs from ours.

    `env` and `flags` are added to its command line; of each request `cut` is taken and `query`
    added to its target; the bundle is compiled anew with `optimize`. `authorized` asks our authorization policy of each
    request, as in a pod.
    """

    name: str
    env: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    cut: bytes = b""
    query: bytes = b""
    optimize: bool = False
    authorized: bool = False


OURS: Final = Setting("as we run it")


class OpaAlone:
    """A running OPA that decides by the contender's policy; its files are in `folder`."""

    def __init__(self, contender: Contender, folder: Path, setting: Setting = OURS) -> None:
        folder.mkdir()
        (folder / "policy.yaml").write_text(contender.policy)
        policy, _ = load(find([folder / "policy.yaml"]), lambda: OPA)
        self._bundle = build(compile_policy(policy), serial=1)
        self._setting = setting
        self._together = contender.together
        bundle = folder / "bundle"
        write(self._bundle.files if setting.authorized else rooted(self._bundle.files, EVERY_PATH), bundle)
        if setting.optimize:
            bundle = _optimized(bundle, folder / "optimized.tar.gz")
        self._errors = folder / "errors.txt"
        self._last = 0
        # The path of a socket may have 107 bytes, so it gets a folder whose name is short.
        self._socket_folder = tempfile.TemporaryDirectory(prefix="bench-")
        self._socket = Path(self._socket_folder.name) / "opa.sock"
        command = [
            str(OPA), "run", "--server", "--addr", f"unix://{self._socket}", "--skip-version-check",
            "--log-level", "error", *setting.flags, "--bundle", str(bundle),
        ]  # fmt: skip
        if setting.authorized:
            authz = (rego_folder() / "system" / "authz" / "authz.rego").read_text()
            write({".manifest": '{"roots": ["system"]}', "authz.rego": authz}, folder / "system")
            command += ["--authorization=basic", str(folder / "system")]
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True,
                env={**TUNING, **os.environ, **setting.env},
            )  # fmt: skip

    def greet(self) -> None:
        """Wait until it listens."""
        try:
            until(lambda: self._listens() or self._process.poll() is not None, SECONDS, "opa's socket")
        except TimeoutError as error:
            raise Failed(f"opa did not start: {error}") from None

    def _listens(self) -> bool:
        # Its socket is there a moment before it listens.
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self._socket)) == 0

    def one_by_one(self, count: int) -> list[int]:
        """Nanoseconds of each of so many requests, one after the other; with several questions each, if so told."""
        took, replies = [0] * count, [b""] * count
        requests = self._requests(count * self._together)
        with self._connections(1) as (connection,):
            for at, data in enumerate(requests):
                begun = perf_counter_ns()
                connection.ask(data)
                reply = connection.reply()
                while reply is None:
                    reply = connection.reply()
                took[at] = perf_counter_ns() - begun
                replies[at] = reply
        self._check(replies, count * self._together)
        return took

    def in_flight(self, count: int) -> float:
        """Answers a second, 32 questions under way at any time, each request on a connection of its own."""
        requests = self._requests(count)
        waiting = iter(requests)
        replies: list[bytes] = []
        poll = select.poll()
        with self._connections(IN_FLIGHT // self._together) as connections:
            by_fd = {connection.fd: connection for connection in connections}
            for fd in by_fd:
                poll.register(fd, select.POLLIN)
            begun = perf_counter_ns()
            for connection, data in zip(connections, waiting, strict=False):
                connection.ask(data)
            while len(replies) < len(requests):
                ready = poll.poll(SECONDS * 1000)
                if not ready:
                    raise Failed(f"no answer within {SECONDS:g} s")
                for fd, _ in ready:
                    connection = by_fd[fd]
                    if (reply := connection.reply()) is not None:
                        replies.append(reply)
                        if (next_one := next(waiting, None)) is not None:
                            connection.ask(next_one)
            nanoseconds = perf_counter_ns() - begun
        self._check(replies, count)
        return count * 1e9 / nanoseconds

    @property
    def pid(self) -> int:
        """The process of OPA."""
        return self._process.pid

    def cpu_nanoseconds(self) -> int:
        """CPU time of OPA."""
        return cpu_nanoseconds(self._process.pid)

    def asked(self) -> float:
        """The share of questions that was put to OPA: there is nobody else."""
        return 1.0

    def said(self) -> str:
        """The last line that it wrote."""
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else ""

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(SECONDS)
        self._socket_folder.cleanup()

    @contextlib.contextmanager
    def _connections(self, count: int) -> Iterator[list[_Connection]]:
        """New ones for each turn: OPA ends what is idle while others have theirs."""
        with contextlib.ExitStack() as stack:
            try:
                yield [stack.enter_context(contextlib.closing(_Connection(str(self._socket)))) for _ in range(count)]
            except OSError as error:
                raise Failed(f"the connection failed: {error}") from None

    def _requests(self, count: int) -> list[bytes]:
        """The requests with so many new questions."""
        numbers = range(self._last + 1, self._last + 1 + count)
        self._last += count
        each = self._together
        return [self._request(numbers[at : at + each]) for at in range(0, count, each)]

    def _request(self, numbers: Sequence[int]) -> bytes:
        """The request that the sidecar would write, but for what the setting changes."""
        cut, query = self._setting.cut, self._setting.query
        bodies = [question("bench", "echo", {"sz": number}) for number in numbers]
        ids = [f"bench-{number:x}" for number in numbers]
        data = request(bodies[0], ids[0]) if self._together == 1 else request_for_several(together(bodies), ids)
        if cut:
            data = re.sub(cut, b"", data, count=1)
        return data.replace(b" HTTP/1.1", query + b" HTTP/1.1", 1) if query else data

    def _check(self, replies: Sequence[bytes], count: int) -> None:
        try:
            answers = [read_answer(alone).decision for reply in replies for alone in self._apart(reply)]
        except (BadReply, EngineUnavailable) as error:
            raise Failed(str(error)) from None
        if len(answers) != count:
            raise Failed(f"{count} questions got {len(answers)} answers")
        if {(answer.action, answer.revision) for answer in answers} != {("allow", self._bundle.revision)}:
            raise Failed("OPA refused what the policy allows")

    def _apart(self, reply: bytes) -> list[bytes]:
        if self._together == 1:
            return [reply]
        return [answer for answer in apart(reply, self._together) if answer is not None]


def _optimized(bundle: Path, target: Path) -> Path:
    """The same bundle, with what can be worked out before any question worked out."""
    command = [str(OPA), "build", "-O1", "-e", "intercept/decision", "-o", str(target), "--bundle", str(bundle)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        raise Failed(f"opa build -O1: {built.stderr.strip()[:300]}")
    return target


class _Connection:
    """One connection to OPA, at most one question on it; every wait is bounded."""

    SIZE: Final = 1 << 16

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(SECONDS)
        self._socket.connect(path)
        self._reader = ReplyReader()
        self.fd = self._socket.fileno()
        self.ask = self._socket.sendall

    def reply(self) -> bytes | None:
        """What the reply holds, once it is whole. Raises `Failed`."""
        try:
            data = self._socket.recv(self.SIZE)
            if not data:
                raise Failed("opa ended the connection")
            return self._reader.feed(data)
        except (OSError, BadReply) as error:
            raise Failed(f"opa gave no answer: {error}") from None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()
