"""What a webhook is told, and how it can tell that it was us: the target, the body, the signature, the pauses. No I/O.

The headers and the signature are those of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over id,
time and body, so that an old message cannot be sent again as a new one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.approvals.document import After, document, json_of
from sidecar.auth.hosts import is_loopback
from sidecar.errors import StartError
from sidecar.http import origin
from sidecar.ledger.approvals import Notice, timestamp
from sidecar.policy.terms import ApprovalTerms

MIN_SECRET: Final = 24
"""Bytes of a secret that nobody guesses: the least that Standard Webhooks allows."""
ENCODED: Final = "whsec_"
"""A secret that begins with this goes on in base64; any other is taken as it is."""
MAX_BODY: Final = 512 << 10
"""Bytes of a body from which on the arguments stay out: many receivers take no more than a megabyte."""
PAUSES: Final = (1.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)
"""Seconds after each attempt that failed; the last one again and again."""
TRIED_FOR: Final = 86400.0
"""Seconds after which a message is given up."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where approvals are announced. Its URL may be a secret too: chats give a URL to whoever may write there."""

    url: str = field(repr=False)
    secret: bytes = field(repr=False)


def webhook(terms: ApprovalTerms, secret: Callable[[str], str]) -> Webhook | None:
    """The webhook that a policy names, None where it names none. Raises `StartError` where it cannot be used.

    `secret` gives the value of an environment variable, empty where it is not set.
    """
    if not terms.webhook:
        return None
    try:
        place, _ = origin.parse(terms.webhook)
    except ValueError as error:
        raise StartError(f"approvals.notify.webhook.url: {error}") from None
    if not place.secure and not is_loopback(place.host):
        raise StartError(
            "approvals.notify.webhook.url must begin with https://: what a person is asked about must not be read on "
            "the way (http:// to loopback only)"
        )
    return Webhook(terms.webhook, _secret(terms.secret_env, secret))


def body(notice: Notice, url: str | None, now: float, after: tuple[After, ...] = ()) -> bytes:
    """The JSON that is sent. `url` is the page where a person can answer, None where there is none.

    Arguments are those that approvers see: without the values that the policy masks.
    """
    approval = document(notice.record, now, after)
    message: dict[str, Any] = {
        "event": f"approval.{notice.event}",
        "time": timestamp(notice.at),
        "url": url,
        "left_out": [],
        "approval": approval,
    }
    encoded = json_of(message)
    if len(encoded) <= MAX_BODY:
        return encoded
    large = ["arguments", "other_parameters", "grant_terms"]
    return json_of(message | {"left_out": large, "approval": approval | dict.fromkeys(large)})


def signed(secret: bytes, id_: str, at: int, content: bytes) -> dict[str, str]:
    """The headers of one attempt: the id, which stays the same, the time in Unix seconds, the signature over all."""
    digest = hmac.digest(secret, b"%b.%d.%b" % (id_.encode(), at, content), hashlib.sha256)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def again_in(notice: Notice, now: float) -> float | None:
    """Seconds until a notice is due again after an attempt that failed; None where it is given up.

    That a call waits for a person is of no use to anybody once it no longer does.
    """
    pause = PAUSES[min(notice.attempts, len(PAUSES) - 1)]
    until = notice.at + TRIED_FOR
    if notice.event == "pending":
        until = min(until, notice.record.expires)
    return pause if now + pause < until else None


def _secret(name: str, value_of: Callable[[str], str]) -> bytes:
    how = "make one with `openssl rand -base64 32`, give it to the receiver and to us"
    if not name:
        raise StartError(
            "approvals.notify.webhook needs secret_env, the name of the environment variable with the secret that its "
            f"messages are signed with: {how}"
        )
    text = value_of(name)
    if not text:
        raise StartError(f"approvals.notify.webhook: the environment variable {name} is not set: {how} as {name}")
    try:
        secret = base64.b64decode(text[len(ENCODED) :], validate=True) if text.startswith(ENCODED) else text.encode()
    except (binascii.Error, UnicodeEncodeError):
        raise StartError(
            f"approvals.notify.webhook: the secret in {name} cannot be read: after {ENCODED} stands base64, and a "
            "secret without it is text"
        ) from None
    if len(secret) < MIN_SECRET:
        raise StartError(
            f"approvals.notify.webhook: the secret in {name} is shorter than {MIN_SECRET} bytes and could be guessed: "
            f"{how} as {name}"
        )
    return secret
