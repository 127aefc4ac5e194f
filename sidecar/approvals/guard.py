"""Who comes in: tokens, how often one may try, and requests that only a page of ours can have sent."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final

from sidecar.approvals.approvers import Approver, Approvers
from sidecar.approvals.queue import Queue
from sidecar.auth.refusal import Refusal
from sidecar.http.values import Headers, Response

_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
SECURITY: Final = (
    ("content-security-policy", _CSP),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    # Not `no-referrer`: a browser would send `Origin: null` with our own forms.
    ("referrer-policy", "same-origin"),
    ("cache-control", "no-store"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
)
"""Headers of every answer."""

WRONG_BURST, WRONG_RATE = 10, 1 / 6
"""Wrong tokens that one address may show at once, and how many more a second."""
OFTEN_BURST, OFTEN_RATE = 60, 10.0
"""Requests that one approver may make at once, and how many more a second."""
MAX_KEYS: Final = 1_000
"""Addresses that are told apart; the others share what is left for all of them."""

_WRONG: Final = Refusal(
    401, "an approver's token is needed", (("www-authenticate", 'Bearer realm="intercept-sidecar approvals"'),)
)


class Rate:
    """How often something may happen for each key: a burst at once, then so many a second."""

    def __init__(self, burst: int, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._rate, self._clock = burst, rate, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def takes(self, key: str) -> int:
        """0 where it may happen, which counts; else the seconds to wait."""
        now = self._clock()
        if key not in self._left and len(self._left) >= MAX_KEYS:
            oldest = next(iter(self._left))
            if self._now(oldest, now) >= self._burst:
                del self._left[oldest]
            else:
                key = ""  # so that many addresses are no way around
        left = self._now(key, now)
        if left < 1:
            return max(1, round((1 - left) / self._rate))
        self._left[key] = (left - 1, now)
        self._left.move_to_end(key)
        return 0

    def _now(self, key: str, now: float) -> float:
        left, since = self._left.get(key, (float(self._burst), now))
        return min(self._burst, left + (now - since) * self._rate)


class Guard:
    """Lets approvers in by their tokens; `queue` hears of tries that were refused."""

    def __init__(self, approvers: Approvers, queue: Queue, clock: Callable[[], float] = time.monotonic) -> None:
        self.approvers = approvers
        self._queue = queue
        self._wrong = Rate(WRONG_BURST, WRONG_RATE, clock)
        self._often = Rate(OFTEN_BURST, OFTEN_RATE, clock)
        self._said: OrderedDict[str, float] = OrderedDict()
        self._clock = clock

    def enter(self, token: str, via: str, origin: str, what: str) -> Approver | Refusal:
        """The approver of a token that somebody shows, or what to answer instead. `what` is what he wants to do.

        A right token is let in however many wrong ones came from its address: an agent may share it.
        """
        approver = self.approvers.who(token)
        if approver is None:
            return self._refused(via, origin, what)
        return self.often(approver, via, origin, what) or approver

    def often(self, approver: Approver, via: str, origin: str, what: str) -> Refusal | None:
        """The refusal of an approver who asks too often."""
        if not (seconds := self._often.takes(approver.name)):
            return None
        self._say(approver.name, via, origin, what, f"approver {approver.name}")
        return Refusal(429, "too many requests of this approver: wait a moment", (("retry-after", str(seconds)),))

    def _refused(self, via: str, origin: str, what: str) -> Refusal:
        if seconds := self.refused(via, origin, what, _WRONG.status, "the token is no approver's"):
            text = "too many wrong tokens came from this address: wait, and use the right one"
            return Refusal(429, text, (("retry-after", str(seconds)),))
        return _WRONG

    def refused(self, via: str, origin: str, what: str, status: int, why: str) -> int:
        """Tell that somebody whom nobody knows was refused.

        Returns the seconds to wait where that was too often from his address. Of those, one a minute is told.
        """
        if seconds := self._wrong.takes(_network(origin)):
            self._say("", via, origin, what, f"address {_network(origin)}")
            return seconds
        self._queue.told("", via, origin, what, status, why)
        return 0

    def _say(self, who: str, via: str, origin: str, what: str, key: str) -> None:
        # Once a minute: whoever is refused for being too many must not fill the audit log either.
        now = self._clock()
        if now - self._said.get(key, float("-inf")) < 60:
            return
        self._said[key] = now
        self._said.move_to_end(key)
        if len(self._said) > MAX_KEYS:
            self._said.popitem(last=False)
        self._queue.told(who, via, origin, what, 429, "too many tries; more of them are not told for a minute")


def is_own(headers: Headers, ours: str) -> bool:
    """False for what a page of another origin sent; `ours` is that by which people reach us. Raises `Repeated`.

    Ports count, unlike for cookies: whoever shares the machine can serve pages from another port.
    """
    origin, host = headers.get("origin"), headers.get("host")
    if origin is None:
        return True
    # A proxy in front may end TLS, and may name us by another Host than the browser does.
    own = (ours, f"http://{host}", f"https://{host}") if host else (ours,)
    return origin.lower() in {one.lower() for one in own}


def secured(response: Response) -> Response:
    """An answer with the headers that every one has."""
    assert isinstance(response.headers, tuple)
    names = {name.lower() for name, _ in response.headers}
    return Response(
        response.status, (*response.headers, *(pair for pair in SECURITY if pair[0] not in names)), response.body
    )


def _network(origin: str) -> str:
    """An address as tries are counted: one IPv6 network is one."""
    try:
        address = ip_address(origin)
    except ValueError:
        return origin
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return "loopback"  # whoever is on this machine may come from sixteen million of these
    return address.exploded[:19] if isinstance(address, IPv6Address) else str(address)
