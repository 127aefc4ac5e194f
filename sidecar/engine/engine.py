"""The engine as the rest of the sidecar sees it: the bundle in force, questions, and a heartbeat."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Final

import msgspec

from sidecar.decision.decider import Finding
from sidecar.decision.decision import Answer, Visible, read_answer, read_visible
from sidecar.decision.question import question
from sidecar.engine.client import CANARY, EngineClient, Greeting
from sidecar.engine.connection import EngineReply, unreachable
from sidecar.engine.decision_cache import DecisionCache
from sidecar.errors import EngineUnavailable, PolicyAwaited, Superseded
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
_SILENT: Final = ("timeout", "connection")
"""Kinds of failure of a canary to which nobody gave an answer: they show neither that the engine is right nor wrong."""
_WRONG_CANARY: Final = "the canary that must get {} got another answer"


class _Early(Superseded):
    """An answer by the newer policy, before the canaries put that in force."""


class _Refuted(EngineUnavailable):
    """A canary got the wrong answer, by `bundle`."""

    def __init__(self, text: str, bundle: Bundle) -> None:
        super().__init__("canary", text)
        self.bundle = bundle


class Engine:
    """The OPA at `socket`, deciding by `bundle`; `timeout` is in seconds for one question.

    With a `greeting` somebody else starts the program, and may put another at the socket at any time. Then every
    connection begins with that question and both canaries: no call goes to a program that did not answer them rightly.

    An answer counts only while the engine is proved: it answered both canaries rightly by the policy in force, and has
    answered none wrongly since. A canary that gets no answer in time proves nothing, neither way. An engine that closed
    its last connection has to be proved again: another program may answer on the next one.
    """

    def __init__(
        self, socket: str, bundle: Bundle, *, server: str, timeout: float, remember: bool, emit: Emit,
        greeting: Greeting | None = None,
    ) -> None:  # fmt: skip
        self.bundle = bundle
        self._server = server
        self._emit = emit
        self._canaries = {"allow": question("", CANARY_ALLOWED, {}), "deny": question("", CANARY_DENIED, {})}
        proofs = [Greeting(body, partial(self._greeted, action)) for action, body in self._canaries.items()]
        self._client = EngineClient(socket, timeout, self.lost, [greeting, *proofs] if greeting is not None else ())
        self._cache = DecisionCache() if remember else None
        self._under_way: dict[tuple[str, int, bytes], list[Callable[[Finding], None]]] = {}
        self._next: Bundle | None = None
        self._early: list[Callable[[Superseded | EngineUnavailable], None]] = []
        self._doubt: EngineUnavailable | None = EngineUnavailable(
            "canary", "the policy engine has not answered both canaries yet"
        )
        self._doubts = 0
        self._shaken = asyncio.Event()
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
            if type(finding) is _Early:
                self._early.append(hand_over)
            else:
                hand_over(finding)

        def hand_over(finding: Finding) -> None:
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
            if self._doubt is not None:
                raise self._unproved(self._doubt)
            answer = read_answer(reply)
            self._check(answer.decision.revision, answer.decision.serial, bundle)
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
            reply = await self._client.ask(body, decision_id)
            if self._doubt is not None:
                raise self._unproved(self._doubt)
            visible = read_visible(reply, tools)
            self._check(visible.revision, visible.serial, bundle)
        except EngineUnavailable as error:
            self._emit(EngineFailed(self._server, error.kind, str(error)))
            raise
        except _Early:
            settled: asyncio.Future[Superseded | EngineUnavailable] = asyncio.get_running_loop().create_future()
            self._early.append(lambda outcome: None if settled.done() else settled.set_result(outcome))
            raise await settled from None
        return visible

    def _no_policy(self) -> EngineUnavailable:
        """Nothing was admitted, so nothing is asked: an answer would not say that nobody made a policy yet."""
        error = EngineUnavailable("no_policy", WHY)
        self._emit(EngineFailed(self._server, error.kind, str(error)))
        return error

    def expect(self, bundle: Bundle) -> None:
        """Note that a newer bundle was published: both canaries, answered rightly by it, put it in force.

        Nothing is cached until then, and a question that it answers waits for that, to be put again. So whoever calls
        this sees it in force (`until_in_force`), gives it up, or leaves it to the heartbeat.
        """
        self._next = bundle
        self._forget()

    def give_up(self) -> None:
        """The newer bundle did not come into force and is not expected any more."""
        self._next = None
        self._settle(len(self._early), Superseded())

    async def until_in_force(self, bundle: Bundle, seconds: float) -> None:
        """Wait until an expected bundle is in force. Raises `EngineUnavailable` if a canary is answered wrongly by it.

        After so many seconds the canaries are asked a last time. Raises `EngineUnavailable` if they prove that the old
        one still decides, and `PolicyAwaited` if they prove nothing: whoever is silent may have taken the new one, or
        have it before long. No question waits for longer than both canaries take that are asked after its answer came.
        """
        deadline = monotonic() + seconds
        while self.bundle is not bundle:
            is_last, early = monotonic() >= deadline, len(self._early)
            failure = await self._prove()
            if self.bundle is bundle:
                return
            if isinstance(failure, _Refuted) and failure.bundle is bundle:
                raise EngineUnavailable(failure.kind, f"by the new policy {failure}")
            self._settle(early, _not_proved(failure))
            if is_last and (failure is None or isinstance(failure, _Refuted)):
                raise EngineUnavailable("exit", "opa did not take the new policy")
            if is_last:
                raise PolicyAwaited
            await asyncio.sleep(RETRY)

    async def until_ready(self) -> None:
        """Wait until the engine answers both canaries rightly, by the bundle in force."""
        while not await self._canary():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(RETRY)

    async def beat(self) -> None:
        """Ask the canaries without end: the heartbeat. It comes at once where the engine is in doubt."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await self._shaken.wait()
            self._shaken.clear()
            await self.until_ready()

    def complain(self) -> None:
        """Report failures from now on. Before, an engine that is not ready yet is no failure: it takes a moment."""
        self._quiet = False

    def lost(self) -> None:
        """Its connection broke or its process ended: cached answers may not be its answers any more."""
        self._alive_until = 0.0
        self._trouble = "the policy engine closed its connection"
        self._forget()
        if not self._client.is_connected:
            self._distrust(EngineUnavailable("connection", self._trouble))

    def ended(self, text: str) -> None:
        """Its process ended; `text` says how."""
        self.lost()
        self._failed("exit", text)

    def close(self) -> None:
        """Drop its connections; questions in flight get no answer."""
        self._client.close()
        self._settle(len(self._early), unreachable())

    # The proof.

    def _check(self, revision: str, serial: int, asked_under: Bundle) -> None:
        """Raise unless an answer is by the policy in force, and its question was put under that."""
        if self._author(revision, serial, asked_under) is not self.bundle:
            raise _Early

    def _author(self, revision: str, serial: int, asked_under: Bundle) -> Bundle:
        """The policy that an answer is by: the one in force, or the newer one that is expected.

        Raises `Superseded` if another one came into force since the question was put, and `EngineUnavailable` if the
        answer is by a policy that was not asked.
        """
        by = (revision, serial)
        if by == (self.bundle.revision, self.bundle.serial):
            if asked_under is not self.bundle:
                raise Superseded
            return self.bundle
        newer = self._next
        if newer is not None and by == (newer.revision, newer.serial):
            return newer
        if by == (asked_under.revision, asked_under.serial):
            raise Superseded  # judged just before the newer one came into force
        raise EngineUnavailable("revision", "the policy engine answered by another policy than the one in force")

    def _greeted(self, action: str, reply: bytes) -> None:
        """Raise unless what answers on a new connection answers this canary rightly, by a policy that it may have."""
        decision = read_answer(reply).decision
        self._author(decision.revision, decision.serial, self.bundle)
        if decision.action != action:
            raise EngineUnavailable("canary", _WRONG_CANARY.format(action))

    async def _canary(self) -> bool:
        early = len(self._early)
        failure = await self._prove()
        if self._next is not None:
            self._settle(early, _not_proved(failure))
        return failure is None

    async def _prove(self) -> EngineUnavailable | Superseded | None:
        """Ask both canaries: None if they prove the policy in force, else why they do not.

        A newer policy that they prove is in force from then on.
        """
        try:
            bundle = await self._ask_canaries()
        except Superseded as superseded:
            return superseded
        except EngineUnavailable as error:
            self._trouble = str(error)
            if not self._quiet and error.kind not in self._said:
                self._failed(error.kind, str(error))
            return error
        self._doubt = None
        self._alive_until = monotonic() + ALIVE
        is_newer = bundle is not self.bundle
        if is_newer:
            self.bundle, self._next = bundle, None
        if is_newer or self._failing:
            self._failing = self._quiet = False
            self._said.clear()
            self._emit(EngineReady(self._server, bundle.revision, bundle.serial, bundle.terms, bundle.commit))
        if is_newer:
            self._settle(len(self._early), Superseded())
        return None

    async def _ask_canaries(self) -> Bundle:
        """The policy, in force or expected, by which both canaries were answered rightly.

        Raises `EngineUnavailable` if one was not, and `Superseded` if that cannot be said: a policy came into force
        between them, or the engine came into doubt.
        """
        doubts, authors = self._doubts, list[Bundle]()
        for action, body in self._canaries.items():
            asked_under = self.bundle
            try:
                decision = read_answer(await self._client.ask(body, CANARY)).decision
                by = self._author(decision.revision, decision.serial, asked_under)
                if decision.action != action:
                    raise _Refuted(_WRONG_CANARY.format(action), by)
            except EngineUnavailable as error:
                if error.kind not in _SILENT:
                    self._distrust(error)
                raise
            authors.append(by)
        first, second = authors
        if first is not second or self._doubts != doubts:
            raise Superseded
        return first

    def _distrust(self, why: EngineUnavailable) -> None:
        """No answer counts until both canaries are answered rightly again."""
        self._doubt = why
        self._doubts += 1
        self._alive_until = 0.0
        self._trouble = str(why)
        self._forget()
        self._shaken.set()

    def _unproved(self, doubt: EngineUnavailable) -> EngineUnavailable:
        """Why an answer does not count. That the engine is back will be said."""
        self._failing = True
        return EngineUnavailable(doubt.kind, str(doubt))

    def _settle(self, count: int, outcome: Superseded | EngineUnavailable) -> None:
        """Tell so many of the questions that the newer policy answered early what becomes of them."""
        settled, self._early = self._early[:count], self._early[count:]
        for hand_over in settled:
            if isinstance(outcome, EngineUnavailable):
                self._emit(EngineFailed(self._server, outcome.kind, str(outcome)))
            try:
                hand_over(outcome)
            except Exception as error:  # noqa: BLE001 - the others still wait
                defects.tell("a question is not put again", error)

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


def _not_proved(failure: EngineUnavailable | Superseded | None) -> EngineUnavailable:
    """Why a question that the newer policy answered gets no answer."""
    if isinstance(failure, EngineUnavailable):
        return failure
    return EngineUnavailable("canary", "the policy engine has not answered both canaries by the new policy")
