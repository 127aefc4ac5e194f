"""The upkeep: what is over ends, what waits is counted, what people said elsewhere is found, and no call waits."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sidecar.approvals.upkeep import Upkeep
from sidecar.errors import StoreUnavailable
from sidecar.events import AnswerSeen, ApprovalChanged, ApprovalsCounted, NoticeSent, StoreFailed
from sidecar.ledger.approvals import LOST_AFTER, Counts
from sidecar.ledger.protocol import Ledger
from sidecar.policy.terms import Terms
from tests.approvals.calls import asked
from tests.approvals.kept import Heard, Place, ask, keeping, notified, says, until, use
from tests.engine.asking import bundle_of
from tests.ledger.stores import Clock
from tests.support.peer import SECONDS
from tests.support.receiver import receiving

ASKS = "tools: {cancel_order: {rules: [{action: require_approval}]}}"
SILENT = "tools: {cancel_order: {rules: [{action: allow}]}}"
SECRET = "correct horse battery staple"


def terms_of(policy: str) -> Terms:
    """The terms of a policy."""
    return bundle_of(policy).terms


@asynccontextmanager
async def kept_up(
    ledger: Ledger, clock: Clock, *, terms: Callable[[], Terms] | None = None, page: str = "",
    instance: str = "sidecar-1",
) -> AsyncIterator[Heard]:  # fmt: skip
    """The upkeep of a sidecar for the length of a `with`, which looks all the time."""
    heard, asking = Heard(), terms_of(ASKS)
    upkeep = Upkeep(
        server="okx", instance=instance, ledger=ledger, emit=heard, terms=terms or (lambda: asking), page=page,
        secret=lambda _: SECRET, clock=clock, period=0.01,
    )  # fmt: skip
    upkeep.start()
    try:
        yield heard
    finally:
        await upkeep.close()


def states(heard: Heard) -> list[str]:
    """The states that approvals came into."""
    return [event.record.state for event in heard.events if isinstance(event, ApprovalChanged)]


def last_counts(heard: Heard) -> tuple[Counts, float] | None:
    """What was counted last, and how long the oldest waits."""
    counted = [event for event in heard.events if isinstance(event, ApprovalsCounted)]
    return (counted[-1].counts, counted[-1].waits) if counted else None


async def look(heard: Heard) -> None:
    """Wait until it looked twice, so that one look began after now."""
    before = len(heard.of(ApprovalsCounted))
    await until(lambda: len(heard.of(ApprovalsCounted)) >= before + 2)


def test_what_nobody_answers_expires_and_is_told_once(place: Place) -> None:
    async def kept() -> None:
        async with keeping(place, clock := Clock()) as ledger:
            await ask(ledger, asked(timeout=60))
            async with kept_up(ledger, clock) as heard:
                await look(heard)
                assert states(heard) == []
                clock.now += 60
                await until(lambda: states(heard))
                await look(heard)
                assert states(heard) == ["expired"]

    asyncio.run(kept())


def test_what_is_in_use_stays_so_while_its_sidecar_lives_and_is_unknown_once_that_is_gone(place: Place) -> None:
    async def kept() -> None:
        async with keeping(place, clock := Clock()) as ledger:
            call = asked()
            record = await ask(ledger, call)
            await ledger.approvals.decide(record.id, says("approve"))
            await use(ledger, call)
            async with kept_up(ledger, clock) as heard:
                for _ in range(3):
                    clock.now += LOST_AFTER - 1
                    await look(heard)
                assert states(heard) == []
            async with kept_up(ledger, clock, instance="sidecar-2") as other:
                clock.now += LOST_AFTER
                await until(lambda: states(other) == ["unknown"])

    asyncio.run(kept())


def test_what_waits_is_counted_and_for_how_long(place: Place) -> None:
    async def kept() -> None:
        async with keeping(place, clock := Clock()) as ledger:
            await ask(ledger, asked())
            await ask(ledger, asked(server="another"))
            clock.now += 90
            async with kept_up(ledger, clock) as heard:
                await look(heard)
                counted = last_counts(heard)
                assert counted is not None
                counts, waits = counted
                assert counts.states == {"pending": 1, "approved": 0, "in_use": 0, "unknown": 0}
                assert waits == 90

    asyncio.run(kept())


@pytest.mark.parametrize("verdict", ["approve", "deny"])
def test_what_a_person_said_by_the_cli_is_found_once(place: Place, verdict: str) -> None:
    async def kept() -> None:
        async with keeping(place, clock := Clock()) as ledger:
            record = await ask(ledger, asked())
            async with kept_up(ledger, clock) as heard, kept_up(ledger, clock, instance="sidecar-2") as other:
                await look(heard)
                clock.now += 5
                await ledger.approvals.decide(record.id, says("approve" if verdict == "approve" else "deny"))
                await until(lambda: heard.of(AnswerSeen))
                await look(heard)
                await look(other)
                (seen,) = heard.of(AnswerSeen)
                assert isinstance(seen, AnswerSeen)
                assert (seen.record.id, seen.by.by, seen.by.verdict) == (record.id, "alice", verdict)
                assert other.of(AnswerSeen) == []

    asyncio.run(kept())


def test_what_was_said_on_the_page_is_not_found_again(place: Place) -> None:
    async def kept() -> None:
        async with keeping(place, clock := Clock()) as ledger:
            record = await ask(ledger, asked())
            async with kept_up(ledger, clock) as heard:
                await look(heard)
                clock.now += 5
                await ledger.approvals.decide(record.id, says("approve", via="page"))
                await look(heard)
                assert heard.of(AnswerSeen) == []

    asyncio.run(kept())


def test_the_first_of_two_who_must_agree_decides_nothing_yet(place: Place) -> None:
    async def kept() -> None:
        async with keeping(place, clock := Clock()) as ledger:
            record = await ask(ledger, asked(approvers=2))
            async with kept_up(ledger, clock) as heard:
                for by in ("alice", "bob"):
                    await look(heard)
                    assert heard.of(AnswerSeen) == []
                    clock.now += 5
                    await ledger.approvals.decide(record.id, says("approve", by))
                await until(lambda: heard.of(AnswerSeen))
                (seen,) = heard.of(AnswerSeen)
                assert isinstance(seen, AnswerSeen)
                assert seen.by.by == "bob"

    asyncio.run(kept())


def test_an_answer_is_found_though_the_call_ran_at_once(place: Place) -> None:
    async def kept() -> None:
        async with keeping(place, clock := Clock()) as ledger:
            call = asked()
            record = await ask(ledger, call)
            async with kept_up(ledger, clock) as heard:
                await look(heard)
                clock.now += 5
                await ledger.approvals.decide(record.id, says("approve"))
                await use(ledger, call)
                await ledger.approvals.settle(record.id, "consumed")
                await until(lambda: heard.of(AnswerSeen))

    asyncio.run(kept())


def test_while_no_rule_asks_the_store_is_left_alone_and_then_it_begins_and_lasts(place: Place) -> None:
    async def kept() -> None:
        async with keeping(place, clock := Clock()) as ledger:
            silent, asking = terms_of(SILENT), terms_of(ASKS)
            looked = 0
            policy = [silent]

            def terms() -> Terms:
                nonlocal looked
                looked += 1
                return policy[0]

            async with kept_up(ledger, clock, terms=terms) as heard:
                await until(lambda: looked >= 3)
                assert heard.events == []
                policy[0] = asking
                await look(heard)
                policy[0] = silent
                await look(heard)

    asyncio.run(kept())


def test_with_a_page_it_begins_whatever_the_policy_says(place: Place) -> None:
    async def kept() -> None:
        async with keeping(place, clock := Clock()) as ledger:
            silent = terms_of(SILENT)
            async with kept_up(ledger, clock, terms=lambda: silent, page="https://desk") as heard:
                await look(heard)

    asyncio.run(kept())


def test_a_store_that_is_gone_is_told_once_and_used_again_when_it_is_back(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    async def gone(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise StoreUnavailable("the store of counters is gone")

    async def kept() -> None:
        async with keeping(place, clock := Clock()) as ledger, kept_up(ledger, clock) as heard:
            await look(heard)
            for _ in range(2):
                with monkeypatch.context() as patched:
                    patched.setattr(type(ledger.approvals), "sweep", gone)
                    before = tries
                    await until(lambda: tries >= before + 3)  # noqa: B023 - it is called in this turn only
                await look(heard)
            texts = [event.text for event in heard.events if isinstance(event, StoreFailed)]
            assert len(texts) == 2
            assert texts[0].startswith("the store of counters is gone; until it can be")
            assert caplog.text.count("the store can be used again") == 2

    asyncio.run(kept())


def test_it_ends_whatever_it_is_at(place: Place) -> None:
    async def kept() -> None:
        async with keeping(place, clock := Clock()) as ledger:
            for _ in range(20):
                async with asyncio.timeout(SECONDS), kept_up(ledger, clock) as heard:
                    await look(heard)

    asyncio.run(kept())


def test_the_webhook_of_the_policy_in_force_is_told(place: Place) -> None:
    async def kept() -> None:
        with receiving() as receiver:
            async with keeping(place, clock := Clock()) as ledger:
                plain = terms_of(ASKS)
                hooked = replace_approvals(plain, receiver.url)
                policy = [plain]
                async with kept_up(ledger, clock, terms=lambda: policy[0]) as heard:
                    await ask(ledger, notified())
                    await look(heard)
                    assert receiver.got == []
                    policy[0] = hooked
                    await until(lambda: heard.of(NoticeSent))
                    assert len(receiver.got) == 1

    asyncio.run(kept())


def replace_approvals(terms: Terms, url: str) -> Terms:
    """The same terms with a webhook."""
    hook = dataclasses.replace(terms.approvals, webhook=url, secret_env="HOOK_SECRET")
    return dataclasses.replace(terms, approvals=hook)
