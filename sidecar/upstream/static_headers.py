"""The operator's own headers on every request to a remote server, so that no client has to hold its credentials.

A value may be read from a file, and again when that changes, so that a credential can be replaced while we run.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sidecar.errors import StartError
from sidecar.http.hop_by_hop import Fields
from sidecar.settings import FixedHeader
from sidecar.system.files import Unreadable
from sidecar.system.operator_log import fields, log
from sidecar.system.watched_file import WatchedFile

MAX_VALUE: Final = 16 << 10
"""Bytes of a value."""
_VALUE: Final = re.compile(r"[\x20-\x7e\t\x80-\xff]+")


def fixed_headers(headers: Sequence[FixedHeader]) -> Callable[[], Fields]:
    """What gives the headers as they are now. Raises `StartError` where a value cannot be had at the start."""
    readers = [_from_file(one.name, one.path) if one.path is not None else _as_is(one) for one in headers]
    return lambda: [read() for read in readers]


def _as_is(header: FixedHeader) -> Callable[[], tuple[str, str]]:
    assert header.value is not None  # it has no path
    found = (header.name, header.value)
    return lambda: found


def _from_file(name: str, path: Path) -> Callable[[], tuple[str, str]]:
    file = WatchedFile(path, MAX_VALUE)
    try:
        found = (name, _value(file.changed() or b"", path))
    except Unreadable as problem:
        raise StartError(f"--header {name}: {problem}") from None

    def read() -> tuple[str, str]:
        nonlocal found
        try:
            content = file.changed()
            if content is not None:
                found = (name, _value(content, path))
        except Unreadable as problem:
            # The old value may still be good, and the server tells if it is not.
            log.error(
                "--header %s: %s; the old value stays in use", name, problem,
                extra=fields("header_file_unusable", option="--header", cause=str(problem)),
            )  # fmt: skip
        return found

    return read


def _value(content: bytes, path: Path) -> str:
    # Editors put it in front of text in UTF-8; it is no part of any value.
    value = content.removeprefix(codecs.BOM_UTF8).decode("latin-1").strip()
    if not _VALUE.fullmatch(value):
        raise Unreadable(f"{path} holds no value for a header: write it on one line")
    return value
