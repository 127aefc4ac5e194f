"""The same agent over HTTP: the OKX server listens and wants a token, which the sidecar sends and the agent lacks."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import secrets
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mcp import Client

from programs.checkout import MCP_OKX, ROOT, SIDECAR
from programs.demo.agent import SECONDS, TELEMETRY, okx_environment

_LISTENING: Final = r"listening on (http://\S+)\n"
_UVICORN: Final = r"Uvicorn running on (http://\S+)"


@asynccontextmanager
async def remote_agent(exchange: str, folder: Path, policy: Path) -> AsyncIterator[Client]:
    """A client of a sidecar on HTTP, in front of the OKX server on HTTP; all ended when left.

    `folder` gets the sidecar's state in `state`, `stderr.txt` and the token. Raises `OSError` when a program does not
    start, or when the server lets in who has no token.
    """
    errors, token = folder / "stderr.txt", secrets.token_urlsafe()
    header = folder / "authorization"
    header.touch(mode=0o600)
    header.write_text(f"Bearer {token}\n")
    okx = [str(MCP_OKX), "--http", "--host", "127.0.0.1", "--port", "0"]
    environment = okx_environment(exchange) | {"MCP_AUTH_TOKEN": token}
    async with listening(okx, environment, errors, _UVICORN) as server:
        await asyncio.to_thread(expect_refusal, server)
        sidecar = [
            str(SIDECAR), "run", "-c", str(policy), "--state-dir", str(folder / "state"),
            "--telemetry", TELEMETRY, "--transport", "http", "--port", "0",
            "--upstream", f"{server}/mcp", "--header", f"Authorization: file:{header}",
        ]  # fmt: skip
        async with (
            listening(sidecar, {}, errors, _LISTENING) as url,
            Client(url, read_timeout_seconds=SECONDS) as client,
        ):
            yield client


@asynccontextmanager
async def listening(
    command: Sequence[str], environment: Mapping[str, str], errors: Path, says: str
) -> AsyncIterator[str]:
    """A program that writes where it listens, which is the first group of `says`; it is ended when left."""
    with errors.open("ab") as log:
        since = log.tell()
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=log, stderr=log, cwd=ROOT, env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C is the demo's to handle
        )  # fmt: skip
    try:
        while (found := re.search(says, _written(errors, since))) is None:
            if process.returncode is not None:
                raise OSError(f"{Path(command[0]).name} ended with status {process.returncode}")
            await asyncio.sleep(0.02)
        yield found[1]
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _written(path: Path, since: int) -> str:
    return path.read_bytes()[since:].decode(errors="replace")


def expect_refusal(server: str) -> None:
    """See that whoever has no token is turned away by the server itself. Raises OSError when it is not so."""
    address = urlsplit(server).netloc
    connection = http.client.HTTPConnection(address, timeout=SECONDS)
    try:
        connection.request("POST", "/mcp", b"{}", {"Content-Type": "application/json"})
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != 401:
        raise OSError(f"without a token mcp-okx answered {status}, not 401")
