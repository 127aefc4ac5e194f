"""A real nginx with the configuration that docs/http.md shows, in front of sidecars on loopback."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support import ROOT
from tests.support.peer import Peer, until
from tests.support.ports import free_port

AROUND = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
access_log off;
client_body_temp_path {folder}/body;
proxy_temp_path {folder}/proxy;
fastcgi_temp_path {folder}/fastcgi;
uwsgi_temp_path {folder}/uwsgi;
scgi_temp_path {folder}/scgi;
{shown}
}}
"""


def shown() -> str:
    """The configuration in the documentation."""
    found = re.search(r"```nginx\n(.+?)```", (ROOT / "docs" / "http.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@contextmanager
def nginx(folder: Path, sidecars: Sequence[str], *, affinity: bool) -> Iterator[str]:
    """The URL of an nginx in front of sidecars, which are URLs."""
    folder.mkdir()
    port = free_port()
    text = shown().replace("listen 8000;", f"listen 127.0.0.1:{port};")
    for number, url in enumerate(sidecars, 1):
        text = text.replace(f"sidecar-{number}:8080", urlsplit(url).netloc)
    if not affinity:
        text, lines = re.subn(r"\n *hash .+", "", text)
        assert lines == 1
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, shown=text))
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise RuntimeError("no nginx: make nginx")
    with Peer([program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")], folder) as running:
        until(lambda: _listens(port) or running.process.poll() is not None, what="nginx")
        assert running.process.poll() is None, running.errors
        yield f"http://127.0.0.1:{port}/mcp"
        running.process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
