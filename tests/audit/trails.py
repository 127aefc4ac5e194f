"""Audit trails in files of a test: written, read, and a disk that is full."""

from __future__ import annotations

import json
import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sidecar.audit.chain import BEGINNING, link
from sidecar.audit.files import AuditFile
from sidecar.audit.forms.json_lines import JsonLines
from sidecar.audit.trail import Trail

ABOUT = {"instance": "0a1b2c3d", "server": "stub"}
ROOMY = 1 << 30
JSON = JsonLines()


def line(number: int, **more: Any) -> bytes:
    """A line as the records of decisions are, with a number to know it by."""
    return json.dumps({"schema": 1, "event": "decision", "n": number, **more}, separators=(",", ":")).encode()


@contextmanager
def trail(path: Path, most: int = ROOMY) -> Iterator[Trail]:
    """A trail into a file, closed at the end."""
    opened = Trail(AuditFile(path, JSON, most, 0), JSON, ABOUT)
    try:
        yield opened
    finally:
        opened.close()


def write(path: Path, *numbers: int, most: int = ROOMY) -> None:
    """What one run writes, a line at a time."""
    with trail(path, most) as opened:
        for number in numbers:
            opened.write([line(number)])


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that can be read."""
    return list(filter(None, map(as_json, path.read_bytes().splitlines())))


def numbers(path: Path) -> list[int]:
    """Which lines a file holds."""
    return [one["n"] for one in read(path) if "n" in one]


def as_json(text: bytes) -> Any:
    """What a line says; None for one that was cut off."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def chained(*lines: bytes) -> bytes:
    """The lines as a chain that begins with them, made by the rule and not by the trail."""
    chain, sealed = BEGINNING, []
    for seq, one in enumerate(lines, 1):
        chain = link(chain, one)
        sealed.append(JSON.seal(one, seq, chain) + b"\n")
    return b"".join(sealed)


@contextmanager
def nearly_full(room: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, for the length of a `with`: the rest is refused, as by a full disk."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def caught() -> Iterator[list[Any]]:
    """The lines in the operator's log."""
    said: list[Any] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(json.loads(record.getMessage().partition("; the line is ")[2]))

    log, handler = logging.getLogger("sidecar"), Handler()
    log.addHandler(handler)
    try:
        yield said
    finally:
        log.removeHandler(handler)
