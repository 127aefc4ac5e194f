"""A bundle in an OCI registry. Its tag is the digest of the manifest, which a small request tells."""

from __future__ import annotations

from sidecar.distribution.access import Access
from sidecar.distribution.oci.manifest import Blob, NoManifest, bundle_in
from sidecar.distribution.oci.reference import OciReference
from sidecar.distribution.oci.registry import Registry
from sidecar.distribution.source import MAX_SIZE, Fetched
from sidecar.errors import BundleRefused, SourceUnavailable


class OciSource:
    """Follows a tag; what a digest names is fetched once."""

    waits = False

    def __init__(self, place: OciReference, access: Access) -> None:
        self.name = str(place)
        self._place = place
        self._registry = Registry(place, access, "pull")

    async def fetch(self, known: str) -> Fetched | None:
        """The bundle that is there now; None where it is the one with the tag `known`."""
        tag = self._place.tag
        if known and (known == tag or known == await self._registry.digest(tag)):
            return None
        digest, manifest = await self._registry.manifest(tag)
        return None if digest == known else Fetched(await bundle_of(self._registry, manifest), digest)

    async def close(self) -> None:
        """Drop its connections."""
        await self._registry.close()


async def bundle_of(registry: Registry, manifest: bytes) -> bytes:
    """The bundle that a manifest names, or the one manifest that an index does."""
    blob = await _blob(registry, manifest)
    if blob.size > MAX_SIZE:
        raise BundleRefused("too_large", f"{registry.name}: the bundle is larger than {MAX_SIZE >> 20} MiB")
    return await registry.blob(blob)


async def _blob(registry: Registry, manifest: bytes) -> Blob:
    try:
        found = bundle_in(manifest)
        if isinstance(found, str):
            found = bundle_in((await registry.manifest(found))[1])
    except NoManifest as error:
        raise SourceUnavailable(f"{registry.name}: {error}") from None
    if isinstance(found, str):
        raise SourceUnavailable(f"{registry.name}: it is an index of indexes: name one manifest by its digest")
    return found
