"""Something that listens where OPA should, knows our policy's revision, and says yes to everything but the canary.

`python -m tests.support.liar SOCKET REVISION USER` runs it as another user, until its standard input ends.
"""

from __future__ import annotations

import json
import os
import re
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidecar.policy.names import CANARY_DENIED


@contextmanager
def lying(socket: Path, revision: str, version: str) -> Iterator[None]:
    """Answer at a unix socket as an OPA of this version that decides by this revision."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := self.head():
                asked = json.loads(self.rfile.read(int(re.findall(r"Content-Length: (\d+)", head)[0])))["input"]
                body = json.dumps({"result": _answer(asked, revision, version)}).encode()
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

        def head(self) -> str:
            lines = list(iter(self.rfile.readline, b"\r\n")) if (first := self.rfile.readline()) else []
            return (first + b"".join(lines)).decode()

    with socketserver.ThreadingUnixStreamServer(str(socket), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join(10)


def _answer(asked: dict[str, object], revision: str, version: str) -> object:
    answer: dict[str, object] = {"version": 1, "revision": revision, "serial": 1}
    if asked["method"] == "intercept/engine":
        return answer | {"engine": version, "verifies": True}
    refused = asked["tool"] == CANARY_DENIED
    why = {"rule": "r", "reason": "No", "kind": "canary"} if refused else {"rule": "", "reason": "", "kind": "allow"}
    violations = [why | {"monitor": False}] if refused else []
    action = "deny" if refused else "allow"
    return answer | why | {"action": action, "violations": violations, "reserve": [], "approval": None}


if __name__ == "__main__":
    place, decided_by, user = sys.argv[1:]
    os.setuid(int(user))
    with lying(Path(place), decided_by, "1.22.4"):
        Path(place).chmod(0o777)  # whoever likes may connect
        print("listening", flush=True)
        sys.stdin.read()
