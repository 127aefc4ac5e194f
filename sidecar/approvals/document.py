"""An approval as a JSON document: the same for the API, `sidecar approvals --json`, the page and webhooks."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from sidecar.ledger.approvals import Answer, Asked, Grant, GrantTerms, Record, timestamp
from sidecar.ledger.protocol import Ledger
from sidecar.ledger.values import Amount, Counter, add

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


class After(msgspec.Struct, frozen=True):
    """A limit that the call takes from: what its total would be after it, and the most that it may be (None: any)."""

    rule: str
    total: Amount
    limit: Amount | None


def digest_of(asked: Asked) -> str:
    """The digest of what people see of a call, and of which call it is (SHA-256, hexadecimal).

    Two calls never have the same one, though their arguments and the rule be the same: `binding` is the call's own.
    """
    whole = (
        asked.server, asked.tool, asked.binding, asked.definition, asked.approvers, asked.four_eyes, asked.grant,
        asked.shown,
    )  # fmt: skip
    return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()


async def limits_after(record: Record, ledger: Ledger) -> tuple[After, ...]:
    """Where the limits of a call would stand after it, as they are now. Raises `StoreUnavailable`."""
    takes = record.asked.shown.takes
    counters = tuple(Counter(one.counter, one.holder, one.window, one.sliding) for one in takes)
    totals = await ledger.totals(counters) if counters else ()
    names = record.asked.shown.limits
    return tuple(
        After(rule, add(total, one.amount), one.limit) for rule, total, one in zip(names, totals, takes, strict=True)
    )


def document(record: Record, now: float, after: tuple[After, ...] = ()) -> dict[str, Any]:
    """All that people may know of an approval. Times are ISO 8601 in UTC, spans in seconds.

    `arguments` is a JSON value with its numbers as they were written (`msgspec.Raw`).
    """
    asked, shown = record.asked, record.asked.shown
    return {
        "id": record.id,
        "state": record.state,
        "server": asked.server,
        "tool": asked.tool,
        "class": shown.risk_class or None,
        "severity": shown.severity or None,
        "arguments": msgspec.Raw(shown.arguments.encode()),
        "masked": list(shown.masked),
        "other_parameters": msgspec.Raw(shown.other.encode()) if shown.other else None,
        "digest": digest_of(asked),
        "rule": shown.rule,
        "reason": shown.reason,
        "file": shown.file,
        "line": shown.line,
        "principal": {"subject": shown.asker, "issuer": shown.issuer} if shown.asker else None,
        "client": shown.client or None,
        "session": shown.session,
        "created": timestamp(record.created),
        "changed": timestamp(record.changed),
        "expires": timestamp(record.expires) if record.state in ("pending", "approved") else None,
        "seconds_left": max(0, int(record.expires - now)) if record.state in ("pending", "approved") else None,
        "asked_times": record.asked_times,
        "approvers": asked.approvers,
        "four_eyes": asked.four_eyes,
        "answers": [answer_document(one) for one in record.answers],
        "grant_terms": _terms(asked.grant) if asked.grant is not None else None,
        "used_grant": record.grant or None,
        "recent": [{"time": timestamp(one.at), "tool": one.tool, "kind": one.kind} for one in shown.recent],
        "limits_after": [{"rule": one.rule, "total": one.total, "limit": one.limit} for one in after],
    }


def grant_document(grant: Grant, now: float) -> dict[str, Any]:
    """All that people may know of a standing approval."""
    return {
        "id": grant.id,
        "server": grant.server,
        "tool": grant.tool,
        "holder": grant.holder,
        "same": dict(grant.terms.same),
        "at_most": dict(grant.terms.at_most),
        "free": list(grant.terms.free),
        "created": timestamp(grant.created),
        "until": timestamp(grant.until),
        "seconds_left": max(0, int(grant.until - now)),
        "calls_left": grant.left,
        "calls": grant.terms.calls,
        "answers": [answer_document(one) for one in grant.answers],
    }


def _terms(terms: GrantTerms) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(terms)
    del document["beside"]  # a hash, for no reader
    return document


def answer_document(answer: Answer) -> dict[str, Any]:
    """What one person said."""
    return {
        "by": answer.by,
        "time": timestamp(answer.at),
        "via": answer.via,
        "origin": answer.origin,
        "verdict": answer.verdict,
        "grant": answer.grant,
        "reason": answer.reason,
        "shown": answer.shown or None,
    }


def json_of(found: Any) -> bytes:
    """A document as JSON; amounts stay exact numbers."""
    return _ENCODER.encode(found)
