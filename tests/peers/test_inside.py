"""`within` and `host_in` before real servers: nothing is written outside of the folder, and no other host is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.listener import ALLOW_ALL
from tests.support.node import NODE, package
from tests.support.peer import Sidecar, denied

pytestmark = pytest.mark.slow

FETCH: Final = "gzip-file-as-resource"
"""The tool of the reference server that fetches a URL."""

INSIDE = ["{x}/ok.txt", "{x}/./a/../ok.txt", "{x}/../x/ok.txt", "/{x}//ok.txt"]
OUTSIDE = [
    "{x}/../evil.txt",
    "{x}/a/../../evil.txt",
    "{x}/./../evil.txt",
    "{x}/..//evil.txt",
    "{x}-evil.txt",
    "{home}/evil.txt",
]


@contextmanager
def filesystem(folder: Path, policy: str) -> Iterator[Sidecar]:
    """The server may use all of `folder`: what keeps a call in a folder below is the policy."""
    command = [str(NODE), str(package("@modelcontextprotocol/server-filesystem", "dist/index.js")), str(folder)]
    (folder / "x" / "a").mkdir(parents=True)
    with Sidecar(folder, policy, server=command) as sidecar:
        sidecar.initialize()
        yield sidecar


def write(sidecar: Sidecar, folder: Path, path: str) -> tuple[Any, bool]:
    """The answer to a call that writes a file, and whether one is there afterwards that was not."""
    before = set(folder.rglob("*.txt"))
    reply = sidecar.call("write_file", {"path": path.format(x=folder / "x", home=folder), "content": "x"})
    made = {file for file in set(folder.rglob("*.txt")) - before if not file.name.startswith("stderr")}
    for file in made:
        file.unlink()
    return reply, bool(made)


def only(tool: str, path: str, op: str, value: str, action: str = "evaluate") -> str:
    condition = f"{{path: {path}, op: {op}, value: {value}}}"
    return (
        f"tools:\n  {tool}:\n    rules:\n      - {{action: {action}, conditions: [{condition}], reason: elsewhere}}\n"
    )


def test_the_server_alone_writes_inside_and_outside(tmp_path: Path) -> None:
    with filesystem(tmp_path, ALLOW_ALL) as sidecar:
        for path in [*INSIDE, *OUTSIDE]:
            assert write(sidecar, tmp_path, path)[1], path


def test_no_file_is_written_outside_of_the_folder(tmp_path: Path) -> None:
    with filesystem(tmp_path, only("write_file", "args.path", "within", f"{tmp_path}/x")) as sidecar:
        for path in INSIDE:
            reply, written = write(sidecar, tmp_path, path)
            assert (denied(reply), written) == (None, True), path
        for path in [*OUTSIDE, "evil.txt", "~/evil.txt", "x/evil.txt", "{x}\\..\\evil.txt", "{x}/../evil.txt "]:
            reply, written = write(sidecar, tmp_path, path)
            assert (denied(reply), written) == ("elsewhere", False), path


def test_no_file_is_written_in_a_folder_that_is_denied(tmp_path: Path) -> None:
    with filesystem(tmp_path, only("write_file", "args.path", "within", f"[{tmp_path}/x, /etc]", "deny")) as sidecar:
        for path in [*INSIDE, "x/evil.txt", "~/x/evil.txt"]:
            reply, written = write(sidecar, tmp_path, path)
            assert (denied(reply), written) == ("elsewhere", False), path
        for path in OUTSIDE:
            reply, written = write(sidecar, tmp_path, path)
            assert (denied(reply), written) == (None, True), path


@dataclass(frozen=True, slots=True)
class Host:
    """An HTTP server on a port of 127.0.0.1, and the paths that it was asked for."""

    port: int
    asked: list[str] = field(default_factory=list)


@contextmanager
def host() -> Iterator[Host]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Host(server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()


GOOD = [
    "http://127.0.0.1:{a}",
    "HTTP://127.0.0.1:{a}/x?y=http://127.0.0.1:{b}#@x",
    "http://127.0.0.1:{a}/@127.0.0.1:{b}",
]
EVIL = [
    "http://127.0.0.1:{b}/", "http://127.1:{b}/",
    "http://2130706433:{b}/", "http://0x7f.1:{b}", "http://0177.0.0.1:{b}", "http://[::ffff:127.0.0.1]:{b}/",
    "http:/127.0.0.1:{b}", "http:127.0.0.1:{b}", "http:\\\\127.0.0.1:{b}", "http://127.0.0.1:{b}\\@127.0.0.1:{a}/",
    "http://127.0.0.1:{b}?@127.0.0.1:{a}/", "http://127.0.0.1:{b}#@127.0.0.1:{a}",
    " http://127.0.0.1:{b}", "http://127.0.\n0.1:{b}", "http://127.0.0.1:\t{b}/",
    "http://127。0。0。1:{b}/", "http://①27.0.0.1:{b}/", "http://127.0.0.1.:{b}/", "http://127%2e0.0.1:{b}/", "http://127.0.0.1:0{b}",
]  # fmt: skip
"""Ways to the other host, all of which the server goes."""
OTHERS_GO = ["http://127.0.0.1:{a}@127.0.0.1:{b}/", "http://u:p@127.0.0.1:{b}/"]
"""Those that other servers go."""


@contextmanager
def fetcher(folder: Path, policy: str) -> Iterator[Sidecar]:
    program = package("@modelcontextprotocol/server-everything", "dist/index.js")
    with Sidecar(folder, policy, server=[str(NODE), str(program), "stdio"], env={"NO_PROXY": "*"}) as sidecar:
        sidecar.initialize()
        yield sidecar


def fetch(sidecar: Sidecar, url: str, a: Host, b: Host) -> tuple[str | None, bool, bool]:
    """The message of a refusal, and which of the two hosts were asked."""
    a.asked.clear()
    b.asked.clear()
    reply = sidecar.call(FETCH, {"name": "x", "data": url.format(a=a.port, b=b.port)})
    return denied(reply), bool(a.asked), bool(b.asked)


def test_the_server_alone_asks_both_hosts(tmp_path: Path) -> None:
    with host() as a, host() as b, fetcher(tmp_path, ALLOW_ALL) as sidecar:
        for url in GOOD:
            assert fetch(sidecar, url, a, b) == (None, True, False), url
        for url in EVIL:
            assert fetch(sidecar, url, a, b) == (None, False, True), url


def test_no_host_is_asked_but_the_one_that_is_listed(tmp_path: Path) -> None:
    with (
        host() as a,
        host() as b,
        fetcher(tmp_path, only(FETCH, "args.data", "host_in", f'["127.0.0.1:{a.port}"]')) as sidecar,
    ):
        for url in GOOD:
            assert fetch(sidecar, url, a, b) == (None, True, False), url
        for url in [*EVIL, *OTHERS_GO]:
            assert fetch(sidecar, url, a, b) == ("elsewhere", False, False), url


def test_a_host_that_is_denied_is_not_asked(tmp_path: Path) -> None:
    with (
        host() as a,
        host() as b,
        fetcher(tmp_path, only(FETCH, "args.data", "host_in", f'["127.0.0.1:{b.port}"]', "deny")) as sidecar,
    ):
        for url in GOOD:
            assert fetch(sidecar, url, a, b) == (None, True, False), url
        for url in [*EVIL, *OTHERS_GO]:
            assert fetch(sidecar, url, a, b) == ("elsewhere", False, False), url
