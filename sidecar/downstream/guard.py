"""What every HTTP request must be before anybody looks at its message: for our endpoint, from whom we serve, and JSON.

Refusals of the transport are HTTP statuses with a JSON-RPC error in them. Policy never speaks here: what it refuses
is answered in a result, because a client that gets 401 or 403 begins to authorize itself anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sidecar.auth.authenticator import Authenticator
from sidecar.auth.hosts import Hosts
from sidecar.auth.principal import Principal
from sidecar.auth.refusal import NotYet, Refusal
from sidecar.http.server import Admission
from sidecar.http.values import JSON, Headers, Repeated, Response, TurnedAway
from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import INVALID_REQUEST, Id


class Guard:
    """Admits requests: `methods` has the allowed ones of each path; `draining` says that we are about to end."""

    def __init__(
        self, methods: Mapping[str, tuple[str, ...]], hosts: Hosts, authenticator: Authenticator,
        draining: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._methods = methods
        self._hosts = hosts
        self._authenticator = authenticator
        self._draining = draining

    def admit(self, method: str, target: str, headers: Headers) -> Admission:
        """The refusal of a request, told by its head alone, or None; to be awaited where keys have to be fetched."""
        refusal = self._check(method, target, headers)
        if refusal is not None:
            return refusal
        caller = self.caller_at_once(headers)
        if isinstance(caller, NotYet):
            return self._refusal_of_caller(headers)
        return caller if isinstance(caller, Response) else None

    async def _refusal_of_caller(self, headers: Headers) -> Response | None:
        caller = await self.caller(headers)
        return caller if isinstance(caller, Response) else None

    def _check(self, method: str, target: str, headers: Headers) -> Response | None:
        try:
            refusal = self._hosts.check(headers.get("host"), headers.get("origin"))
            if refusal is not None:
                return _refused(refusal)
            allowed = self._methods.get(target.partition("?")[0])
            if allowed is None:
                return error_response(404, "there is nothing here", reason="path")
            if method not in allowed:
                text = f"only {', '.join(allowed)} is allowed here"
                return error_response(405, text, ("allow", ", ".join(allowed)), reason="method")
            if self._draining():
                return error_response(503, "shutting down: connect again", ("retry-after", "1"), reason="draining")
            if method == "POST":
                return _check_type(headers.get("content-type"))
        except Repeated as problem:
            return error_response(400, f"the header {problem.name} stands twice", reason="header")
        return None

    def caller_at_once(self, headers: Headers) -> Principal | None | Response | NotYet:
        """The answer of `caller`, or `NotYet` where that has to wait."""
        found = self._authenticator.authenticate_at_once(headers.once(_authorization))
        return _refused(found) if isinstance(found, Refusal) else found

    async def caller(self, headers: Headers) -> Principal | None | Response:
        """Who calls: None where nobody has to say, a refusal where the credentials are wrong."""
        found = await self._authenticator.authenticate(headers.all("authorization"))
        return _refused(found) if isinstance(found, Refusal) else found


def error_response(
    status: int,
    text: str,
    *headers: tuple[str, str],
    id: Id | None = None,  # noqa: A002 - the protocol's word
    code: int = INVALID_REQUEST,
    reason: str = "",
) -> Response:
    """An HTTP status with a JSON-RPC error that says why; with one of `HTTP_REFUSALS` as `reason` a refusal."""
    fields, body = (("content-type", JSON), *headers), jsonrpc.error(id, code, text).raw
    return TurnedAway(status, fields, body, reason, text) if reason else Response(status, fields, body)


def _authorization(headers: Headers) -> list[str]:
    return headers.all("authorization")


def _refused(refusal: Refusal) -> Response:
    return error_response(refusal.status, refusal.text, *refusal.headers, reason=refusal.reason)


def _check_type(content_type: str | None) -> Response | None:
    """Only JSON in UTF-8: a body in another charset would be read differently by different servers."""
    media, *parameters = (content_type or "").lower().split(";")
    charsets = [value.strip().strip('"') for name, _, value in (one.partition("=") for one in parameters)
                if name.strip() == "charset"]  # fmt: skip
    if media.strip() == JSON and all(charset in ("utf-8", "utf8") for charset in charsets):
        return None
    return error_response(415, f"send {JSON} in UTF-8", reason="content_type")
