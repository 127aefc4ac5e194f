"""The engine as the rest of the sidecar sees it: the bundle in force, questions, and a heartbeat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

import msgspec

from sidecar.decision.decider import Finding
from sidecar.decision.decision import Answer, Visible, read_answer, read_visible
from sidecar.decision.question import question
from sidecar.engine.client import EngineClient, Greeting
from sidecar.engine.connection import EngineReply
from sidecar.engine.decision_cache import DecisionCache
from sidecar.errors import EngineUnavailable, Superseded
from sidecar.events import Emit, EngineFailed, EngineReady
from sidecar.policy.bundle import Bundle
from sidecar.policy.names import CANARY_ALLOWED, CANARY_DENIED
from sidecar.policy.nothing import NO_SERIAL, WHY
from sidecar.system import defects

BEAT: Final = 0.4
"""Seconds between two heartbeats."""
ALIVE: Final = 1.0
"""Seconds for which a heartbeat proves the engine alive; after that the decision cache is not used."""
RETRY: Final = 0.01
"""Seconds between two canaries while the engine is not ready."""


class Engine:
    """The OPA at `socket`, deciding by `bundle`; `timeout` is in seconds for one question.

    Every connection begins with the `greeting`, if there is one.
    """

    def __init__(
        self, socket: str, bundle: Bundle, *, server: str, timeout: float, remember: bool, emit: Emit,
        greeting: Greeting | None = None,
    ) -> None:  # fmt: skip
        self.bundle = bundle
        self._server = server
        self._emit = emit
        self._client = EngineClient(socket, timeout, self.lost, greeting)
        self._cache = DecisionCache() if remember else None
        self._canaries = {"allow": question("", CANARY_ALLOWED, {}), "deny": question("", CANARY_DENIED, {})}
        self._under_way: dict[tuple[str, int, bytes], list[Callable[[Finding], None]]] = {}
        self._next: Bundle | None = None
        self._failing = True
        self._said: set[str] = set()
        self._quiet = True
        self._trouble = "the policy engine has not answered yet"
        self._alive_until = 0.0

    @property
    def ready(self) -> bool:
        """True if the engine was seen alive, with the policy in force, within the last second."""
        return monotonic() < self._alive_until

    @property
    def trouble(self) -> str | None:
        """Why it is not ready, in words for a person; None if it is."""
        if self.ready:
            return WHY if self.bundle.serial == NO_SERIAL else None
        return self._trouble

    def recall(self, body: bytes) -> Answer | None:
        """The cached answer to a question, if there is one that may still be used."""
        if self._cache is None or not self.ready:
            return None
        return self._cache.get(body)

    def confirm(self) -> bool:
        """True if answers that were recalled in this pass of the event loop may still be used.

        OPA may have closed a connection, and the event loop not have read that yet: then it is lost from now on.
        """
        if not self._client.is_whole():
            self.lost()
        return self.ready

    def put(
        self, body: bytes, bundle: Bundle, decision_id: str, done: Callable[[Finding], None], *, lasting: bool
    ) -> None:
        """Put a question under `bundle`; `done` is called once, with OPA's answer or with why there is none to use.

        A `lasting` answer may be cached. While the same lasting question is in flight it is not put again: all who
        asked get its answer, and for all but the first it is marked as remembered.
        """
        if bundle.serial == NO_SERIAL:
            done(self._no_policy())
            return
        key = (bundle.revision, bundle.serial, body)
        if lasting and self._cache is not None:
            if (same := self._under_way.get(key)) is not None:
                same.append(done)
                return
            self._under_way[key] = []

        def replied(reply: EngineReply) -> None:
            finding = self._found(body, bundle, reply, lasting)
            others = self._under_way.pop(key, []) if lasting else []
            done(finding)
            if others:
                again = _remembered(finding)
                for other in others:
                    other(again)

        self._client.put(body, decision_id, replied)

    def _found(self, body: bytes, bundle: Bundle, reply: EngineReply, lasting: bool) -> Finding:
        try:
            if isinstance(reply, EngineUnavailable):
                raise reply
            answer = read_answer(reply)
            self._check_revision(answer.decision.revision, answer.decision.serial, bundle)
            if lasting and self._cache is not None and self.ready and self._next is None and bundle is self.bundle:
                self._cache.keep(body, answer)
        except EngineUnavailable as error:
            self._emit(EngineFailed(self._server, error.kind, str(error)))
            return error
        except Superseded as superseded:
            return superseded
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no answer that could be used
            return EngineUnavailable("reply", defects.text(defects.tell("an answer of the engine is not used", error)))
        return answer

    async def ask_visible(self, body: bytes, tools: Sequence[str], bundle: Bundle, decision_id: str) -> Visible:
        """OPA's answer about a list of tools.

        Raises `EngineUnavailable` if there is no usable one, `Superseded` if it comes from a newer policy.
        """
        if bundle.serial == NO_SERIAL:
            raise self._no_policy()
        try:
            visible = read_visible(await self._client.ask(body, decision_id), tools)
            self._check_revision(visible.revision, visible.serial, bundle)
        except EngineUnavailable as error:
            self._emit(EngineFailed(self._server, error.kind, str(error)))
            raise
        return visible

    def _no_policy(self) -> EngineUnavailable:
        """Nothing was admitted, so nothing is asked: an answer would not say that nobody made a policy yet."""
        error = EngineUnavailable("no_policy", WHY)
        self._emit(EngineFailed(self._server, error.kind, str(error)))
        return error

    def expect(self, bundle: Bundle) -> None:
        """Note that a newer bundle was published; the first answer that comes from it puts it in force.

        Nothing is cached until then.
        """
        self._next = bundle
        self._forget()

    def give_up(self) -> None:
        """The newer bundle did not come into force and is not expected any more."""
        self._next = None

    async def until_in_force(self, bundle: Bundle) -> None:
        """Wait until an expected bundle is in force."""
        while self.bundle is not bundle:
            await self._canary()
            await asyncio.sleep(RETRY)

    def _check_revision(self, revision: str, serial: int, bundle: Bundle) -> None:
        """Raise unless the answer is by the policy that the question was put under."""
        newer = self._next
        if newer is not None and (revision, serial) == (newer.revision, newer.serial):
            self.bundle, self._next = newer, None
            self._emit(EngineReady(self._server, newer.revision, newer.serial, newer.terms, newer.commit))
        if (revision, serial) == (self.bundle.revision, self.bundle.serial):
            if bundle is not self.bundle:
                raise Superseded
            return
        if (revision, serial) == (bundle.revision, bundle.serial):
            raise Superseded  # judged just before the newer one came into force
        raise EngineUnavailable("revision", "the policy engine answered by another policy than the one in force")

    async def until_ready(self) -> None:
        """Wait until the engine answers both canaries rightly, by the bundle in force."""
        while not await self._canary():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(RETRY)

    async def beat(self) -> None:
        """Ask the canaries without end: the heartbeat."""
        while True:
            await asyncio.sleep(BEAT)
            await self.until_ready()

    def complain(self) -> None:
        """Report failures from now on. Before, an engine that is not ready yet is no failure: it takes a moment."""
        self._quiet = False

    def lost(self) -> None:
        """Its connection broke or its process ended: cached answers may not be its answers any more."""
        self._alive_until = 0.0
        self._trouble = "the policy engine closed its connection"
        self._forget()

    def ended(self, text: str) -> None:
        """Its process ended; `text` says how."""
        self.lost()
        self._failed("exit", text)

    def close(self) -> None:
        """Drop its connections; questions in flight get no answer."""
        self._client.close()

    async def _canary(self) -> bool:
        try:
            for action, body in self._canaries.items():
                answer = read_answer(await self._client.ask(body, "canary"))
                self._check_revision(answer.decision.revision, answer.decision.serial, self.bundle)
                if answer.decision.action != action:
                    raise EngineUnavailable("canary", f"the canary that must get {action} got another answer")
        except Superseded:
            return False
        except EngineUnavailable as error:
            self._trouble = str(error)
            if not self._quiet and error.kind not in self._said:
                self._failed(error.kind, str(error))
            return False
        self._alive_until = monotonic() + ALIVE
        if self._failing:
            self._failing = self._quiet = False
            self._said.clear()
            now = self.bundle
            self._emit(EngineReady(self._server, now.revision, now.serial, now.terms, now.commit))
        return True

    def _forget(self) -> None:
        if self._cache is not None:
            self._cache.clear()

    def _failed(self, kind: str, text: str) -> None:
        self._failing = True
        self._said.add(kind)
        self._trouble = text
        self._emit(EngineFailed(self._server, kind, text))


def _remembered(finding: Finding) -> Finding:
    """The same, marked as remembered, for those who did not ask first."""
    return msgspec.structs.replace(finding, remembered=True) if isinstance(finding, Answer) else finding
