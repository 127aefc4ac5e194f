"""Sessions of the page: who signed in with which token, in memory only.

A cookie goes to every port of a host, so on loopback it would go to what an agent serves beside us. So it counts only
together with a secret in the path (`base`, which every link of the page begins with): the browser sends it nowhere
else, and the path alone is worth nothing. Who signs in by https, where a certificate says who is there, has a cookie
with the `__Host-` prefix, and an empty `base`. The `Origin` of the form tells which it is: where people come by https,
the same listener may be reached on loopback as well, and there browsers send even such cookies to other ports.

The cookie is `SameSite=Strict`: whoever follows a link from a chat has to come to `base` by a page of ours.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sidecar.approvals.approvers import Approver, Approvers, digest
from sidecar.approvals.guard import is_own
from sidecar.approvals.queue import Person
from sidecar.http.values import Headers

LASTS: Final = 8 * 3600
"""Seconds after which one has to sign in again."""
MAX_SESSIONS: Final = 1_000
MAX_EACH: Final = 20
"""Sessions of one approver; a new one ends the oldest."""

_BASE: Final = re.compile(r"/s/[A-Za-z0-9_-]{22}(?=/)")


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody signed in. `csrf` stands in every form, `base` before every path of the page; with https it is empty."""

    id: str = field(repr=False)
    base: str = field(repr=False)
    csrf: str = field(repr=False)
    token: bytes = field(repr=False)
    """The digest of the token that was shown."""
    until: float


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to the page: its path without `base`, from where it comes, and who signed in, if anybody did."""

    path: str
    origin: str
    session: Session | None
    approver: Approver | None

    @property
    def person(self) -> Person | None:
        """Who it is for the queue."""
        return Person(self.approver, "page", self.origin) if self.approver is not None else None

    @property
    def base(self) -> str:
        """What every link begins with."""
        return self.session.base if self.session is not None else ""


class Sessions:
    """Everybody who signed in to the page at the origin `ours`, which begins with `http://` or `https://`."""

    def __init__(self, approvers: Approvers, ours: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._approvers = approvers
        self._ours = ours
        self._https = ours.startswith("https:")
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def open(self, token: str, origin: str | None) -> Session:
        """A new session for the approver of a token, which was looked at before (`Guard.enter`).

        `origin` is that of the form by which it came.
        """
        held = digest(token)
        own = [one for one in self._sessions.values() if hmac.compare_digest(one.token, held)]
        for one in own[: max(0, len(own) - MAX_EACH + 1)]:
            self.close(one)
        if len(self._sessions) >= MAX_SESSIONS:
            self._sessions.popitem(last=False)
        by_https = self._https and origin is not None and origin.lower() == self._ours.lower()
        base = "" if by_https else f"/s/{secrets.token_urlsafe(16)}"
        session = Session(secrets.token_urlsafe(32), base, secrets.token_urlsafe(32), held, self._clock() + LASTS)
        self._sessions[session.id] = session
        return session

    def close(self, session: Session) -> None:
        """Sign out."""
        self._sessions.pop(session.id, None)

    def visit(self, path: str, headers: Headers, origin: str) -> Visit:
        """Who makes a request. A session whose approver is none any more counts as none."""
        found = _BASE.match(path)
        base = found[0] if found is not None else ""
        session = self._of(base, headers)
        approver = self._approvers.of_digest(session.token) if session is not None else None
        return Visit(path.removeprefix(base), origin, session if approver is not None else None, approver)

    def stands(self, session: Session) -> bool:
        """False once it is over: what lasts (a stream of events) has to end then."""
        is_open = self._sessions.get(session.id) is session and self._clock() < session.until
        return is_open and self._approvers.of_digest(session.token) is not None

    def may_post(self, session: Session, headers: Headers, csrf: str) -> bool:
        """True for a form that came from a page of ours. Raises `Repeated`."""
        right = hmac.compare_digest(session.csrf.encode(), csrf.encode("utf-8", "replace"))
        return right and is_own(headers, self._ours) and headers.get("sec-fetch-site") in (None, "same-origin", "none")

    def cookie(self, session: Session) -> tuple[str, str]:
        """The header that gives the session to the browser."""
        return self._header(session.base, session.id, LASTS)

    def no_cookie(self, session: Session) -> tuple[str, str]:
        """The header that takes it away."""
        return self._header(session.base, "", 0)

    def _header(self, base: str, value: str, seconds: int) -> tuple[str, str]:
        secure = "" if base else "; Secure"
        path = f"{base}/"
        return "set-cookie", f"{_name(base)}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"

    def _of(self, base: str, headers: Headers) -> Session | None:
        """The session of a cookie, at its own path only."""
        for pair in "; ".join(headers.all("cookie")).split(";"):
            name, _, value = pair.strip().partition("=")
            session = self._sessions.get(value) if name == _name(base) else None
            if session is None or self._clock() >= session.until:
                continue
            if hmac.compare_digest(session.base.encode(), base.encode("utf-8", "replace")):
                return session
        return None


def _name(base: str) -> str:
    """The name of the cookie."""
    return "approvals" if base else "__Host-approvals"
