"""Where spans go, as a value: `--otlp`, and the variables by which OpenTelemetry's own exporters are set up.

Of these only what a collector wants to be shown and what a program says of itself are read: where to send to, and
whether, is said by `--otlp` alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from sidecar import __version__
from sidecar.auth.hosts import is_loopback
from sidecar.errors import UsageError
from sidecar.http import hop_by_hop
from sidecar.http.origin import parse
from sidecar.settings import Otlp
from sidecar.text import of_system

TRACES_HEADERS: Final = "OTEL_EXPORTER_OTLP_TRACES_HEADERS"
HEADERS: Final = "OTEL_EXPORTER_OTLP_HEADERS"
SECRETS: Final = (TRACES_HEADERS, HEADERS)
"""The variables that the server must not inherit."""

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e\t\x80-\xff]*")


def otlp_at(url: str | None, environ: Mapping[str, str]) -> Otlp | None:
    """Where spans go, or None where they go nowhere. Raises `UsageError`, whose text has no value of a header."""
    if url is None:
        return None
    try:
        parse(url)
    except ValueError as problem:
        raise UsageError(f"--otlp: {problem}") from None
    named = TRACES_HEADERS if environ.get(TRACES_HEADERS) else HEADERS
    headers = tuple([_header(named, name, value) for name, value in _pairs(named, environ)])
    ours = {"service.name": "intercept-sidecar", "service.version": __version__}
    given = dict(_pairs("OTEL_RESOURCE_ATTRIBUTES", environ))
    if name := environ.get("OTEL_SERVICE_NAME"):
        given["service.name"] = name
    # What is no UTF-8 could not be sent.
    return Otlp(url, headers, tuple([(of_system(key), of_system(value)) for key, value in (ours | given).items()]))


def exposed_headers(otlp: Otlp) -> str | None:
    """The text of a warning where headers, which may be secrets, travel to another machine as plain text."""
    origin = parse(otlp.url)[0]
    if origin.secure or not otlp.headers or is_loopback(origin.host):
        return None
    return (
        f"--otlp http://{origin.host_header} sends the headers of {HEADERS} as plain text to another machine: "
        "give an https:// URL"
    )


def _pairs(variable: str, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """What `name=value,name=value` says; in a value commas and others are percent-encoded (W3C Baggage)."""
    pairs: list[tuple[str, str]] = []
    for place, item in enumerate(environ.get(variable, "").split(","), 1):
        if not item.strip():
            continue
        name, separator, value = item.partition("=")
        if not separator or not name.strip():
            raise UsageError(f"{variable}: item {place} is not written name=value; items are separated by commas")
        pairs.append((name.strip(), unquote(value.strip())))
    return pairs


def _header(variable: str, name: str, value: str) -> tuple[str, str]:
    if not _NAME.fullmatch(name):
        # Not shown: who writes `Name: value` has the value in it.
        raise UsageError(f"{variable}: what stands before = is no name of a header; write NAME=VALUE, not NAME: VALUE")
    if name.lower() in hop_by_hop.HOP_BY_HOP | hop_by_hop.OURS:
        raise UsageError(f"{variable}: {name} is ours to send")
    if not _VALUE.fullmatch(value):
        raise UsageError(f"{variable}: the value of {name} has characters that no header can carry")
    return name.lower(), value
