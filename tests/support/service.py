"""A program that serves HTTP on a port of loopback: started, waited for until it answers, asked, and ended."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.peer import SECONDS, Peer, until
from tests.support.ports import free_port

ATTEMPTS: Final = 3
"""How often another port is tried, when somebody else was quicker to take one."""
START: Final = 2 * SECONDS


@contextmanager
def serving(command: Callable[[int], Sequence[str]], folder: Path, ready: str) -> Iterator[str]:
    """Start the command that listens on a given port; its URL, once the path `ready` is answered with 200."""
    folder.mkdir(parents=True, exist_ok=True)
    said = ""
    for _ in range(ATTEMPTS):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with Peer(command(port), folder) as running:
            # Bound in the loop: each is only used before the next one is made.
            until(lambda r=running, u=url: r.process.poll() is not None or _answers(u + ready), START, command(port)[0])  # type: ignore[misc]
            if running.process.poll() is None:
                yield url
                running.process.terminate()
                return
            said = running.errors
    raise RuntimeError(f"{command(0)[0]} does not start: {said[-2000:]}")


def asked(url: str, **parameters: str | Sequence[str]) -> bytes:
    """What is answered to a GET. Raises RuntimeError with what was said instead, where the status is no 200."""
    return _sent(f"{url}?{urllib.parse.urlencode(parameters, doseq=True)}" if parameters else url)


def asked_json(url: str, **parameters: str | Sequence[str]) -> Any:
    """The JSON that is answered to a GET."""
    return json.loads(asked(url, **parameters))


def posted(url: str, body: bytes, headers: Mapping[str, str] = {}) -> bytes:
    """What is answered to a POST."""
    return _sent(urllib.request.Request(url, body, dict(headers), method="POST"))


def _sent(request: str | urllib.request.Request) -> bytes:
    try:
        with urllib.request.urlopen(request, timeout=START) as reply:
            body: bytes = reply.read()
            return body
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{error.code}: {error.read(2000).decode(errors='replace')}") from error


def _answers(url: str) -> bool:
    try:
        asked(url)
    except (OSError, RuntimeError):
        return False
    return True
