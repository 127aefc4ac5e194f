"""Where a bundle is in an OCI registry: `oci://HOST[:PORT]/NAME[:TAG]` or `…@sha256:DIGEST`. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sidecar.auth.hosts import is_loopback
from sidecar.http import origin
from sidecar.http.origin import Origin
from sidecar.text import shown

SCHEME: Final = "oci://"
LATEST: Final = "latest"
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class OciReference:
    """A registry, the name of a repository there, and a tag or a digest in it."""

    registry: Origin
    name: str
    tag: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.registry.host_header}/{self.name}{'@' if self.pinned else ':'}{self.tag}"

    @property
    def pinned(self) -> bool:
        """True where a digest is named: what is there never changes."""
        return DIGEST.fullmatch(self.tag) is not None

    @property
    def base(self) -> str:
        """The URL below which the registry has this repository: by TLS, but on this machine itself."""
        scheme = "https" if self.registry.secure else "http"
        return f"{scheme}://{self.registry.host_header}/v2/{self.name}"


def read(text: str) -> OciReference:
    """The reference that a text is. Raises ValueError with what is wrong."""
    authority, slash, rest = text.removeprefix(SCHEME).partition("/")
    name, at, digest = rest.partition("@")
    tag = digest
    if not at:
        name, colon, tag = rest.partition(":")
        tag = tag if colon else LATEST
    if not slash or not _NAME.fullmatch(name) or len(name) > 255:
        raise ValueError(f"{shown(name)} is no name of a repository: write oci://HOST/NAME[:TAG], with small letters")
    if not (DIGEST if at else _TAG).fullmatch(tag):
        kind = "digest (sha256: and 64 hexadecimal digits)" if at else "tag"
        raise ValueError(f"{shown(tag)} is no {kind}: write oci://HOST/NAME[:TAG]")
    if "?" in authority:
        raise ValueError("a registry is a host, and perhaps a port: write oci://HOST/NAME[:TAG]")
    # The scheme decides the default port, so the host is read first.
    secure = not is_loopback(origin.parse(f"https://{authority}")[0].host)
    return OciReference(origin.parse(f"{'https' if secure else 'http'}://{authority}")[0], name, tag)
