"""A repository in an OCI registry: manifests and blobs, checked against their digests, and the login that it asks for.

The login goes to the registry, and to a token service of its own domain; never to where it redirects to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from sidecar.distribution.access import SAID, Access, authorization, basic
from sidecar.distribution.file_source import tag_of
from sidecar.distribution.oci import login as oci_login
from sidecar.distribution.oci.docker_login import login
from sidecar.distribution.oci.manifest import ACCEPT, MAX_MANIFEST, Blob
from sidecar.distribution.oci.reference import OciReference
from sidecar.distribution.web import HOPS, SMALL, Reply, Web, next_hop
from sidecar.errors import NothingPublished, SourceUnavailable
from sidecar.text import shown

_DIGEST_HEADER: Final = "docker-content-digest"


class Registry:
    """Asks for `actions` (`pull`, or `pull,push`) where the registry wants a token."""

    def __init__(self, place: OciReference, access: Access, actions: str) -> None:
        self.name = str(place)
        self._place = place
        self._access = access
        self._scope = f"repository:{place.name}:{actions}"
        self._web = Web(self.name)
        self._authorization = ""

    async def digest(self, reference: str) -> str | None:
        """The digest of the manifest that a tag names now; None where the registry does not say it in short."""
        reply = await self.ask("HEAD", self._manifest_url(reference), {"accept": ACCEPT})
        return reply.headers.get(_DIGEST_HEADER) if reply.status == 200 else None

    async def manifest(self, reference: str) -> tuple[str, bytes]:
        """The digest and the bytes of the manifest that a tag or a digest names. Raises `NothingPublished`."""
        reply = await self.ask("GET", self._manifest_url(reference), {"accept": ACCEPT}, most=MAX_MANIFEST)
        if reply.status == 404:
            raise NothingPublished(
                f"{self.name}: no bundle is there: write one with `sidecar policy publish FILE.tar.gz {self.name}`"
            )
        self.must_be(reply, 200, "manifest")
        digest = tag_of(reply.body)
        said = reply.headers.get(_DIGEST_HEADER, digest)
        if said != digest or (reference.startswith("sha256:") and reference != digest):
            raise SourceUnavailable(f"{self.name}: the registry gives another manifest than its digest names")
        return digest, reply.body

    async def blob(self, blob: Blob) -> bytes:
        """A content by its digest, from wherever the registry keeps it."""
        reply = await self.ask("GET", f"{self._place.base}/blobs/{blob.digest}", {}, most=blob.size or 1)
        for _ in range(HOPS):
            if not reply.redirects:
                break
            reply = await self._web.ask("GET", next_hop(reply, self.name, elsewhere=True), {}, most=blob.size or 1)
        self.must_be(reply, 200, "bundle")
        if len(reply.body) != blob.size or tag_of(reply.body) != blob.digest:
            raise SourceUnavailable(f"{self.name}: the registry gives another content than its digest names")
        return reply.body

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], *, body: bytes = b"", most: int = SMALL
    ) -> Reply:
        """One request to the registry; another one with a login where it asks for that."""
        if not self._authorization and ":" not in (secret := self._access.secret()):
            self._authorization = authorization(secret)
        reply = await self._with_login(method, url, headers, body, most)
        if reply.status != 401:
            return reply
        self._authorization = await self._login(reply.headers.get("www-authenticate", ""))
        reply = await self._with_login(method, url, headers, body, most)
        if reply.status == 401:
            self._authorization = ""
            raise self._not_let_in()
        return reply

    def must_be(self, reply: Reply, status: int, what: str) -> None:
        """Raises `SourceUnavailable` for an answer of another status."""
        if reply.status == 403:
            raise self._not_let_in()
        if reply.status != status:
            raise SourceUnavailable(f"{self.name}: the registry answers with status {reply.status} for the {what}")

    async def close(self) -> None:
        """Drop its connections."""
        await self._web.close()

    def _manifest_url(self, reference: str) -> str:
        return f"{self._place.base}/manifests/{reference}"

    async def _with_login(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, most: int
    ) -> Reply:  # fmt: skip
        login_ = {"authorization": self._authorization} if self._authorization else {}
        return await self._web.ask(method, url, {**headers, **login_}, body=body, most=most)

    async def _login(self, challenge: str) -> str:
        """The header that a challenge asks for."""
        secret = self._access.secret()
        if secret and ":" not in secret:  # a token is shown as it is, and this one was
            raise self._not_let_in()
        known = secret or (login(self._access.docker, self._place.registry.host_header) if self._access.docker else "")
        try:
            service = oci_login.token_service(challenge, self._place.registry, self._scope)
        except ValueError as error:
            raise SourceUnavailable(f"{self.name}: the token service that it names is not asked: {error}") from None
        if service is not None:
            return f"Bearer {await self._token(service, known)}"
        if known and oci_login.wants_basic(challenge):
            return basic(known)
        raise self._not_let_in()

    async def _token(self, service: oci_login.TokenService, known: str) -> str:
        shows = known and service.sees_login
        reply = await self._web.ask("GET", service.url, {"authorization": basic(known)} if shows else {})
        if reply.status == 200:
            try:
                found = json.loads(reply.body)
                token = found.get("token") or found.get("access_token")
            except (ValueError, AttributeError, RecursionError):
                token = None
            if isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token:
                return token
        where = shown(service.where)
        if known and not shows:
            raise SourceUnavailable(
                f"{self.name}: its token service {where} is of another domain, so it is not told our login, "
                f"and without one it gives no token (status {reply.status})"
            )
        raise SourceUnavailable(
            f"{self.name}: the token service {where} gives no token (status {reply.status}): set {SAID}, "
            "or log in with docker"
        )

    def _not_let_in(self) -> SourceUnavailable:
        return SourceUnavailable(f"{self.name}: the registry does not let us in: set {SAID}, or log in with docker")
