"""Publishes to an OCI registry: a tag for each serial, and a tag that moves. A registry has no compare-and-set."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urljoin

from sidecar.distribution.access import Access
from sidecar.distribution.destination import Taken, settled
from sidecar.distribution.file_source import tag_of
from sidecar.distribution.label import Label
from sidecar.distribution.oci.manifest import EMPTY, MANIFEST, written
from sidecar.distribution.oci.reference import OciReference
from sidecar.distribution.oci.registry import Registry
from sidecar.distribution.oci.source import bundle_of
from sidecar.errors import NothingPublished, SourceUnavailable
from sidecar.http import origin

REVISION: Final = "org.opencontainers.image.revision"
VERSION: Final = "org.opencontainers.image.version"
POLICY_REVISION: Final = "io.intercept.policy.revision"


class OciDestination:
    """Writes a name and reads it back after a while, so that two publishers see who was the last."""

    def __init__(self, place: OciReference, access: Access) -> None:
        self.name = str(place)
        self._place = place
        self._registry = Registry(place, access, "pull,push")

    async def current(self) -> bytes | None:
        """The bundle that sidecars fetch now."""
        return await self._bundle(self._place.tag)

    async def of_serial(self, serial: int) -> bytes | None:
        """The bundle that was published under a serial."""
        return await self._bundle(_tag(serial))

    async def keep(self, serial: int, data: bytes, label: Label) -> None:
        """Write the bundle of a serial. Raises `Taken` where another one is."""
        for content in (EMPTY, data):
            await self._upload(content)
        # The uploads take long and decide nothing; from here on it is a matter of moments.
        began = asyncio.get_running_loop().time()
        if await self._digest(_tag(serial)) is not None:
            raise Taken(f"{self.name}: has serial {serial}")
        await self._name(_tag(serial), _manifest(data, label), began)

    async def replace(self, old: bytes | None, data: bytes, label: Label) -> None:
        """Make this the bundle that sidecars fetch. Raises `Taken` where another one came first."""
        for content in (EMPTY, data):
            await self._upload(content)
        began = asyncio.get_running_loop().time()
        if await self._bundle(self._place.tag) != old:
            raise Taken(f"{self.name}: somebody else published")
        await self._name(self._place.tag, _manifest(data, label), began)

    async def close(self) -> None:
        """Drop its connections."""
        await self._registry.close()

    async def _bundle(self, tag: str) -> bytes | None:
        try:
            return await bundle_of(self._registry, (await self._registry.manifest(tag))[1])
        except NothingPublished:
            return None

    async def _digest(self, tag: str) -> str | None:
        try:
            return (await self._registry.manifest(tag))[0]
        except NothingPublished:
            return None

    async def _name(self, tag: str, manifest: bytes, began: float) -> None:
        """Give a manifest a tag, and see that it has it."""
        url = f"{self._place.base}/manifests/{tag}"
        reply = await self._registry.ask("PUT", url, {"content-type": MANIFEST}, body=manifest)
        self._registry.must_be(reply, 201, "manifest")
        await settled(began)
        if await self._digest(tag) != tag_of(manifest):
            raise Taken(f"{self.name}: the tag {tag} names another bundle than the one that was written")

    async def _upload(self, content: bytes) -> None:
        """Write a blob, unless the registry has it."""
        digest = tag_of(content)
        reply = await self._registry.ask("HEAD", f"{self._place.base}/blobs/{digest}", {})
        if reply.status == 200:
            return
        started = f"{self._place.base}/blobs/uploads/"
        reply = await self._registry.ask("POST", started, {"content-length": "0"})
        self._registry.must_be(reply, 202, "upload")
        url = self._here(started, reply.headers.get("location", ""))
        url = f"{url}{'&' if '?' in url else '?'}digest={digest}"
        reply = await self._registry.ask("PUT", url, {"content-type": "application/octet-stream"}, body=content)
        self._registry.must_be(reply, 201, "upload")

    def _here(self, asked: str, location: str) -> str:
        """Where an upload goes on, which is at this registry: our login goes with it."""
        try:
            url = urljoin(asked, location)
            here = origin.parse(url)[0] == self._place.registry
        except ValueError:
            here = False
        if here:
            return url
        raise SourceUnavailable(f"{self.name}: the registry wants the upload at another server, which is not done")


def _manifest(data: bytes, label: Label) -> bytes:
    said = {VERSION: str(label.serial), POLICY_REVISION: label.revision}
    return written(data, said | ({REVISION: label.commit} if label.commit else {}))


def _tag(serial: int) -> str:
    return f"serial-{serial}"
