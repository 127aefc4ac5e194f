"""The page itself: which request gets which page, and what a form does."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

from sidecar.approvals.guard import SECURITY
from sidecar.approvals.page import view, words
from sidecar.approvals.page.forms import BadForm, Fields, form_of, query_of
from sidecar.approvals.page.stream import Streams
from sidecar.approvals.page.templates import Templates
from sidecar.approvals.queue import LISTED, Full, NotTheirs, Person
from sidecar.approvals.sessions import Visit
from sidecar.approvals.site import Parts
from sidecar.auth.refusal import Refusal
from sidecar.errors import StoreUnavailable
from sidecar.http.exchange import Exchange
from sidecar.http.values import JSON, Request, Response
from sidecar.ledger.approvals import OPEN, STATES, Conflict, NoApproval, Record, State
from sidecar.system.tasks import in_thread_if_can_be

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The content security policy: nothing inline, nothing from elsewhere, and no text that becomes HTML in a script."""
SHOWN: Final = 200
"""Approvals of one kind that one page lists."""

_APPROVAL: Final = re.compile(r"/approvals/([A-Za-z0-9_-]{1,64})(?:/(approve|deny|resolve|revoke|arguments[.]json))?")
_BACK: Final = re.compile(r"/(?:approvals/[A-Za-z0-9_-]{1,64}|history|grants)?")
"""Where one may go after signing in."""


class Site:
    """The pages for people. See `sidecar.approvals.site.Page`."""

    def __init__(self, parts: Parts) -> None:
        self._queue = parts.queue
        self._guard = parts.guard
        self._sessions = parts.sessions
        self._https = parts.url.startswith("https:")
        self._templates = Templates()
        self._streams = Streams(parts.queue, parts.sessions)

    async def handle(self, request: Request, exchange: Exchange, visit: Visit) -> None:
        """Answer one request."""
        if visit.path == "/events" and request.method == "GET" and visit.session is not None:
            assert visit.person is not None  # every session has its approver
            await self._streams.serve(exchange, visit.session, visit.person)
            return
        try:
            response = await self._answer(request, visit)
        except BadForm as problem:
            response = self._error(visit, 400, "This cannot be read", f"{problem}. Nothing was decided.")
        except NoApproval:
            response = self._error(
                visit, 404, "There is no such approval",
                "It may be over for more than a week, or not for you to see. Look whether the link is whole.",
            )  # fmt: skip
        except StoreUnavailable:
            response = self._error(
                visit, 503, "The store cannot be used now",
                "What waits can be neither shown nor decided. No call runs without its approval meanwhile. Try again.",
                ("retry-after", "5"),
            )  # fmt: skip
        exchange.send(response)

    async def _answer(self, request: Request, visit: Visit) -> Response:
        if (asset := self._templates.assets.get(visit.path)) is not None and request.method in _READS:
            kept = ("cache-control", "public, max-age=31536000, immutable")
            return _response(200, asset.body, asset.content_type, kept)
        match request.method, visit.path:
            case "POST", "/sign-in":
                return self._sign_in(form_of(request), request, visit)
            case (("GET" | "HEAD" | "POST"), _) if visit.person is None:
                return self._stranger(request, visit)
            case (("GET" | "HEAD" | "POST"), _):
                assert visit.person is not None
                if (refusal := self._guard.often(visit.person.approver, "page", visit.origin, "look")) is not None:
                    return self._refused(visit, refusal)
                if request.method == "POST":
                    return await self._post(form_of(request), request, visit, visit.person)
                return await self._get(query_of(request), visit, visit.person)
            case _:
                return self._error(visit, 405, "This page cannot do that", "Only GET and POST are known here.", _ALLOW)

    async def _get(self, query: Fields, visit: Visit, person: Person) -> Response:
        match visit.path:
            case "/" | "/sign-in":
                return await self._waiting(visit, person)
            case "/grants":
                return await self._grants(visit, person)
            case "/history":
                return await self._history(query, visit, person)
        found = _APPROVAL.fullmatch(visit.path)
        if found is None or found[2] not in (None, "arguments.json"):
            return self._error(visit, 404, "There is nothing here", "Look whether the link is whole.")
        full = await self._queue.show(person, found[1])
        if found[2]:
            # As it was written, and never a page.
            named = ("content-disposition", f'attachment; filename="{found[1]}.json"')
            return _response(200, full.record.asked.shown.arguments.encode(), JSON, named)
        if query.get("part") == "status":
            return await self._page(visit, "status", stands=view.status(full.record, self._queue.clock()))
        return await self._detail(visit, person, full)

    async def _post(self, form: Fields, request: Request, visit: Visit, person: Person) -> Response:
        session = visit.session
        assert session is not None
        if not self._sessions.may_post(session, request.headers, form.get("csrf", "")):
            self._queue.tried(person, "post", 403, "the form is not of our page")
            return self._error(
                visit, 403, "This did not come from our page",
                "Nothing was decided. Open the approval here, and answer it on its own page.",
            )  # fmt: skip
        if visit.path == "/sign-out":
            self._sessions.close(session)
            return _see_other("/", self._sessions.no_cookie(session))
        found = _APPROVAL.fullmatch(visit.path)
        if found is None or found[2] in (None, "arguments.json"):
            return self._error(visit, 404, "There is nothing here", "Nothing was decided.")
        try:
            await self._do(found[2], found[1], form, person)
        except Conflict as conflict:
            status = 403 if isinstance(conflict, NotTheirs) else 409
            full = await self._queue.show(person, found[1])
            return await self._detail(visit, person, full, status, f"Your answer was not taken: {conflict}.")
        return _see_other(f"{visit.base}/approvals/{found[1]}")

    async def _do(self, what: str, id_: str, form: Fields, person: Person) -> None:
        reason = form.get("reason", "")
        match what, form:
            case "approve" | "deny", {"shown": shown}:
                grant = what == "approve" and form.get("scope") == "grant"
                await self._queue.answer(person, id_, what, shown=shown, reason=reason, grant=grant)
            case "resolve", {"outcome": "committed" | "failed" as outcome}:
                await self._queue.resolve(person, id_, outcome, reason=reason)
            case "revoke", _:
                await self._queue.revoke(person, id_, reason=reason)
            case _:
                raise BadForm("a field is missing")

    def _sign_in(self, form: Fields, request: Request, visit: Visit) -> Response:
        # A page of elsewhere must not sign anybody in, as somebody else.
        if request.headers.get("sec-fetch-site") not in (None, "same-origin", "none"):
            return self._error(
                visit, 403, "This did not come from our page", "Open this page itself, and sign in here."
            )
        after = form.get("next", "")
        entered = self._guard.enter(form.get("token", ""), "page", visit.origin, "sign in")
        if isinstance(entered, Refusal):
            wrong = _WRONG if entered.status == 401 else f"{entered.text[:1].upper()}{entered.text[1:]}."
            return self._sign_in_page(visit, entered.status, after, wrong, entered.headers)
        session = self._sessions.open(form["token"], request.headers.get("origin"))
        return _see_other(f"{session.base}{_back(after)}", self._sessions.cookie(session))

    def _stranger(self, request: Request, visit: Visit) -> Response:
        """What somebody gets who did not sign in."""
        if request.method == "POST":
            wrong = "You are signed out, so nothing was decided. Sign in, and answer again."
            return self._sign_in_page(visit, 401, visit.path, wrong)
        # A link from a chat comes without the cookie, which is strict: one step on our own site brings it along.
        from_elsewhere = request.headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if self._https and from_elsewhere and request.query != _ONWARD:
            onward = self._templates.render("onward", path=f"{_back(visit.path)}?{_ONWARD}")
            return _response(200, onward)
        is_based = request.path != visit.path
        return self._sign_in_page(visit, 401 if visit.path == "/events" else 200, visit.path, "", is_based=is_based)

    def _sign_in_page(
        self, visit: Visit, status: int, after: str, wrong: str, headers: tuple[tuple[str, str], ...] = (), *,
        is_based: bool = False,
    ) -> Response:  # fmt: skip
        values = self._values(visit)
        body = self._templates.render("sign_in", next=_back(after), wrong=wrong, is_based=is_based, **values)
        return _response(status, body, *_HTML, *[pair for pair in headers if pair[0] != "www-authenticate"])

    async def _waiting(self, visit: Visit, person: Person) -> Response:
        records = await self._queue.visible(person, OPEN)
        is_full = len(records) >= LISTED
        now = self._queue.clock()
        # Whatever is over counts as over, though nobody has noted it yet.
        records = [one for one in records if one.state not in ("pending", "approved") or one.expires > now]
        pending = sorted(_in(records, "pending"), key=lambda one: one.expires)
        unknown = _in(records, "unknown")
        count = len(pending)
        says = f"{count} {'call waits' if count == 1 else 'calls wait'} for an answer." if count else "Nothing waits."
        return await self._page(
            visit, "waiting", here="waiting", pending=_cards(pending[:SHOWN], now), count=count,
            unknown=_cards(unknown[:SHOWN], now), open=_cards(_in(records, "approved", "in_use")[:SHOWN], now),
            more=max(0, count - SHOWN), at_least=is_full, listed=LISTED, shown=SHOWN, version=view.version(records),
            says=says,
        )  # fmt: skip

    async def _grants(self, visit: Visit, person: Person) -> Response:
        now = self._queue.clock()
        grants = [view.standing(one, now) for one in await self._queue.grants(person)]
        version = "-".join(f"{one.id}.{one.calls_left}" for one in grants) or "none"
        says = f"{len(grants)} standing approvals."
        return await self._page(visit, "grants", here="grants", grants=grants, version=version, says=says)

    async def _history(self, query: Fields, visit: Visit, person: Person) -> Response:
        state, tool, text = (query.get(name, "") for name in ("state", "tool", "text"))
        states = (state,) if state in STATES else STATES
        records = await self._queue.visible(person, states)

        def make() -> list[Record]:
            return [one for one in records if view.matches(one, tool, text)]

        found = await in_thread_if_can_be(make)
        count = len(found)
        said = f"{count} {'approval' if count == 1 else 'approvals'}, the newest first."
        if count > SHOWN:
            said = f"The newest {SHOWN} of {count} are shown. Narrow the filter to see others."
        return await self._page(
            visit, "history", here="history", records=_cards(found[:SHOWN], self._queue.clock()), found=said,
            states=tuple(words.STATE_WORDS.items()), state=state, tool=tool, text=text,
        )  # fmt: skip

    async def _detail(self, visit: Visit, person: Person, full: Full, status: int = 200, notice: str = "") -> Response:
        record = full.record
        grant = None
        if record.asked.grant is not None and record.state != "pending":
            grant = next((one for one in await self._queue.grants(person) if one.id == record.id), None)
        now = self._queue.clock()
        large = len(record.asked.shown.arguments) + len(record.asked.shown.other) > view.LARGE
        return await self._page(
            visit, "detail", status, large=large, one=partial(view.detail, record, full.after, now, grant),
            notice=notice, not_you=_not_you(record, person), here="",
        )  # fmt: skip

    async def _page(
        self, visit: Visit, template: str, status: int = 200, *, large: bool = False, **values: Any
    ) -> Response:
        """A page for whoever signed in; what is callable among the values is made with it, on a thread if `large`."""

        def make() -> bytes:
            made = {key: value() if callable(value) else value for key, value in values.items()}
            return self._templates.render(template, **{**self._values(visit), **made})

        return _response(status, await in_thread_if_can_be(make) if large else make())

    def _values(self, visit: Visit) -> dict[str, Any]:
        session, approver = visit.session, visit.approver
        return {
            "base": visit.base,
            "csrf": session.csrf if session is not None else "",
            "name": approver.name if approver is not None else "",
            "now": f"{self._queue.clock():.3f}",
            "here": "",
        }

    def _refused(self, visit: Visit, refusal: Refusal) -> Response:
        return self._error(visit, refusal.status, "Too fast", f"{refusal.text}.", *refusal.headers)

    def _error(self, visit: Visit, status: int, title: str, text: str, *headers: tuple[str, str]) -> Response:
        body = self._templates.render("error", title=title, explanation=text, **self._values(visit))
        return _response(status, body, *_HTML, *headers)


_READS: Final = ("GET", "HEAD")
_ALLOW: Final = ("allow", "GET, HEAD, POST")
_WRONG: Final = "This token is not an approver's. Look whether it is whole, and ask whoever runs the sidecar."
_ONWARD: Final = "onward"


def _in(records: list[Record], *states: State) -> list[Record]:
    return [one for one in records if one.state in states]


def _cards(records: list[Record], now: float) -> list[view.Card]:
    return [view.card(one, now) for one in records]


def _not_you(record: Record, person: Person) -> str:
    """Why this person cannot approve the call; empty where nothing is in the way."""
    if record.asked.four_eyes and person.approver.asked_for(record.asked):
        return "You asked for this call yourself, and the policy wants somebody else to answer."
    if record.state == "pending" and person.approver.name in words.agreed(record):
        return "You agreed. Somebody else has to agree too; until then you can still deny it."
    return ""


def _back(path: str) -> str:
    """A path of ours to go on to; the first page for any other text."""
    return path if _BACK.fullmatch(path) else "/"


def _see_other(path: str, *headers: tuple[str, str]) -> Response:
    return _response(303, b"", "text/plain; charset=utf-8", ("location", path), *headers)


_HTML: Final = ("text/html; charset=utf-8",)


def _response(status: int, body: bytes, content_type: str = _HTML[0], *headers: tuple[str, str]) -> Response:
    own = (("content-type", content_type), ("content-security-policy", POLICY), *headers)
    names = {name for name, _ in own}
    return Response(status, (*own, *(pair for pair in SECURITY if pair[0] not in names)), body)
