"""Asks a running sidecar over HTTP whether it is ready. It runs every few seconds, so it imports next to nothing."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading

SECONDS = 3.0
"""Seconds that the probe may take in all."""
DEFAULT = "127.0.0.1:9464"
MAX_REPLY = 64 << 10

_URL = re.compile(r"http://(?:\[([0-9a-fA-F:.]+)\]|([^/:\[\]?#@\s]+))(?::([0-9]{1,5}))?(/[!-~]*)?")
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")


def main(url: str | None) -> int:
    """Print `ready`, or why not on the error stream; the exit status."""
    why = trouble(url or default_url())
    print(f"sidecar: not ready: {why}" if why else "ready", file=sys.stderr if why else sys.stdout)
    return 1 if why else 0


def default_url() -> str:
    """The readiness URL of a sidecar that was started with this environment."""
    url = os.environ.get("SIDECAR_URL")
    address = os.environ.get("SIDECAR_TELEMETRY") or DEFAULT
    # A wildcard address listens on loopback too.
    address = re.sub(r"^0\.0\.0\.0:", "127.0.0.1:", re.sub(r"^\[::\]:", "[::1]:", address))
    return url or f"http://{address}/readyz"


def trouble(url: str) -> str | None:
    """Why the sidecar that answers at `url` is not ready, in one line; None if it is."""
    found = _URL.fullmatch(url)
    if found is None:
        return f"{_plain(url)} is no URL that can be asked: write http://HOST:PORT/readyz"
    six, host, port, path = found.groups()
    answers: list[str | None] = []
    # In a thread, which bounds everything in time: looking up the name, and an answer that comes byte by byte.
    asking = threading.Thread(
        target=lambda: answers.append(_ask(six or host, int(port or 80), path or "/")), daemon=True
    )
    asking.start()
    asking.join(SECONDS)
    return answers[0] if answers else f"no answer within {SECONDS:g} s from {_plain(url)}"


def _ask(host: str, port: int, path: str) -> str | None:
    try:
        with socket.create_connection((host, port), timeout=SECONDS) as connection:
            at = f"[{host}]" if ":" in host else host
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {at}:{port}\r\nConnection: close\r\n\r\n".encode())
            reply = b""
            while len(reply) < MAX_REPLY and (data := connection.recv(4096)):
                reply += data
    except (OSError, OverflowError, UnicodeError) as error:
        return f"{host} port {port}: {getattr(error, 'strerror', None) or error}"
    status = _STATUS.match(reply)
    if status is None:
        return f"what answers at {host} port {port} is no sidecar"
    if status[1] == b"200":
        return None
    said = _plain(reply.partition(b"\r\n\r\n")[2].partition(b"\n")[0].decode("ascii", "replace"))
    return said if status[1] == b"503" and said else f"{host} port {port} answers with status {status[1].decode()}"


def _plain(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text[:300]).strip()
