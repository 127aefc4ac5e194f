"""The API of approvals, over real HTTP on a real store: what approvers can see and do, and what nobody can."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest

from sidecar.approvals import guard
from sidecar.approvals.openapi import DESCRIPTION
from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import MAX_PENDING_EACH
from tests.approvals.calls import GRANT, asked
from tests.approvals.people import ALICE, BOB, CAROL, EVERYBODY, entry, write
from tests.approvals.serving import Served, serving

HOSTILE = "<script>alert(1)</script>\u202e\u0000\x1b[31m"


def with_listener(tmp_path: Path, use: Callable[[Served], Awaitable[None]], **more: Any) -> None:
    """Run a test against a listener."""

    async def run() -> None:
        async with serving(tmp_path, **more) as served:
            await use(served)

    asyncio.run(asyncio.wait_for(run(), 60))


def valid(answer: httpx.Response, path: str, method: str = "get") -> Any:
    """The document in an answer, which has to be as the description says."""
    operation = DESCRIPTION["paths"][path][method]
    schema = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
    found = answer.json()
    jsonschema.Draft202012Validator({**schema, "components": DESCRIPTION["components"]}).validate(found)
    return found


def test_what_waits_is_listed_shown_approved_and_goes_through_once(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        call = asked(arguments='{"ordId":"42","sz":1.50}')
        record = await served.ask(call)
        listed = valid(await served.get("/api/approvals"), "/api/approvals")
        assert [one["id"] for one in listed["approvals"]] == [record.id]
        assert "arguments" not in listed["approvals"][0]
        answer = await served.get(f"/api/approvals/{record.id}")
        assert '"arguments":{"ordId":"42","sz":1.50}' in answer.text
        shown = valid(answer, "/api/approvals/{id}")
        assert (shown["state"], shown["tool"], shown["file"], shown["line"]) == (
            "pending",
            "cancel_order",
            "okx.yaml",
            7,
        )
        approved = await served.approve(record, reason="as agreed")
        found = valid(approved, "/api/approvals/{id}/approve", "post")
        assert found["state"] == "approved"
        assert [(one["by"], one["via"], one["origin"], one["reason"], one["shown"]) for one in found["answers"]] == [
            ("alice", "api", "127.0.0.1", "as agreed", shown["digest"])
        ]
        assert (await served.use(call)).id == record.id
        assert [(event.record.state, event.by and event.by.by) for event in served.changes] == [("approved", "alice")]

    with_listener(tmp_path, use)


def test_the_same_answer_again_gives_the_same_and_counts_once(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        record = await served.ask(asked())
        first, again = await served.approve(record), await served.approve(record)
        assert (first.status_code, again.status_code) == (200, 200)
        assert first.json()["answers"] == again.json()["answers"]
        assert len(served.changes) == 1

    with_listener(tmp_path, use)


def test_a_final_approval_answers_409_with_its_state(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        record = await served.ask(asked())
        assert (await served.post(f"/api/approvals/{record.id}/deny", {"reason": "no"})).json()["state"] == "denied"
        late = await served.approve(record, BOB)
        assert (late.status_code, late.json()["state"]) == (409, "denied")
        assert served.tries == [("bob", "approve", 409)]

    with_listener(tmp_path, use)


def test_nothing_is_approved_that_was_not_shown(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        record, other = await served.ask(asked()), await served.ask(asked(arguments='{"ordId":"43"}'))
        path = f"/api/approvals/{record.id}/approve"
        foreign = await served.digest(other)
        answers = [await served.post(path, body) for body in ({}, {"digest": ""}, {"digest": foreign})]
        assert [one.status_code for one in answers] == [400, 409, 409]
        assert (await served.get(f"/api/approvals/{record.id}")).json()["state"] == "pending"
        assert served.tries == [("alice", "approve", status) for status in (400, 409, 409)]

    with_listener(tmp_path, use)


@pytest.mark.parametrize("more", [{"tool": "cancel_all_orders"}, {"server": "okx-live"}, {"holder": "session-2"}])
def test_what_was_shown_of_one_call_approves_no_other_that_looks_the_same(
    tmp_path: Path, more: dict[str, str]
) -> None:  # fmt: skip
    """One rule for all tools asks, and an agent makes two calls with the same arguments."""

    async def use(served: Served) -> None:
        harmless = asked()
        other = asked(
            tool=more.get("tool", harmless.tool), server=more.get("server", harmless.server),
            holder=more.get("holder", harmless.holder),
        )  # fmt: skip
        seen = await served.ask(harmless)
        record = await served.ask(msgspec.structs.replace(other, shown=harmless.shown))
        body = {"digest": await served.digest(seen)}
        assert (await served.post(f"/api/approvals/{record.id}/approve", body)).status_code == 409

    with_listener(tmp_path, use)


@pytest.mark.parametrize("what", ["approve", "deny", "resolve", "revoke"])
def test_an_approval_of_others_is_as_unknown_as_one_that_is_not_there(tmp_path: Path, what: str) -> None:
    async def use(served: Served) -> None:
        hers = await served.ask(asked())
        not_hers = [await served.ask(asked(tool="place_order")), await served.ask(asked(server="other"))]
        listed = (await served.get("/api/approvals?state=all", CAROL)).json()["approvals"]
        assert [one["id"] for one in listed] == [hers.id]
        body = {"approve": {"digest": "d"}, "resolve": {"committed": True}}.get(what, {})
        answers = set()
        for id_ in (not_hers[0].id, not_hers[1].id, "apr_00000000000000000000", "%2e%2e", HOSTILE_ID):
            shown = await served.get(f"/api/approvals/{id_}", CAROL)
            done = await served.post(f"/api/approvals/{id_}/{what}", body, CAROL)
            answers |= {(one.status_code, one.text, tuple(sorted(one.headers))) for one in (shown, done)}
        assert [status for status, *_ in answers] == [404]
        assert served.changes == []
        assert len(served.tries) == 10

    with_listener(tmp_path, use)


HOSTILE_ID = "apr_%3Cscript%3E%00%1b"


def test_without_an_approvers_token_nothing_is_seen_or_done(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        record = await served.ask(asked())
        paths = ["/api/approvals", "/api/grants", f"/api/approvals/{record.id}", "/api/nothing", "/api"]
        wrong = [
            "",
            "Bearer",
            f"Basic {ALICE}",
            f"Bearer {ALICE[:-1]}",
            f"Bearer {ALICE} x",
            f"bearer\t{ALICE}",
        ]
        answers = [
            await served.client.get(path, headers={"authorization": wrong[at % len(wrong)]})
            for at, path in enumerate(paths)
        ]
        answers.append(await served.client.get("/api/approvals"))
        answers.append(await served.client.get(f"/api/approvals?token={ALICE}"))
        answers.append(await served.client.get("/api/approvals", headers={"cookie": f"approvals={ALICE}"}))
        answers.append(await served.client.post(f"/api/approvals/{record.id}/approve", json={}))
        assert {one.status_code for one in answers} == {401}
        assert len({one.text for one in answers}) == 1
        assert all(one.headers["www-authenticate"].startswith("Bearer") for one in answers)
        assert {(who, status) for who, _, status in served.tries} == {("", 401)}
        assert len(served.tries) == len(answers)
        assert ALICE not in repr(served.told)

    with_listener(tmp_path, use)


def test_wrong_tokens_are_limited_for_each_address_and_right_ones_still_come_in(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        answers = [await served.get("/api/approvals", f"wrong-{at}") for at in range(guard.WRONG_BURST + 3)]
        assert [one.status_code for one in answers] == [401] * guard.WRONG_BURST + [429] * 3
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert (await served.get("/api/approvals")).status_code == 200
        assert served.tries == [("", "list", 401)] * guard.WRONG_BURST + [("", "list", 429)]

    with_listener(tmp_path, use)


def test_an_approver_who_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        answers = [await served.get("/api/approvals") for _ in range(4 * guard.OFTEN_BURST)]
        refused = [one for one in answers if one.status_code == 429]
        assert refused
        assert all(int(one.headers["retry-after"]) >= 1 for one in refused)
        assert (await served.get("/api/approvals", BOB)).status_code == 200

    with_listener(tmp_path, use)


def test_a_rule_that_wants_two_people_gets_two_different_ones(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        call = asked(approvers=2)
        record = await served.ask(call)
        assert (await served.approve(record)).json()["state"] == "pending"
        assert (await served.approve(record)).json()["state"] == "pending"
        assert (await served.approve(record, grant=True)).status_code == 409
        assert (await served.ledger.claim((), asked=call)).record.state == "pending"  # type: ignore[union-attr]
        assert (await served.approve(record, BOB)).json()["state"] == "approved"

    with_listener(tmp_path, use)


def test_who_asked_cannot_approve_where_four_eyes_are_wanted(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        his = await served.ask(asked(asker="bob@example.com", issuer="https://login.example.com", four_eyes=True))
        refused = await served.approve(his, BOB)
        assert (refused.status_code, refused.json()["state"]) == (403, "pending")
        assert served.tries == [("bob", "approve", 403)]
        assert (await served.approve(his)).json()["state"] == "approved"
        other = await served.ask(asked(asker="bob@example.com", issuer="https://login.example.com"))
        assert (await served.approve(other, BOB)).json()["state"] == "approved"
        denied = await served.ask(asked(asker="bob@example.com", issuer="https://login.example.com", four_eyes=True))
        assert (await served.post(f"/api/approvals/{denied.id}/deny", {}, BOB)).json()["state"] == "denied"

    with_listener(tmp_path, use)


def test_a_standing_approval_is_given_listed_and_revoked(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        call, plain = asked(grant=GRANT), asked()
        record = await served.ask(call)
        assert (await served.approve(await served.ask(plain), grant=True)).status_code == 409
        assert (await served.approve(record, grant=True)).status_code == 200
        found = valid(await served.get("/api/grants"), "/api/grants")["grants"]
        assert [(one["id"], one["calls"], one["same"], one["free"]) for one in found] == [
            (record.id, 10, {"args.instId": '"BTC-USDT"'}, ["args.px"])
        ]
        assert (await served.get("/api/grants", CAROL)).json() == {"grants": found}
        revoke = f"/api/approvals/{record.id}/revoke"
        once, again = await served.post(revoke, {"reason": "enough"}), await served.post(revoke, {"reason": "enough"})
        valid(once, "/api/approvals/{id}/revoke", "post")
        assert (once.status_code, once.json()["answers"]) == (200, again.json()["answers"])
        assert (await served.get("/api/grants")).json() == {"grants": []}

    with_listener(tmp_path, use)


@pytest.mark.parametrize("committed", [True, False])
def test_a_person_says_what_became_of_a_call_of_which_nobody_knows(tmp_path: Path, committed: bool) -> None:
    async def use(served: Served) -> None:
        call = asked()
        record = await served.ask(call)
        resolve = f"/api/approvals/{record.id}/resolve"
        early = await served.post(resolve, {"committed": committed})
        assert (early.status_code, early.json()["state"]) == (409, "pending")
        await served.approve(record)
        await served.use(call)
        await served.ledger.approvals.settle(record.id, "unknown")
        done = await served.post(resolve, {"committed": committed, "reason": "looked at the exchange"})
        assert (done.status_code, done.json()["state"]) == (200, "consumed")
        valid(done, "/api/approvals/{id}/resolve", "post")
        again = await served.post(resolve, {"committed": committed})
        assert (again.status_code, again.json()["answers"]) == (200, done.json()["answers"])
        other = await served.post(resolve, {"committed": not committed})
        assert (other.status_code, other.json()["state"]) == (409, "consumed")

    with_listener(tmp_path, use)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("POST", "/api/approvals", 405, "GET"),
        ("DELETE", "/api/approvals/{id}", 405, "GET"),
        ("GET", "/api/approvals/{id}/approve", 405, "POST"),
        ("HEAD", "/api/approvals/{id}/deny", 405, "POST"),
        ("PUT", "/api/approvals/{id}/approve", 405, "POST"),
        ("OPTIONS", "/api/approvals", 405, "GET"),
        ("GET", "/api/approvals/{id}/explode", 404, None),
        ("GET", "/api/approvals/", 404, None),
        ("GET", "/api/approvals?state=nothing", 400, None),
        ("GET", "/api/approvals?limit=0", 400, None),
        ("GET", "/api/approvals?limit=9999999", 400, None),
        ("GET", "/api/approvals?other=1", 400, None),
        ("GET", "/api/approvals?state=pending&a&b", 400, None),
        ("GET", "/api/approvals?server=%ff", 400, None),
    ],
)
def test_what_is_asked_for_in_another_way_is_refused(
    tmp_path: Path, method: str, path: str, status: int, allow: str | None
) -> None:
    async def use(served: Served) -> None:
        record = await served.ask(asked())
        answer = await served.client.request(
            method, path.replace("{id}", record.id), headers={"authorization": f"Bearer {ALICE}"}
        )
        assert (answer.status_code, answer.headers.get("allow")) == (status, allow)
        assert "access-control-allow-origin" not in answer.headers
        assert (await served.get(f"/api/approvals/{record.id}")).json()["state"] == "pending"

    with_listener(tmp_path, use)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"digest":"D","digest":"D"}', "application/json", 400),
        (b'{"digest":"D","by":"bob"}', "application/json", 400),
        (b'{"digest":5}', "application/json", 400),
        (b'{"digest":"D","grant":1}', "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"digest":"D","reason":"%b"}' % (b"x" * 1001), "application/json", 400),
        (b'{"digest":"D"}', "text/plain", 415),
        (b"digest=D", "application/x-www-form-urlencoded", 415),
        (b'{"digest":"D","reason":"%b"}' % (b"x" * (64 << 10)), "application/json", 413),
    ],
)
def test_a_body_that_is_not_as_described_decides_nothing(
    tmp_path: Path, body: bytes, content_type: str, status: int
) -> None:
    async def use(served: Served) -> None:
        record = await served.ask(asked())
        sent = body.replace(b'"D"', json.dumps(await served.digest(record)).encode())
        headers = {"authorization": f"Bearer {ALICE}", "content-type": content_type}
        answer = await served.client.post(f"/api/approvals/{record.id}/approve", content=sent, headers=headers)
        assert answer.status_code == status
        assert (await served.get(f"/api/approvals/{record.id}")).json()["state"] == "pending"

    with_listener(tmp_path, use)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "http://127.0.0.1:1",
        "http://localhost:{port}",
        "null",
        "http://127.0.0.1",
        "file://",
    ],
)
def test_pages_of_another_origin_are_refused_even_with_a_token(tmp_path: Path, origin: str) -> None:
    async def use(served: Served) -> None:
        record = await served.ask(asked())
        foreign = origin.replace("{port}", str(served.port))
        digest = await served.digest(record)
        answer = await served.post(f"/api/approvals/{record.id}/approve", {"digest": digest}, origin=foreign)
        assert answer.status_code == 403
        assert served.tries[-1] == ("", "ask", 403)
        assert (await served.get(f"/api/approvals/{record.id}")).json()["state"] == "pending"
        own = f"http://127.0.0.1:{served.port}"
        answer = await served.post(f"/api/approvals/{record.id}/approve", {"digest": digest}, origin=own)
        assert answer.status_code == 200

    with_listener(tmp_path, use)


def test_a_name_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        for host, status in [("evil.example.com", 421), ("ops.example.com", 200), (f"localhost:{served.port}", 200),
                             ("approvals.example.com", 200), ("127.0.0.1:1", 421)]:  # fmt: skip
            assert (await served.get("/api/approvals", headers={"host": host})).status_code == status, host

    with_listener(tmp_path, use, url="https://approvals.example.com", hosts=("ops.example.com",))


def test_every_answer_forbids_what_a_page_of_others_could_do_with_it(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        record = await served.ask(asked())
        answers = [
            await served.get("/api/approvals"),
            await served.get(f"/api/approvals/{record.id}"),
            await served.get("/api/nothing"),
            await served.get("/api/approvals", "wrong"),
            await served.get("/api/approvals", headers={"host": "evil.example.com"}),
            await served.get("/api/approvals", headers={"origin": "https://evil.example.com"}),
            await served.get("/api/openapi.json"),
            await served.post(f"/api/approvals/{record.id}/deny", {"reason": "x" * (65 << 10)}),
        ]
        for answer in answers:
            headers = answer.headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-store"
            assert headers["referrer-policy"] == "same-origin"
            assert "set-cookie" not in headers

    with_listener(tmp_path, use)


def test_an_approver_who_is_taken_from_the_file_is_out_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.system.watched_file.LOOK", 0.0)

    async def use(served: Served) -> None:
        assert (await served.get("/api/approvals")).status_code == 200
        write(served.people, *EVERYBODY[1:])
        assert (await served.get("/api/approvals")).status_code == 401
        write(served.people, *EVERYBODY[1:], entry("alice", ALICE, tools=["place_*"]))
        record = await served.ask(asked())
        assert (await served.get(f"/api/approvals/{record.id}")).status_code == 404

    with_listener(tmp_path, use)


def test_a_store_that_is_gone_is_said_in_plain_words_and_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object, **__: object) -> None:
        raise StoreUnavailable("secret words of the disk")

    async def use(served: Served) -> None:
        record = await served.ask(asked())
        digest = await served.digest(record)
        for name in ("decide", "find", "records", "grants"):
            monkeypatch.setattr(served.ledger.approvals, name, gone)
            answer = (
                await served.post(f"/api/approvals/{record.id}/approve", {"digest": digest})
                if name == "decide"
                else await served.get(
                    {"find": f"/api/approvals/{record.id}"}.get(
                        name, f"/api/{'approvals' if name == 'records' else name}"
                    )
                )
            )
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert "the store of approvals cannot be used" in answer.json()["error"]
            assert "disk" not in answer.text
        assert served.tries == [("alice", "approve", 503)]

    with_listener(tmp_path, use)


def test_a_store_that_was_removed_decides_nothing(tmp_path: Path) -> None:
    files = [tmp_path / f"counters.db{end}" for end in ("", "-wal", "-shm")]

    async def use(served: Served) -> None:
        record = await served.ask(asked())
        digest = await served.digest(record)
        for file in files:
            file.unlink(missing_ok=True)
        answers = [
            await served.get("/api/approvals"),
            await served.get(f"/api/approvals/{record.id}"),
            await served.post(f"/api/approvals/{record.id}/approve", {"digest": digest}),
        ]
        assert [one.status_code for one in answers] == [503] * 3
        assert served.changes == []

    with_listener(tmp_path, use)


@pytest.mark.parametrize("name", ["authorization", "origin", "content-type"])
def test_a_header_that_stands_twice_is_refused(tmp_path: Path, name: str) -> None:
    async def use(served: Served) -> None:
        record = await served.ask(asked())
        digest = await served.digest(record)
        own = {
            "authorization": f"Bearer {ALICE}",
            "origin": f"http://127.0.0.1:{served.port}",
            "content-type": "application/json",
        }
        path, body = f"/api/approvals/{record.id}/approve", json.dumps({"digest": digest})
        twice = await served.client.post(path, content=body, headers=[*own.items(), (name, own[name])])
        assert twice.status_code == 400
        assert served.changes == []
        assert (await served.client.post(path, content=body, headers=list(own.items()))).status_code == 200

    with_listener(tmp_path, use)


def test_what_agents_and_approvers_write_comes_back_as_json_text(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        record = await served.ask(asked(arguments=json.dumps({"x": HOSTILE})))
        answer = await served.approve(record, reason=HOSTILE.replace("\0", ""))
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["arguments"] == {"x": HOSTILE}
        assert answer.json()["answers"][0]["reason"] == HOSTILE.replace("\0", "")

    with_listener(tmp_path, use)


def test_a_list_is_bounded_and_the_newest_come_first(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        records = [
            await served.ask(asked(holder=f"session-{at // MAX_PENDING_EACH}")) for at in range(3 * MAX_PENDING_EACH)
        ]
        found = (await served.get("/api/approvals?state=pending&limit=5")).json()["approvals"]
        assert [one["id"] for one in found] == [one.id for one in reversed(records[-5:])]

    with_listener(tmp_path, use)


def test_the_description_is_one_of_openapi_and_needs_no_token(tmp_path: Path) -> None:
    async def use(served: Served) -> None:
        found = (await served.client.get("/api/openapi.json")).json()
        assert found == json.loads(json.dumps(DESCRIPTION))
        assert found["openapi"] == "3.1.0"
        for path, item in found["paths"].items():
            assert path.startswith("/api/")
            for operation in [item[method] for method in ("get", "post") if method in item]:
                assert {"operationId", "summary", "responses"} <= operation.keys()
        for schema in found["components"]["schemas"].values():
            jsonschema.Draft202012Validator.check_schema(schema)

    with_listener(tmp_path, use)
