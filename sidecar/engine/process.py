"""Our own OPA process: configured, started, watched, and started again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from sidecar.engine.bundle_server import RESOURCE
from sidecar.engine.environment import of_a_server
from sidecar.engine.sign import KEY_ID, SCOPE
from sidecar.policy.archive import MANIFEST
from sidecar.policy.bundle import EVERY_PATH, Bundle, rooted
from sidecar.system import children, tasks

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 5.0
"""The longest pause before OPA is started again, in seconds; the pause doubles after each start that did not last."""
LASTED: Final = 10.0
STOP_SECONDS: Final = 1.0

BUNDLE: Final = "intercept"
"""The name of the bundle in OPA."""

TUNING: Final = {"GOMAXPROCS": str(max(1, len(os.sched_getaffinity(0)) // 2)), "GOGC": "200"}
"""Settings of OPA's Go runtime, unless our own environment has others; docs/performance.md has the figures.

OPA gets half of the processors: with more, its threads would take those that we and the server need.
"""


class OpaProcess:
    """OPA with its socket, configuration and token in `folder`, which nobody else may enter (0700).

    No authorization policy is asked, which OPA compiles anew for every request: nobody can write, because a bundle owns
    every path. Until it has fetched ours that is an empty one of the same name, which it loads before it listens.

    It shows `token` to the bundle server, and accepts bundles that are signed with `secret`. `said` gets the errors
    that it logs, one line each.
    """

    def __init__(
        self, opa: Path, folder: Path, bundle_port: int, token: str, secret: str, said: Callable[[str], None]
    ) -> None:  # fmt: skip
        _write(folder / "token", token)
        key = {"algorithm": "HS256", "key": secret}
        _write(folder / "opa.json", json.dumps(configuration(bundle_port, folder / "token", key)))
        empty = {MANIFEST: json.dumps({"roots": [EVERY_PATH]})}
        self._begin_with(opa, folder, empty, ("--config-file", str(folder / "opa.json")), said)

    def _begin_with(
        self, opa: Path, folder: Path, files: Mapping[str, str], options: Sequence[str], said: Callable[[str], None]
    ) -> None:  # fmt: skip
        """Get ready to start it with a bundle of these files."""
        self.socket = str(folder / "opa.sock")
        self._said = said
        self._process: _Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._folder = folder
        for name, text in files.items():
            path = folder / BUNDLE / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, text)
        self._command = [
            str(opa.absolute()), "run", "--server", "--addr", f"unix://{self.socket}", "--unix-socket-perm", "600",
            "--skip-version-check", "--log-level", "error", "--log-format", "json",
            *options,
            # Its path is its name: relative to the folder it is that of the one that will be fetched.
            "--bundle", BUNDLE,
        ]  # fmt: skip

    async def start(self, ended: Callable[[str], None]) -> None:
        """Start it and keep it running; `ended` hears how each time that it ends. Raises OSError if it cannot start."""
        self._process = await self._start()
        self._watch = tasks.lasting(lambda: self._keep_running(ended))

    async def stop(self) -> None:
        """End it and do not start it again."""
        if self._watch is not None:
            self._watch.cancel()
        if self._process is not None:
            # Killed at once: it has nothing to write.
            self._process.kill()
            await asyncio.wait([self._process.ended], timeout=STOP_SECONDS)
            self._process.close()

    async def _start(self) -> _Process:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket)  # noqa: PTH108 - pathlib's way is said to block
        process = _Process(self._said)
        await children.start(
            lambda: process, self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, env={**TUNING, **of_a_server()}, cwd=self._folder,
        )  # fmt: skip
        return process

    async def _keep_running(self, ended: Callable[[str], None]) -> None:
        loop, process = asyncio.get_running_loop(), self._process
        assert process is not None  # it was started before it is watched
        pause = FIRST_PAUSE
        while True:
            started = loop.time()
            ended(f"opa ended with status {await asyncio.shield(process.ended)}; it is started again")
            process.close()
            pause = FIRST_PAUSE if loop.time() - started > LASTED else min(2 * pause, LONGEST_PAUSE)
            process = self._process = await self._start_again(pause, ended)

    async def _start_again(self, pause: float, ended: Callable[[str], None]) -> _Process:
        while True:
            await asyncio.sleep(pause)
            try:
                return await self._start()
            except OSError as error:
                ended(f"opa cannot be started: {error.strerror}")
                pause = min(2 * pause, LONGEST_PAUSE)


class StillOpa(OpaProcess):
    """OPA that decides by one bundle for as long as it runs: it reads it when it starts, and opens no connection."""

    def __init__(self, opa: Path, folder: Path, bundle: Bundle, said: Callable[[str], None]) -> None:
        self._begin_with(opa, folder, rooted(bundle.files, EVERY_PATH), (), said)


def _write(path: Path, text: str) -> None:
    """Write a file that is ours alone: an argument would show in the process list, which everybody can read."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def configuration(bundle_port: int, token: Path, key: dict[str, str]) -> dict[str, object]:
    """OPA's configuration: one service, one bundle, and the key by which the bundle's signature is verified."""
    return {
        "keys": {KEY_ID: key},
        "services": {
            "sidecar": {
                "url": f"http://127.0.0.1:{bundle_port}",
                "credentials": {"bearer": {"token_path": str(token)}},
            }
        },
        "bundles": {
            BUNDLE: {
                "service": "sidecar",
                "resource": RESOURCE,
                "signing": {"keyid": KEY_ID, "scope": SCOPE},
                "polling": {"min_delay_seconds": 0, "max_delay_seconds": 1, "long_polling_timeout_seconds": 30},
            }
        },
    }


def _error_in(line: bytes) -> str | None:
    """The message of a line of OPA's log if it is an error; advice (about running as root) is left out."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line.decode(errors="replace").strip() or None
    if type(entry) is not dict or entry.get("level") not in ("error", "fatal", "panic"):
        return None
    return f"{entry.get('msg', '')} {entry.get('err', '')}".strip()


class _Process(asyncio.SubprocessProtocol):
    """Reads OPA's log on its error stream, and notes its end."""

    MAX_LINE = 2000

    def __init__(self, said: Callable[[str], None]) -> None:
        self._said = said
        self._buffer = b""
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    _transport: asyncio.SubprocessTransport

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._transport.kill()

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)  # uvloop's are no subclasses

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, rest = (self._buffer + data).split(b"\n")
        self._buffer = rest[-self.MAX_LINE :]
        for line in lines:
            if (said := _error_in(line[: self.MAX_LINE])) is not None:
                self._said(said)

    def process_exited(self) -> None:
        if not self.ended.done():
            self.ended.set_result(children.exit_status(self._transport.get_returncode() or 0))
