"""A real index of Python packages (pypiserver) on a port of loopback; whoever has the token uploads to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from wsgiref.simple_server import make_server

from tests.support import ROOT
from tests.support.nginx import listens
from tests.support.peer import START_SECONDS, Peer, until
from tests.support.ports import free_port


@contextmanager
def package_index(folder: Path, token: str) -> Iterator[str]:
    """Its address. What is uploaded lies in the folder."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.package_index", str(folder), str(port), token]
    with Peer(command, folder.parent, {"PYTHONPATH": str(ROOT)}) as running:
        until(lambda: listens(port) or running.process.poll() is not None, START_SECONDS, "pypiserver")
        assert running.process.poll() is None, running.errors
        yield f"http://127.0.0.1:{port}"
        running.process.terminate()


def main(folder: Path, port: int, token: str) -> None:
    """Serve until killed."""
    import pypiserver  # noqa: PLC0415 - slow, and only the program needs it

    def knows(user: str, password: str) -> bool:
        return (user, password) == ("__token__", token)

    served = pypiserver.app(
        roots=[folder], authenticate=["update"], auther=knows, disable_fallback=True
    )  # fmt: skip
    with make_server("127.0.0.1", port, served) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
