"""The sidecar itself and what it needs: the engine, the store, the server, the listeners, whoever records."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from sidecar.policy.model import Mode
from sidecar.policy.terms import Terms

ENGINE_ERRORS: Final = (
    "timeout", "connection", "reply", "shape", "undecided", "revision", "canary", "exit", "no_policy", "version",
    "unverified", "foreign",
)  # fmt: skip
"""The ways in which the engine can fail to give a usable answer."""


UPSTREAM_ERRORS: Final = (
    "dns", "refused", "tls", "timeout", "network", "busy", "lost", "unreadable", "ended", "unsent", "status",
)  # fmt: skip
"""Why the server did not answer: its name is not known; nobody listens there; TLS failed; it took too long; another
error of the network; too many requests wait for it; the connection was lost; what it said cannot be read; its program
ended, or could not be started; the request was never sent; it answered with a status of HTTP that is no answer."""
_ANSWERS: Final = ("busy", "unreadable", "unsent")


HTTP_REFUSALS: Final = (
    "host", "origin", "path", "method", "draining", "content_type", "header", "credentials", "keys", "session",
    "full", "too_large", "unreadable", "late",
)  # fmt: skip
"""Why a request to one of our listeners was refused before anybody looked at its message.

It names a host that is not ours; a page of another origin sent it; there is nothing at its path; or not by its method;
we are about to end; its content is of another type; a header stands twice or does not fit; its credentials are missing
or wrong; the keys to check them by cannot be had; there is no such session; there is no room for another session,
connection or message; it is too large; it is no HTTP that can be read; it did not come in time.
"""


StopReason: TypeAlias = Literal["signal", "client_left", "server_ended", "error"]


class Started(msgspec.Struct, frozen=True, gc=False):
    """This sidecar begins to serve. `client` and `upstream` are the transports on either side.

    `authentication` is what callers have to show, `mode` and the policy are those at the beginning, and `reporting` is
    how many rules of it only report. Where `fail_open`, calls pass uncounted while the store cannot be used.
    """

    server: str
    version: str
    opa: str
    client: Literal["stdio", "http", "sse"]
    upstream: Literal["stdio", "http", "sse"]
    authentication: Literal["none", "token", "jwt"]
    mode: Mode
    fail_open: bool
    revision: str
    serial: int
    reporting: int = 0


class Stopped(msgspec.Struct, frozen=True, gc=False):
    """This sidecar ends with this exit status, `seconds` after it began to serve.

    `why` says what ended it: a `signal`, whose name is given; the client left; the MCP server ended; or an `error`,
    which the log tells.
    """

    server: str
    status: int
    why: StopReason
    signal: str
    seconds: float


class EngineFailed(msgspec.Struct, frozen=True, gc=False):
    """The engine gave no usable answer, or ended; `kind` is one of `ENGINE_ERRORS`."""

    server: str
    kind: str
    text: str


class EngineReady(msgspec.Struct, frozen=True, gc=False):
    """The engine decides by this policy, and both canaries proved it: at the start, or again after a failure."""

    server: str
    revision: str
    serial: int
    terms: Terms
    commit: str = ""


class StoreFailed(msgspec.Struct, frozen=True, gc=False):
    """The store of counters could not be used; `text` says what failed, and what did not happen because of that."""

    server: str
    text: str


class SessionsOpen(msgspec.Struct, frozen=True, gc=False):
    """How many sessions a listener has open now."""

    server: str
    count: int


class Defect(msgspec.Struct, frozen=True, gc=False):
    """A defect of ours ended one message or connection: `what` failed; `trace` is its id in the log."""

    server: str
    trace: str
    what: str
    error: BaseException | None


class UpstreamFailed(msgspec.Struct, frozen=True, gc=False):
    """The server could not be reached, or did not answer: `cause` is one of `UPSTREAM_ERRORS`, `text` is for people.

    There is one for each request that failed, for each connection that could not be made, and for the end of a server
    that it chose itself. `text` names the address of a remote one, and how a program ended.
    """

    server: str
    cause: str
    status: int
    text: str

    @property
    def is_down(self) -> bool:
        """True where the server is not there, or lets nobody in; False where it answers, but not this request."""
        if self.cause == "status":
            return not 400 <= self.status < 500 or self.status in (401, 403, 407)
        return self.cause not in _ANSWERS


class UpstreamAnswered(msgspec.Struct, frozen=True, gc=False):
    """The server answered a request that is no call."""

    server: str


class HttpRefused(msgspec.Struct, frozen=True, gc=False):
    """A listener of ours refused a request by its head: `reason` is one of `HTTP_REFUSALS`, `text` what it was told.

    `peer` is the address that it came from, empty where that is not known.
    """

    server: str
    listener: Literal["clients", "telemetry"]
    status: int
    reason: str
    text: str
    peer: str


class AuditFailed(msgspec.Struct, frozen=True, gc=False):
    """The audit log does not take lines, or has other trouble: `text` says which.

    `lost` lines more are not in it: each event counts its own, and 0 where only a file could not be changed for
    another. The text is empty once lines are written again.
    """

    server: str
    lost: int
    text: str


class SpansSent(msgspec.Struct, frozen=True, gc=False):
    """Spans of calls were sent, or `lost`: `text` says why, empty where they were taken.

    Both are 0 where an attempt failed and another one follows.
    """

    server: str
    sent: int
    lost: int
    text: str
