"""Asks running sidecars over HTTP whether they are ready. It runs every few seconds, so it imports next to nothing."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading

SECONDS = 3.0
"""Seconds that the probe may take in all."""
DEFAULT = "127.0.0.1:9464"
READY = "/readyz"
"""What is asked where a URL names no path."""
MAX_REPLY = 64 << 10

_URL = re.compile(r"http://(?:\[([0-9a-fA-F:.]+)\]|([^/:\[\]?#@\s]+))(?::([0-9]{1,5}))?(/[!-~]*)?")
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_ANY_PORT = re.compile(r".*:0+")


def main(url: str | None, server: str | None = None, state_dir: str | None = None) -> int:
    """Print `ready`, or why not on the error stream; the exit status.

    Without a URL the sidecar of this environment is asked, or all that run with the state folder, or those of them in
    front of `server`, which wins over a URL of the environment.
    """
    url = url or (None if server else os.environ.get("SIDECAR_URL") or configured_url())
    return _say("", trouble(url)) if url else _ask_all(server, state_dir)


def configured_url() -> str | None:
    """What to ask according to SIDECAR_TELEMETRY; None where that names no place that can be known beforehand."""
    address = os.environ.get("SIDECAR_TELEMETRY")
    if not address or _ANY_PORT.fullmatch(address):
        return None
    if address.startswith("unix:"):
        return address
    # A wildcard address listens on loopback too.
    address = re.sub(r"^0\.0\.0\.0:", "127.0.0.1:", re.sub(r"^\[::\]:", "[::1]:", address))
    return f"http://{address}{READY}"


def trouble(url: str) -> str | None:
    """Why the sidecar that answers at `url`, or at `unix:PATH`, is not ready, in one line; None if it is."""
    if url.startswith("unix:"):
        return _in_time(url, url.removeprefix("unix:"), "localhost", READY, _plain(url))
    found = _URL.fullmatch(url)
    if found is None:
        return f"{_plain(url)} is no URL that can be asked: write http://HOST:PORT/readyz or unix:/PATH"
    six, name, number, path = found.groups()
    host, port = six or name, int(number or 80)
    at = f"[{host}]:{port}" if six else f"{host}:{port}"
    # Nothing stands at the root of an address of ours.
    path = READY if path in (None, "/") else path
    return _in_time(url, (host, port), at, path, f"{host} port {port}")


def _ask_all(server: str | None, state_dir: str | None) -> int:
    """Ask the sidecars that run with the state folder: 0 if every one that can be asked is ready."""
    # Only here: a probe that was told whom to ask does not need them.
    from sidecar.system import instances  # noqa: PLC0415

    folder = state_dir or os.environ.get("SIDECAR_STATE_DIR") or instances.default_state_dir()
    named = server or os.environ.get("SIDECAR_SERVER")
    found = [one for one in instances.running(folder) if not named or one.server == named]
    asked = [one for one in found if one.telemetry]
    if not found:
        if server is None and state_dir is None and not os.path.isdir(instances.folder(folder)):  # noqa: PTH112
            # It may run with another state folder, or have none that it can write in.
            return _say("", trouble(f"http://{DEFAULT}{READY}"))
        which = f"no sidecar in front of {_plain(named)}" if named else "no sidecar"
        return _say("", f"{which} runs with the state folder {_plain(folder)}")
    if not asked:
        names = ", ".join(f"{_plain(one.server)} (pid {one.pid})" for one in found)
        return _say("", f"{names}: no telemetry to ask: start it with --telemetry 127.0.0.1:0")
    answers: dict[str, str | None] = {}

    def ask(telemetry: str) -> None:
        answers[telemetry] = trouble(_readiness(telemetry))

    asking = [threading.Thread(target=ask, args=(one.telemetry,)) for one in asked]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    if len(found) == 1:
        return _say("", answers[found[0].telemetry])
    status = 0
    for one in found:
        name = f"{_plain(one.server)} (pid {one.pid}): "
        if one.telemetry:
            status |= _say(name, answers[one.telemetry])
        else:
            print(f"{name}not asked, it has no telemetry")
    return status


def _readiness(telemetry: str) -> str:
    if telemetry.startswith("unix:"):
        return telemetry
    return re.sub(r"//0\.0\.0\.0:", "//127.0.0.1:", re.sub(r"//\[::\]:", "//[::1]:", telemetry)) + READY


def _say(name: str, why: str | None) -> int:
    if why:
        print(f"sidecar: {name}not ready: {why}", file=sys.stderr)
        return 1
    print(f"{name}ready")
    return 0


def _in_time(url: str, where: str | tuple[str, int], at: str, path: str, name: str) -> str | None:
    answers: list[str | None] = []
    # In a thread, which bounds everything in time: looking up the name, and an answer that comes byte by byte.
    asking = threading.Thread(target=lambda: answers.append(_ask(where, at, path, name)), daemon=True)
    asking.start()
    asking.join(SECONDS)
    return answers[0] if answers else f"no answer within {SECONDS:g} s from {_plain(url)}"


def _ask(where: str | tuple[str, int], at: str, path: str, name: str) -> str | None:
    try:
        with _connected(where) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n".encode())
            reply = b""
            while len(reply) < MAX_REPLY and (data := connection.recv(4096)):
                reply += data
    except (OSError, OverflowError, UnicodeError) as error:
        return f"{name}: {getattr(error, 'strerror', None) or error}"
    status = _STATUS.match(reply)
    if status is None:
        return f"what answers at {name} is no sidecar"
    if status[1] == b"200":
        return None
    said = _plain(reply.partition(b"\r\n\r\n")[2].partition(b"\n")[0].decode("ascii", "replace"))
    return said if status[1] == b"503" and said else f"{name} answers with status {status[1].decode()}"


def _connected(where: str | tuple[str, int]) -> socket.socket:
    """A connection to a unix socket, or to a host and a port."""
    if not isinstance(where, str):
        return socket.create_connection(where, timeout=SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(SECONDS)
        connection.connect(where)
    except BaseException:
        connection.close()
        raise
    return connection


def _plain(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text[:300]).strip()
