"""Where bundles are, as an operator writes it: a file or a directory, `http(s)://…`, `oci://…`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from sidecar.auth.hosts import is_loopback
from sidecar.distribution.access import ANONYMOUS, SAID, Access
from sidecar.distribution.file_source import FileSource
from sidecar.distribution.oci import reference as oci_reference
from sidecar.distribution.oci.reference import OciReference
from sidecar.distribution.source import Source
from sidecar.errors import UsageError
from sidecar.http import origin
from sidecar.text import shown

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")


@dataclass(frozen=True, slots=True)
class Url:
    """A URL; its query may be a secret."""

    text: str = field(repr=False)


Place: TypeAlias = Path | Url | OciReference


def source_of(text: str, access: Access = ANONYMOUS) -> Source:
    """The source that a text names. Nothing is asked yet. Raises `UsageError` for a text that names none."""
    place = place_of(text, access)
    if isinstance(place, Path):
        return FileSource(place)
    # Imported only here: httpx takes long to import.
    from sidecar.distribution.http_source import HttpSource  # noqa: PLC0415
    from sidecar.distribution.oci.source import OciSource  # noqa: PLC0415

    return OciSource(place, access) if isinstance(place, OciReference) else HttpSource(place.text, access)


def place_of(text: str, access: Access = ANONYMOUS) -> Place:
    """The place that a text names. Raises `UsageError`."""
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    try:
        match scheme:
            case "http" | "https":
                where, _ = origin.parse(text)
                if access.given and not where.secure and not is_loopback(where.host):
                    raise UsageError(
                        f"{place_name(text)}: the token would be readable on the way: write https://, or set no {SAID}"
                    )
                return Url(text)
            case "oci":
                return oci_reference.read(text)
            case "file":
                return Path(text[len("file:") :].removeprefix("//"))
    except ValueError as error:
        raise UsageError(f"{place_name(text)} names no place for a bundle: {error}") from None
    if scheme:
        raise UsageError(
            f"{place_name(text)} names no place for a bundle: write a path, http://…, https://… or oci://HOST/NAME[:TAG]"
        )
    if not text or "\0" in text:
        raise UsageError("a bundle comes from a place: write a path, http://…, https://… or oci://HOST/NAME[:TAG]")
    return Path(text)


def place_name(text: str) -> str:
    """The text without a query and without what stands before an `@` in its host: both may be secrets."""
    return shown(re.sub(r"(?<=://)[^/?#]*@", "", text.partition("?")[0]))
