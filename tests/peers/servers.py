"""Servers that other people wrote: how each is started, and what to call of it.

What a call leaves behind at the server is looked at too, so that a denied one that ran all the same is seen.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from programs.demo import exchange
from tests.support.listener import LISTENING
from tests.support.node import FOLDER, NODE, package
from tests.support.ports import free_port

Arguments: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool and what it is called with."""

    tool: str
    arguments: Arguments


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready to be started.

    `allowed` is a call whose answer holds the text `answer`; `denied` is one that the policy refuses, and `ran` says
    whether it came to the server. A server that listens says where with `listening`, and has `path` there; `headers`
    are what it wants of its clients, each with the variable in `env` that holds the value.
    """

    command: Sequence[str]
    tools: int
    allowed: Call
    answer: str
    denied: Call
    ran: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    listening: str | None = None
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def policy(self) -> str:
        """A policy that refuses the one call only."""
        return f"tools:\n  {self.denied.tool}:\n    rules:\n      - {{action: deny, reason: Not for tests}}\n"


@contextmanager
def okx(folder: Path) -> Iterator[Server]:
    """The OKX server, with a stub of the exchange behind it."""
    with _okx([]) as server:
        yield server


@contextmanager
def okx_http(folder: Path) -> Iterator[Server]:
    """The OKX server as one that listens."""
    listening = r"Uvicorn running on (http://\S+)"
    with _okx(["--http", "--host", "127.0.0.1", "--port", str(free_port())]) as server:
        yield replace(server, listening=listening, path="/mcp", headers={"Authorization": "AUTHORIZATION"})


@contextmanager
def npm_everything(folder: Path) -> Iterator[Server]:
    """The reference server of the npm registry on stdio."""
    yield _everything("stdio")


@contextmanager
def npm_everything_http(folder: Path) -> Iterator[Server]:
    """The same on streamable HTTP."""
    yield _everything("streamableHttp", LISTENING)


@contextmanager
def npm_everything_sse(folder: Path) -> Iterator[Server]:
    """The same on the older HTTP transport."""
    yield _everything("sse", LISTENING)


@contextmanager
def npm_filesystem(folder: Path) -> Iterator[Server]:
    """A server that reads and writes files below a folder."""
    root = folder / "files"
    root.mkdir()
    (root / "read.txt").write_text("what is in the file")
    written = root / "written.txt"
    yield Server(
        command=[str(NODE), str(package("@modelcontextprotocol/server-filesystem", "dist/index.js")), str(root)],
        tools=14,
        allowed=Call("read_text_file", {"path": str(root / "read.txt")}),
        answer="what is in the file",
        denied=Call("write_file", {"path": str(written), "content": "x"}),
        ran=written.exists,
    )


@contextmanager
def python_time(folder: Path) -> Iterator[Server]:
    """A server that knows the time."""
    yield Server(
        command=[_beside_python("mcp-server-time"), "--local-timezone", "Etc/UTC"],
        tools=2,
        allowed=Call("get_current_time", {"timezone": "Europe/Zurich"}),
        answer="Europe/Zurich",
        denied=Call("convert_time", {"source_timezone": "Etc/UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}),
        ran=lambda: False,
    )


@contextmanager
def python_git(folder: Path) -> Iterator[Server]:
    """A server that works in a git repository."""
    repository = folder / "repository"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(repository)]
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(repository)], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "begun"], check=True)
    yield Server(
        command=[_beside_python("mcp-server-git"), "--repository", str(repository)],
        tools=12,
        allowed=Call("git_log", {"repo_path": str(repository)}),
        answer="begun",
        denied=Call("git_create_branch", {"repo_path": str(repository), "branch_name": "made"}),
        ran=(repository / ".git" / "refs" / "heads" / "made").exists,
    )


SERVERS: Final = (
    okx, okx_http, npm_everything, npm_everything_http, npm_everything_sse, npm_filesystem, python_time, python_git,
)  # fmt: skip


@contextmanager
def _okx(options: Sequence[str]) -> Iterator[Server]:
    books = exchange.Exchange()
    with exchange.serve(books) as url:
        yield Server(
            command=[_beside_python("mcp-okx"), *options],
            tools=11,
            allowed=Call("market_tickers", {"instType": "SPOT"}),
            answer="BTC-USDT",
            denied=Call("cancel_order", {"instId": "BTC-USDT", "ordId": "1"}),
            ran=lambda: any(request.path == exchange.CANCEL_ORDER for request in books.received),
            env={
                "OKX_BASE_URL": url, "OKX_API_KEY": "demo", "OKX_API_SECRET": "demo", "OKX_PASSPHRASE": "demo",
                "MCP_AUTH_TOKEN": "token-of-tests", "AUTHORIZATION": "Bearer token-of-tests",
                # With its banner FastMCP asks PyPI for a newer version of itself: nothing here may leave the machine.
                "FASTMCP_SHOW_SERVER_BANNER": "false", "FASTMCP_CHECK_FOR_UPDATES": "off",
            },
        )  # fmt: skip


def _everything(transport: str, listening: str | None = None) -> Server:
    program = package("@modelcontextprotocol/server-everything", "dist/index.js")
    return Server(
        command=[str(NODE), "--import", str(FOLDER / "loopback.mjs"), str(program), transport],
        tools=13,
        allowed=Call("echo", {"message": "Grüezi"}),
        answer="Echo: Grüezi",
        denied=Call("get-sum", {"a": 1, "b": 2}),
        ran=lambda: False,
        env={"PORT": "0"},
        listening=listening,
    )


def _beside_python(program: str) -> str:
    return str(Path(sys.executable).with_name(program))
