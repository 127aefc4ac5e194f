"""The listener over real HTTP, as somebody meets it whom nobody let in, or who may see a part only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from sidecar.approvals.guard import WRONG_BURST
from sidecar.approvals.queue import LISTED
from sidecar.ledger.approvals import MAX_PENDING_EACH
from tests.approvals.calls import asked
from tests.approvals.people import ALICE, CAROL
from tests.approvals.serving import Served, serving


def with_listener(tmp_path: Path, use: Callable[[Served], Awaitable[None]]) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            await use(served)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_whoever_is_not_signed_in_and_sends_a_form_is_told_of(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        record = await served.ask(asked())
        answer = await served.client.post(f"/approvals/{record.id}/approve", data={"shown": "x"})
        assert answer.status_code == 401
        assert served.tries == [("", "post", 401)]
        elsewhere = await served.client.post(
            "/sign-in", data={"token": ALICE}, headers={"sec-fetch-site": "cross-site"}
        )
        assert elsewhere.status_code == 403
        assert served.tries[1:] == [("", "sign in", 403)]

    with_listener(tmp_path, use)


def test_a_flood_of_forms_does_not_fill_the_audit_log(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        for _ in range(WRONG_BURST + 20):
            await served.client.post("/approvals/apr_1/approve", data={"shown": "x"})
            await served.client.post("/api/approvals/apr_1/approve", json={}, headers={"origin": "https://evil.test"})
        assert len(served.tries) <= 2 * (WRONG_BURST + 2)

    with_listener(tmp_path, use)


def test_all_addresses_of_this_machine_are_one(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        found = []
        for last in range(2, 2 + 2 * WRONG_BURST):
            transport = httpx.AsyncHTTPTransport(local_address=f"127.0.0.{last}")
            async with httpx.AsyncClient(transport=transport, base_url=served.client.base_url) as client:
                found.append((await client.get("/api/approvals")).status_code)
        assert found == [401] * WRONG_BURST + [429] * WRONG_BURST

    with_listener(tmp_path, use)


def test_a_flood_of_questions_does_not_hide_what_nobody_knows(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        call = asked(tool="cancel_order")
        lost = await served.ask(call)
        await served.approve(lost)
        await served.use(call)
        await served.ledger.approvals.settle(lost.id, "unknown")
        for at in range(LISTED):
            await served.ask(asked(tool="place_order", holder=f"session-{at // MAX_PENDING_EACH}"))
        headers, base = await signed_in(served, ALICE)
        page = await served.client.get(f"{base}/", headers=headers)
        assert lost.id in page.text
        assert "Nobody knows whether these ran" in page.text

    with_listener(tmp_path, use)


async def signed_in(served: Served, token: str) -> tuple[dict[str, str], str]:
    """The headers of somebody who signed in, and what the paths of his pages begin with."""
    answer = await served.client.post("/sign-in", data={"token": token})
    assert answer.status_code == 303
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}, answer.headers["location"].rstrip("/")


@asynccontextmanager
async def listening(served: Served, token: str) -> AsyncIterator[asyncio.Queue[str]]:
    """The events that a page gets, by their names."""
    headers, base = await signed_in(served, token)
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def listen() -> None:
        async with served.client.stream("GET", f"{base}/events", headers=headers) as events:
            assert events.status_code == 200
            async for line in events.aiter_lines():
                if line.startswith("event:"):
                    heard.put_nowait(line.removeprefix("event:").strip())

    task = asyncio.create_task(listen())
    try:
        assert await asyncio.wait_for(heard.get(), 10) == "changed"
        yield heard
    finally:
        task.cancel()
        await asyncio.wait([task])


def test_a_page_does_not_hear_of_what_its_approver_may_not_see(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        async with listening(served, CAROL) as carol, listening(served, ALICE) as alice:
            await served.ask(asked(tool="place_order"))
            assert await asyncio.wait_for(alice.get(), 10) == "changed"
            # Both hear of the next one: so Carol would have heard of the first one before it.
            await served.ask(asked(tool="cancel_order"))
            assert await asyncio.wait_for(alice.get(), 10) == "changed"
            assert await asyncio.wait_for(carol.get(), 10) == "changed"
            assert carol.empty()

    with_listener(tmp_path, use)
