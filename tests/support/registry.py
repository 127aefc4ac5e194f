"""A real OCI registry (Debian's docker-registry) on a port of loopback, its data in a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.nginx import listens
from tests.support.peer import Peer, until
from tests.support.ports import free_port

CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}
http: {{addr: 127.0.0.1:{port}, secret: only-for-tests}}
{more}
"""


@contextmanager
def registry(folder: Path, more: str = "", port: int | None = None) -> Iterator[str]:
    """Its HOST:PORT. `more` is configuration, in which `{folder}` stands for its folder."""
    folder.mkdir(exist_ok=True)
    program = shutil.which("docker-registry")
    if program is None:
        raise RuntimeError("no docker-registry: make registry")
    port = port or free_port()
    config = folder / "registry.yml"
    config.write_text(CONFIG.format(folder=folder, port=port, more=more.replace("{folder}", str(folder))))
    with Peer([program, "serve", str(config)], folder) as running:
        until(lambda: listens(port) or running.process.poll() is not None, what="docker-registry")
        assert running.process.poll() is None, running.errors
        yield f"127.0.0.1:{port}"
        running.process.terminate()
