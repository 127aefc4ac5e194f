"""A real nginx on loopback, with whatever stands in its `http` block."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.peer import Peer, until

AROUND = """\
daemon off;
worker_processes 1;
{user}
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
{block}
}}
"""


@contextmanager
def nginx(folder: Path, block: str, port: int) -> Iterator[Peer]:
    """Run it until the end; the block says that it listens on the port."""
    folder.mkdir(exist_ok=True)
    # Its worker would be another user, who cannot read a test's folder.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user=user, block=block))
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise RuntimeError("no nginx: make nginx")
    with Peer([program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")], folder) as running:
        until(lambda: listens(port) or running.process.poll() is not None, what="nginx")
        assert running.process.poll() is None, running.errors
        yield running
        running.process.terminate()


def listens(port: int) -> bool:
    """True if somebody listens on the port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
