"""Pages as answers: what is shown of the approvals that a person may see. Nothing is decided here."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from sidecar.approvals.guard import SECURITY
from sidecar.approvals.page import view, words
from sidecar.approvals.page.forms import Fields
from sidecar.approvals.page.templates import Templates
from sidecar.approvals.queue import LISTED, Full, Person, Queue
from sidecar.approvals.sessions import Visit
from sidecar.http.values import Response
from sidecar.ledger.approvals import STATES, Record, State
from sidecar.system.tasks import in_thread_if_can_be

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The content security policy: nothing inline, nothing from elsewhere, and no text that becomes HTML in a script."""
HTML: Final = "text/html; charset=utf-8"
SHOWN: Final = 200
"""Approvals of one kind that one page lists."""


class Pages:
    """Makes the pages. All that read approvals raise `StoreUnavailable`."""

    def __init__(self, queue: Queue, templates: Templates) -> None:
        self._queue = queue
        self._templates = templates

    async def waiting(self, visit: Visit, person: Person) -> Response:
        """What waits, and what else is not over."""
        # By themselves: an agent that asks and asks must not push out what nobody knows the outcome of.
        begun = await self._queue.visible(person, _BEGUN)
        asked = await self._queue.visible(person, _WAITS)
        is_full, records = len(asked) >= LISTED, [*asked, *begun]
        now = self._queue.clock()
        # Whatever is over counts as over, though nobody has noted it yet.
        records = [one for one in records if one.state not in ("pending", "approved") or one.expires > now]
        pending = sorted(_in(records, "pending"), key=lambda one: one.expires)
        unknown = _in(records, "unknown")
        count = len(pending)
        says = f"{count} {'call waits' if count == 1 else 'calls wait'} for an answer." if count else "Nothing waits."
        return await self._page(
            visit, "waiting", large=True, here="waiting", pending=partial(_cards, pending[:SHOWN], now), count=count,
            unknown=partial(_cards, unknown[:SHOWN], now),
            open=partial(_cards, _in(records, "approved", "in_use")[:SHOWN], now),
            more=max(0, count - SHOWN), at_least=is_full, listed=LISTED, shown=SHOWN, version=view.version(records),
            says=says,
        )  # fmt: skip

    async def grants(self, visit: Visit, person: Person) -> Response:
        """The standing approvals."""
        now = self._queue.clock()
        grants = [view.standing(one, now) for one in await self._queue.grants(person)]
        version = "-".join(f"{one.id}.{one.calls_left}" for one in grants) or "none"
        says = f"{len(grants)} standing approvals."
        return await self._page(visit, "grants", here="grants", grants=grants, version=version, says=says)

    async def history(self, query: Fields, visit: Visit, person: Person) -> Response:
        """What was, as far as the filters of the query let it through."""
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
            visit, "history", large=True, here="history",
            records=partial(_cards, found[:SHOWN], self._queue.clock()), found=said,
            states=tuple(words.STATE_WORDS.items()), state=state, tool=tool, text=text,
        )  # fmt: skip

    async def detail(self, visit: Visit, person: Person, full: Full, status: int = 200, notice: str = "") -> Response:
        """One call; `notice` says why an answer was not taken."""
        record = full.record
        grant = None
        if record.asked.grant is not None and record.state != "pending":
            grant = next((one for one in await self._queue.grants(person) if one.id == record.id), None)
        now = self._queue.clock()
        large = len(record.asked.shown.arguments) + len(record.asked.shown.other) > view.SLOW
        return await self._page(
            visit, "detail", status, large=large, one=partial(view.detail, record, full.after, now, grant),
            notice=notice, not_you=_not_you(record, person), here="",
        )  # fmt: skip

    async def status(self, visit: Visit, record: Record) -> Response:
        """Where one call stands."""
        return await self._page(visit, "status", stands=view.status(record, self._queue.clock()))

    def plain(self, visit: Visit, template: str, status: int, *headers: tuple[str, str], **values: Any) -> Response:
        """A page without approvals."""
        body = self._templates.render(template, **{**self._values(visit), **values})
        return response(status, body, HTML, *headers)

    async def _page(
        self, visit: Visit, template: str, status: int = 200, *, large: bool = False, **values: Any
    ) -> Response:
        """A page for whoever signed in; what is callable among the values is made with it, on a thread if `large`."""

        def make() -> bytes:
            made = {key: value() if callable(value) else value for key, value in values.items()}
            return self._templates.render(template, **{**self._values(visit), **made})

        return response(status, await in_thread_if_can_be(make) if large else make())

    def _values(self, visit: Visit) -> dict[str, Any]:
        session, approver = visit.session, visit.approver
        return {
            "base": visit.base,
            "csrf": session.csrf if session is not None else "",
            "name": approver.name if approver is not None else "",
            "now": f"{self._queue.clock():.3f}",
            "here": "",
        }

    def error(self, visit: Visit, status: int, title: str, text: str, *headers: tuple[str, str]) -> Response:
        """Why there is nothing to show."""
        return self.plain(visit, "error", status, *headers, title=title, explanation=text)


def response(status: int, body: bytes, content_type: str = HTML, *headers: tuple[str, str]) -> Response:
    """An answer with the headers that keep others out."""
    own = (("content-type", content_type), ("content-security-policy", POLICY), *headers)
    names = {name for name, _ in own}
    return Response(status, (*own, *(pair for pair in SECURITY if pair[0] not in names)), body)


_WAITS: Final[tuple[State, ...]] = ("pending",)
_BEGUN: Final[tuple[State, ...]] = ("approved", "in_use", "unknown")


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
