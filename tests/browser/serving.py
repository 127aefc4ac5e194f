"""The real listener of approvals on a real store, in a thread, beside a browser that blocks the test's own."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

from sidecar.approvals.listener import serve_approvals
from sidecar.approvals.page.site import Site
from sidecar.events import ApprovalTried, Event
from sidecar.http.server import HttpServer
from sidecar.ledger.approvals import Answer, Asked, Record, Settlement, Unapproved
from sidecar.ledger.protocol import Claim
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Reservation
from sidecar.settings import Address, ApprovalsListener

ALICE: Final = "alice-6f1d0c3b9e8a4f27"
BOB: Final = "bob-0b7e55aa21c94d10"
TRADER: Final = "trader-77c0d4e1f2a34b5c"
"""May see the tools of one kind only."""

Result = TypeVar("Result")


class Serving:
    """A listener with its store. Its methods may be called from the test's thread."""

    def __init__(self, folder: Path, *, url: str = "http://127.0.0.1") -> None:
        self.events: list[Event] = []
        self.behind = 0.0
        """Seconds by which the store's clock is behind, to have things asked for a while ago."""
        self._is_lost = False
        self._approvers = folder / "approvers.yaml"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.name_approvers(ALICE, BOB, TRADER)
        self.ledger = self.run(_ledger(folder / "state.db", lambda: time.time() - self.behind))
        listener = ApprovalsListener(Address("127.0.0.1", 0), self._approvers, url, ())
        self._http: HttpServer = self.run(serve_approvals(listener, self.ledger, "okx", self.events.append, Site))
        self.url = f"http://127.0.0.1:{self._http.port}"

    def name_approvers(self, *tokens: str) -> None:
        """Write who may approve, by their tokens: each begins with a name."""
        lines = ["approvers:"]
        for token in tokens:
            name = token.partition("-")[0]
            lines += [f"  - name: {name}", f"    token_sha256: {hashlib.sha256(token.encode()).hexdigest()}"]
            lines += ['    tools: ["place_*"]'] if token == TRADER else []
        self._approvers.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._approvers.chmod(0o600)

    def run(self, work: Coroutine[Any, Any, Result], seconds: float = 20) -> Result:
        """What `work` gives, run beside the listener."""
        future: Future[Result] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(seconds)

    def ask(self, wants: Asked) -> Record:
        """A call asks: the approval that waits for a person."""
        found = self.run(self.ledger.claim(wants.shown.takes, (), wants))
        assert isinstance(found, Unapproved), found
        return found.record

    def use(self, wants: Asked) -> Record:
        """The call comes again and is forwarded."""
        found = self.run(self.ledger.claim(wants.shown.takes, (), wants))
        assert isinstance(found, Claim), found
        assert found.approval is not None
        return found.approval

    def settle(self, record: Record, how: Settlement) -> None:
        """What became of a call that was forwarded."""
        self.run(self.ledger.approvals.settle(record.id, how))

    def lost(self, wants: Asked) -> Record:
        """A call that was approved, and forwarded, and to which no answer came."""
        self.decide(self.ask(wants), "approve")
        record = self.use(wants)
        self.settle(record, "unknown")
        return self.find(record.id)

    def takes(self, *reservations: Reservation) -> None:
        """Other calls took from limits."""
        found = self.run(self.ledger.claim(reservations))
        assert isinstance(found, Claim), found

    def find(self, id_: str) -> Record:
        """An approval as it stands."""
        return self.run(self.ledger.approvals.find(id_))

    def decide(self, record: Record, verdict: Any, by: str = "carol", **others: Any) -> Record:
        """Somebody answers at the command line."""
        answer = Answer(by, time.time(), "cli", "root", verdict, **others)
        return self.run(self.ledger.approvals.decide(record.id, answer))[0]

    @property
    def tries(self) -> list[ApprovalTried]:
        """What was refused so far."""
        return [one for one in self.events if isinstance(one, ApprovalTried)]

    def lose_store(self) -> None:
        """The store cannot be used any more."""
        self._is_lost = True
        self.run(self.ledger.close())

    def close(self) -> None:
        """End all of it."""
        self.run(self._http.close(0.1))
        if not self._is_lost:
            self.run(self.ledger.close())
        self.run(_end_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


async def _end_others() -> None:
    """End the tasks that look into the store for whoever waits."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _ledger(path: Path, clock: Callable[[], float]) -> SqliteLedger:
    return SqliteLedger(path, clock)
