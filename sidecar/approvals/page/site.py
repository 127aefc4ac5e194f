"""The page itself: who gets in, which request gets which page, and what a form does."""

from __future__ import annotations

import re
from typing import Final

from sidecar.approvals.page.forms import BadForm, Fields, form_of, query_of
from sidecar.approvals.page.pages import Pages, response
from sidecar.approvals.page.stream import Streams
from sidecar.approvals.page.templates import Templates
from sidecar.approvals.queue import NotTheirs, Person
from sidecar.approvals.sessions import Visit
from sidecar.approvals.site import Parts
from sidecar.auth.refusal import Refusal
from sidecar.errors import StoreUnavailable
from sidecar.http.exchange import Exchange
from sidecar.http.values import JSON, Request, Response
from sidecar.ledger.approvals import Conflict, NoApproval

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
        self._pages = Pages(parts.queue, self._templates)
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
            if request.method == "POST" and visit.person is not None:
                self._queue.tried(visit.person, "post", 400, str(problem))
            response = self._pages.error(visit, 400, "This cannot be read", f"{problem}. Nothing was decided.")
        except NoApproval:
            response = self._pages.error(
                visit, 404, "There is no such approval",
                "It may be over for more than a week, or not for you to see. Look whether the link is whole.",
            )  # fmt: skip
        except StoreUnavailable:
            response = self._pages.error(
                visit, 503, "The store cannot be used now",
                "What waits can be neither shown nor decided. No call runs without its approval meanwhile. Try again.",
                ("retry-after", "5"),
            )  # fmt: skip
        exchange.send(response)

    async def _answer(self, request: Request, visit: Visit) -> Response:
        if (asset := self._templates.assets.get(visit.path)) is not None and request.method in _READS:
            kept = ("cache-control", "public, max-age=31536000, immutable")
            return response(200, asset.body, asset.content_type, kept)
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
                return self._pages.error(
                    visit, 405, "This page cannot do that", "Only GET and POST are known here.", _ALLOW
                )

    async def _get(self, query: Fields, visit: Visit, person: Person) -> Response:
        match visit.path:
            case "/" | "/sign-in":
                return await self._pages.waiting(visit, person)
            case "/grants":
                return await self._pages.grants(visit, person)
            case "/history":
                return await self._pages.history(query, visit, person)
        found = _APPROVAL.fullmatch(visit.path)
        if found is None or found[2] not in (None, "arguments.json"):
            return self._pages.error(visit, 404, "There is nothing here", "Look whether the link is whole.")
        full = await self._queue.show(person, found[1])
        if found[2]:
            # As it was written, and never a page.
            named = ("content-disposition", f'attachment; filename="{found[1]}.json"')
            return response(200, full.record.asked.shown.arguments.encode(), JSON, named)
        if query.get("part") == "status":
            return await self._pages.status(visit, full.record)
        return await self._pages.detail(visit, person, full)

    async def _post(self, form: Fields, request: Request, visit: Visit, person: Person) -> Response:
        session = visit.session
        assert session is not None
        if not self._sessions.may_post(session, request.headers, form.get("csrf", "")):
            self._queue.tried(person, "post", 403, "the form is not of our page")
            return self._pages.error(
                visit, 403, "This did not come from our page",
                "Nothing was decided. Open the approval here, and answer it on its own page.",
            )  # fmt: skip
        if visit.path == "/sign-out":
            self._sessions.close(session)
            return _see_other("/", self._sessions.no_cookie(session))
        found = _APPROVAL.fullmatch(visit.path)
        if found is None or found[2] in (None, "arguments.json"):
            return self._pages.error(visit, 404, "There is nothing here", "Nothing was decided.")
        try:
            await self._do(found[2], found[1], form, person)
        except Conflict as conflict:
            status = 403 if isinstance(conflict, NotTheirs) else 409
            full = await self._queue.show(person, found[1])
            return await self._pages.detail(visit, person, full, status, f"Your answer was not taken: {conflict}.")
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
            self._guard.refused("page", visit.origin, "sign in", 403, "the form is not of our page")
            return self._pages.error(
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
            self._guard.refused("page", visit.origin, "post", 401, "nobody is signed in")
            wrong = "You are signed out, so nothing was decided. Sign in, and answer again."
            found = _APPROVAL.fullmatch(visit.path)
            return self._sign_in_page(visit, 401, f"/approvals/{found[1]}" if found is not None else "/", wrong)
        # A link from a chat comes without the cookie, which is strict: one step on our own site brings it along.
        from_elsewhere = request.headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if self._https and from_elsewhere and request.query != _ONWARD:
            return self._pages.plain(visit, "onward", 200, path=f"{_back(visit.path)}?{_ONWARD}")
        is_based = request.path != visit.path
        return self._sign_in_page(visit, 401 if visit.path == "/events" else 200, visit.path, "", is_based=is_based)

    def _sign_in_page(
        self, visit: Visit, status: int, after: str, wrong: str, headers: tuple[tuple[str, str], ...] = (), *,
        is_based: bool = False,
    ) -> Response:  # fmt: skip
        kept = [pair for pair in headers if pair[0] != "www-authenticate"]
        return self._pages.plain(visit, "sign_in", status, *kept, next=_back(after), wrong=wrong, is_based=is_based)

    def _refused(self, visit: Visit, refusal: Refusal) -> Response:
        return self._pages.error(visit, refusal.status, "Too fast", f"{refusal.text}.", *refusal.headers)


_READS: Final = ("GET", "HEAD")
_ALLOW: Final = ("allow", "GET, HEAD, POST")
_WRONG: Final = "This token is not an approver's. Look whether it is whole, and ask whoever runs the sidecar."
_ONWARD: Final = "onward"


def _back(path: str) -> str:
    """A path of ours to go on to; the first page for any other text."""
    return path if _BACK.fullmatch(path) else "/"


def _see_other(path: str, *headers: tuple[str, str]) -> Response:
    return response(303, b"", "text/plain; charset=utf-8", ("location", path), *headers)
