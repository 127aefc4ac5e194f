"""The policy engine, piece by piece and whole. Shared here: bundles, questions, an HTTP exchange, a bounded wait."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from sidecar.decision.arguments import Projection, arguments_read
from sidecar.decision.decider import Finding
from sidecar.decision.decision import Answer
from sidecar.decision.question import question
from sidecar.engine.engine import Engine
from sidecar.mcp import jsonrpc
from sidecar.mcp.tool_call import ToolCall, read_call
from sidecar.policy.bundle import Bundle, build
from sidecar.policy.compile import compile_policy
from sidecar.policy.merge import merge
from sidecar.policy.model import Methods
from sidecar.policy.read import read
from sidecar.policy.risks import UNKNOWN, Risks
from sidecar.policy.terms import Reads, Terms
from sidecar.system.temporary_folders import PREFIX
from tests.support.peer import child_pids, command_line


def bundle_of(policy: str, serial: int = 1) -> Bundle:
    """The bundle of a policy's text, which must be free of problems."""
    file, problems = read(policy, "policy.yaml")
    model, clashes = merge([file])
    assert not [*problems, *clashes]
    return build(compile_policy(model), serial)


NOTHING = Terms(
    tools=frozenset(), patterns=(), reads={}, reads_any=Reads(), refunds={}, monitored=frozenset(), monitor=False,
    hidden=(), withheld=(), scopes=frozenset(), rules=(), methods=Methods("allow"), risks=Risks({}, (), UNKNOWN),
)  # fmt: skip
"""The terms of a policy that says nothing."""


def tool_call(tool: str, arguments: str) -> ToolCall:
    """A call with arguments in JSON, read as the sidecar reads it."""
    line = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}'
    request = jsonrpc.read(line.encode())
    assert isinstance(request, jsonrpc.Request)
    return read_call(request)


def body_of(bundle: Bundle, tool: str, arguments: str) -> bytes:
    """The question about a call under a bundle, as the engine gets it."""
    call, reads = tool_call(tool, arguments), bundle.terms.reads_of(tool)
    keys = sorted(call.arguments) if reads.only is not None else None
    return question("stub", tool, arguments_read(call, Projection(reads.paths, reads.only or ())), keys=keys)


async def asked(engine: Engine, body: bytes, bundle: Bundle, *, lasting: bool = True) -> Answer:
    """What is found when a question is put. Raises `EngineUnavailable` or `Superseded` where that is no answer."""
    found: asyncio.Future[Finding] = asyncio.get_running_loop().create_future()
    engine.put(body, bundle, "id", found.set_result, lasting=lasting)
    finding = await found
    if isinstance(finding, Answer):
        return finding
    raise finding


async def http(port: int, request: str | bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a request to a loopback port, read until the other side closes: status, headers in lower case, body."""
    data = request.encode() if isinstance(request, str) else request
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            reply = await reader.read()
    finally:
        writer.close()
    head, _, body = reply.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status.split()[1]) if status else 0, headers, body


def get(path: str, **headers: str) -> str:
    """A GET request after which the connection ends; `_` in a header's name stands for `-`."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n"


async def soon(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something holds, while everything else goes on. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.002)


def opa_pids() -> list[int]:
    """Process ids of the OPAs that engines started; servers that other tests share are none."""
    return [pid for pid in child_pids(os.getpid()) if PREFIX in command_line(pid)]


def opa_pid() -> int:
    """The process id of the one OPA that an engine started."""
    (pid,) = opa_pids()
    return pid


def opa_socket() -> Path:
    """Where it listens, as its command line says it."""
    (word,) = [word for word in command_line(opa_pid()).split() if word.startswith("unix://")]
    return Path(word.removeprefix("unix://"))


async def all_ended() -> None:
    """Wait until no OPA runs any more that an engine started."""
    await soon(lambda: not opa_pids())
