"""The JSON API of approvals: a request in, an answer out. `openapi` describes it for those who call it.

It takes an approver's token as `Authorization: Bearer` only, never a cookie: so no page of anybody can use it.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal, TypeVar
from urllib.parse import parse_qsl

import msgspec

from sidecar.approvals.document import document, grant_document, json_of
from sidecar.approvals.guard import Guard, secured
from sidecar.approvals.openapi import DESCRIPTION
from sidecar.approvals.queue import LISTED, MAX_REASON, Full, NotTheirs, Person, Queue
from sidecar.auth.refusal import Refusal
from sidecar.errors import StoreUnavailable
from sidecar.http.values import JSON, Headers, Request, Response
from sidecar.ledger.approvals import OPEN, STATES, Conflict, NoApproval, Record, State
from sidecar.mcp.strict_json import NotStrict, read_value
from sidecar.system.tasks import in_thread_if_can_be
from sidecar.text import visible

PREFIX: Final = "/api"
RETRY: Final = 5
"""Seconds to wait before a store that is gone is asked again."""

_AUTHORIZATION: Final = re.compile(r"bearer +(\S+)", re.ASCII | re.IGNORECASE)
_COUNT: Final = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


class Deny(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `deny`."""

    reason: str = ""
    digest: str = ""


class Approve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `approve`: `digest` is that of the document that was looked at."""

    digest: str
    reason: str = ""
    grant: bool = False


class Resolve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `resolve`."""

    committed: bool
    reason: str = ""


class Revoke(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `revoke`."""

    reason: str = ""


Body = TypeVar("Body", Deny, Approve, Resolve, Revoke)


class _Wrong(Exception):
    """The request cannot be read. The text says what to send instead."""

    def __init__(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


class Api:
    """Answers the requests below `/api`."""

    def __init__(self, queue: Queue, guard: Guard) -> None:
        self._queue = queue
        self._guard = guard

    async def answer(self, request: Request) -> Response:
        """The answer to a request. Raises `Repeated` for a header that stands twice."""
        try:
            return await self._answer(request)
        except _Wrong as wrong:
            return problem(wrong.status, str(wrong), *wrong.headers)
        except NoApproval:
            return problem(404, "there is no such approval, or it is not one that this token may answer")
        except NotTheirs as conflict:
            return problem(403, str(conflict), state=conflict.record.state)
        except Conflict as conflict:
            return problem(409, str(conflict), state=conflict.record.state)
        except StoreUnavailable:
            text = "the store of approvals cannot be used now: try again; the same answer twice counts once"
            return problem(503, text, ("retry-after", str(RETRY)))

    async def _answer(self, request: Request) -> Response:
        match request.path.removeprefix(PREFIX).split("/")[1:]:
            case ["openapi.json"]:
                _only(request, "GET")
                return _json(DESCRIPTION)
            case ["approvals"]:
                _only(request, "GET")
                return await self._list(self._person(request, "list"), request.query)
            case ["grants"]:
                _only(request, "GET")
                person, now = self._person(request, "list"), self._queue.clock()
                return _json({"grants": [grant_document(one, now) for one in await self._queue.grants(person)]})
            case ["approvals", id_]:
                _only(request, "GET")
                return await self._document(await self._queue.show(self._person(request, "show"), id_))
            case ["approvals", id_, ("approve" | "deny" | "resolve" | "revoke") as verb]:
                _only(request, "POST")
                return await self._document(await self._decide(self._person(request, verb), id_, verb, request))
            case _:
                # Whoever has no token does not learn what is here.
                self._person(request, "look around")
                raise _Wrong(404, f"there is nothing here: {PREFIX}/openapi.json says what there is")

    def _person(self, request: Request, what: str) -> Person:
        entered = self._guard.enter(_token(request.headers), "api", request.peer, what)
        if isinstance(entered, Refusal):
            raise _Wrong(entered.status, entered.text, *entered.headers)
        return Person(entered, "api", request.peer)

    async def _list(self, person: Person, query: str) -> Response:
        states, server, limit = _filters(query)
        now = self._queue.clock()
        found = await self._queue.visible(person, states, server=server, limit=limit)
        # A long list takes a while to write, and calls go through here meanwhile.
        return await in_thread_if_can_be(lambda: _json({"approvals": [_summary(one, now) for one in found]}))

    async def _decide(self, person: Person, id_: str, verb: str, request: Request) -> Full:
        try:
            record = await self._said(person, id_, verb, request)
        except _Wrong as wrong:
            self._queue.tried(person, verb, wrong.status, str(wrong), id_)
            raise
        return Full(record, ())

    async def _said(self, person: Person, id_: str, verb: str, request: Request) -> Record:
        match verb:
            case "approve":
                yes = _body(request, Approve)
                return await self._queue.answer(
                    person, id_, "approve", shown=yes.digest, reason=yes.reason, grant=yes.grant
                )
            case "deny":
                no = _body(request, Deny)
                return await self._queue.answer(person, id_, "deny", shown=no.digest, reason=no.reason)
            case "resolve":
                word = _body(request, Resolve)
                verdict: Literal["committed", "failed"] = "committed" if word.committed else "failed"
                return await self._queue.resolve(person, id_, verdict, reason=word.reason)
            case _:
                return await self._queue.revoke(person, id_, reason=_body(request, Revoke).reason)

    async def _document(self, full: Full) -> Response:
        now = self._queue.clock()
        return await in_thread_if_can_be(lambda: _json(document(full.record, now, full.after)))


def problem(status: int, text: str, *headers: tuple[str, str], state: State | None = None) -> Response:
    """An answer that says what is wrong, with the state of the approval where that is why."""
    found = {"error": text} if state is None else {"error": text, "state": state}
    return secured(Response(status, (("content-type", JSON), *headers), msgspec.json.encode(found)))


def _json(value: Any) -> Response:
    return Response(200, (("content-type", JSON),), json_of(value))


def _summary(record: Record, now: float) -> dict[str, Any]:
    """An approval in a list: without what may be large, which stands in its own document."""
    found = document(record, now)
    return {key: found[key] for key in found if key not in _NOT_LISTED}


_NOT_LISTED: Final = frozenset({"arguments", "other_parameters", "digest", "recent", "limits_after"})
"""What may be long, and the digest: whoever approves has to look at the whole first."""


def _only(request: Request, method: str) -> None:
    if request.method != method:
        raise _Wrong(405, f"only {method} is allowed here", ("allow", method))


def _token(headers: Headers) -> str:
    """The bearer token of a request; empty where there is none, which is nobody's. Raises `Repeated`."""
    found = _AUTHORIZATION.fullmatch(headers.get("authorization") or "")
    return found[1] if found is not None else ""


def _filters(query: str) -> tuple[frozenset[State], str, int]:
    states: frozenset[State] = frozenset(OPEN)
    server, limit = "", LISTED
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=8)
    except (ValueError, UnicodeDecodeError):
        pairs = [] if not query else [("", "")]
    for name, value in pairs:
        match name:
            case "state":
                states = frozenset(STATES) if value == "all" else _states(value)
            case "server":
                server = value
            case "limit" if _COUNT.fullmatch(value):
                limit = min(int(value), LISTED)
            case _:
                raise _Wrong(400, "write ?state=pending,approved&server=NAME&limit=100, each of them or none")
    return states, server, limit


def _states(value: str) -> frozenset[State]:
    asked = value.split(",")
    if not set(asked) <= set(STATES):
        raise _Wrong(400, f"a state is one of {', '.join(STATES)}, or all; write several with commas")
    return frozenset([state for state in STATES if state in asked])


def _body(request: Request, kind: type[Body]) -> Body:
    """The body of a POST. Raises `_Wrong`."""
    media = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if media != JSON:
        # A form of any page could send other types without asking the browser for permission.
        raise _Wrong(415, f"send {JSON}")
    body = request.take()
    assert isinstance(body, bytes)  # the listener refused a longer one
    try:
        value, _ = read_value(body or b"{}")
        said = msgspec.convert(value, kind)
    except NotStrict as error:
        raise _Wrong(400, f"the body is no JSON that every reader takes alike: {error}") from None
    except msgspec.ValidationError as error:
        raise _Wrong(400, f"the body is not as /api/openapi.json says: {visible(str(error))}") from None
    if len(said.reason) > MAX_REASON:
        raise _Wrong(400, f"a reason has up to {MAX_REASON} characters")
    return said
