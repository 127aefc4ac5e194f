"""The runtime that every way to serve needs, built from the settings: the store, the engine, the gate."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sidecar import __version__
from sidecar.enforce.gate import Gate
from sidecar.engine import binary
from sidecar.engine.local import local_engine
from sidecar.engine.managed import ManagedEngine
from sidecar.engine.remote import remote_engine
from sidecar.errors import StartError, StoreUnavailable
from sidecar.events import Emit, Started
from sidecar.ledger.protocol import Ledger
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.policy.bundle import Bundle
from sidecar.repository.reload import Reloader
from sidecar.serve import approving, telemetry
from sidecar.serve.observing import Observers
from sidecar.session.reading import Reader
from sidecar.settings import Listen, Settings
from sidecar.system import tasks
from sidecar.system.operator_log import fields, log, state
from sidecar.system.sparing import Sparing
from sidecar.system.taken_secrets import TakenSecrets
from sidecar.system.workload import workload
from sidecar.text import visible

if TYPE_CHECKING:
    from sidecar.distribution.feed import Feed


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy to begin with, and how others come into force: from files, or from the `feed` of bundles.

    `accepts` raises `StartError` for one that this sidecar cannot serve under.
    """

    bundle: Bundle
    accepts: Callable[[Bundle], None]
    feed: Feed | None


@dataclass(frozen=True, slots=True)
class Runtime:
    """A running engine and a gate in front of it; `instance` is our own name among all sidecars."""

    settings: Settings
    opa: Path
    instance: str
    emit: Emit
    local: ManagedEngine
    gate: Gate
    reader: Reader
    policy: Policy
    asked_to_reload: asyncio.Event = field(default_factory=asyncio.Event)

    def ready(self) -> None:
        """Tell that we serve from now on."""
        settings, bundle = self.settings, self.local.engine.bundle
        listen, remote = settings.listen, settings.upstream
        state.info("ready", extra=fields("ready"))
        self.emit(
            Started(
                settings.server,
                __version__,
                binary.version_of(self.opa),
                client="stdio" if listen is None else listen.transport,
                upstream="stdio" if remote is None else "sse" if remote.legacy else "http",
                authentication=_authentication(listen),
                mode=bundle.terms.mode(settings.mode),
                fail_open=settings.fail_open,
                revision=bundle.revision,
                serial=bundle.serial,
                reporting=sum(bool(rule.reports) for rule in bundle.terms.rules),
            )
        )

    def watch(self, tools_changed: Callable[[], None]) -> asyncio.Task[None]:
        """Put changed policies in force, with --no-watch only when asked; `tools_changed` hears of other lists."""
        settings, gate, local, feed = self.settings, self.gate, self.local, self.policy.feed

        def changed(old: Bundle, new: Bundle) -> None:
            if gate.withheld_by(old) != gate.withheld_by(new):
                tools_changed()
            if old.terms.monitor != new.terms.monitor:
                _say_mode(settings, new)
            if new.terms.reads_about("principal") and not old.terms.reads_about("principal"):
                _say_unknown_callers(settings, new)
            if new.terms.asks_people and not old.terms.asks_people:
                approving.say_unanswered(settings, new)

        # Not always the one in force: a bundle that had to wait comes into force by itself, and is told here later.
        told = local.engine.bundle

        async def adopt(bundle: Bundle) -> None:
            nonlocal told
            await local.adopt(bundle)
            old, told = told, bundle
            if (old.revision, old.serial) != (bundle.revision, bundle.serial):
                changed(old, bundle)

        asked, alone = self.asked_to_reload, not settings.watch
        if feed is not None:
            return tasks.lasting(lambda: feed.watch(adopt, asked, alone=alone))
        reloader = Reloader(
            settings.policies, self.opa, settings.server, local, self.emit, self.policy.accepts, changed, asked, alone
        )  # fmt: skip
        return tasks.lasting(reloader.watch)


async def ledger(settings: Settings, state_dir: Path, stack: AsyncExitStack) -> Ledger:
    """Open the store of counters. Raises `StartError`."""
    opened = await _ledger(settings, state_dir)
    stack.push_async_callback(opened.close)
    return opened


async def start(
    settings: Settings, policy: Policy, opa: Path, observers: Observers, ledger: Ledger, taken: TakenSecrets,
    stack: AsyncExitStack,
) -> Runtime:  # fmt: skip
    """Start the engine, the gate in front of it, and what approvals need. Raises `StartError`."""
    bundle = policy.bundle
    page = await approving.listen(settings, ledger, observers.emit, stack)
    local = await stack.enter_async_context(_engine(settings, opa, bundle, observers.emit))
    where = ""
    if observers.exposition is not None:
        where = await telemetry.listen(
            settings, observers.instance, observers.exposition, lambda: local.engine.trouble or observers.trouble(),
            observers.notes, observers.emit, stack,
        )  # fmt: skip
    observers.standing.follow(bundle.terms)
    telemetry.note(settings, observers.instance, where, observers.standing, stack)
    gate = Gate(
        server=settings.server, instance=observers.instance, decider=local.engine, ledger=ledger, emit=observers.emit,
        mode=settings.mode, fail_open=settings.fail_open, workload=workload(os.environ), page_url=page,
        key=await approving.key(ledger), doubtful=await approving.doubtful(ledger, settings.server),
    )  # fmt: skip
    approving.keep_up(
        settings, observers.instance, ledger, observers.emit, lambda: local.engine.bundle.terms, page, taken, stack
    )
    if observers.follow is not None:
        stack.callback(tasks.lasting(partial(observers.follow, ledger)).cancel)
    if observers.candidate is not None:
        observers.candidate.start(observers.emit)
        stack.push_async_callback(observers.candidate.stop)
    _say_mode(settings, bundle)
    _say_unknown_callers(settings, bundle)
    approving.say_unanswered(settings, bundle)
    if settings.fail_open:
        log.warning(
            "--state-fail-mode open: calls pass uncounted while the store cannot be used",
            extra=fields("fail_open", option="--state-fail-mode"),
        )
    return Runtime(settings, opa, observers.instance, observers.emit, local, gate, observers.reader, policy)


def _authentication(listen: Listen | None) -> Literal["none", "token", "jwt"]:
    if listen is None or not listen.knows_callers:
        return "none"
    return "jwt" if listen.jwt is not None else "token"


def _engine(settings: Settings, opa: Path, bundle: Bundle, emit: Emit) -> AbstractAsyncContextManager[ManagedEngine]:
    """The engine that decides: an OPA of our own, or the one that somebody else started."""
    if settings.remote_opa is not None:
        return remote_engine(
            settings.remote_opa, bundle, server=settings.server, timeout=settings.opa_timeout,
            remember=settings.remember, emit=emit,
        )  # fmt: skip
    return local_engine(
        opa, bundle, server=settings.server, timeout=settings.opa_timeout, remember=settings.remember,
        emit=emit, said=_opa_said(),
    )  # fmt: skip


def _opa_said() -> Callable[[str], None]:
    """What hears of the lines that OPA writes."""
    sparing = Sparing("opa_stderr", "lines of OPA were not shown", "lines of OPA are not shown")

    def said(line: str) -> None:
        if sparing.admits():
            log.warning("opa: %s", visible(line), extra=fields("opa_stderr"))

    return said


def _say_mode(settings: Settings, bundle: Bundle) -> None:
    if bundle.terms.mode(settings.mode) == "monitor":
        log.warning("monitor mode: every call is forwarded, whatever policy says of it", extra=fields("monitor_mode"))


def _say_unknown_callers(settings: Settings, bundle: Bundle) -> None:
    if bundle.terms.reads_about("principal") and not (settings.listen and settings.listen.knows_callers):
        log.warning(
            "rules read the principal, and nobody is authenticated here, so for every call it does not exist: "
            "serve over HTTP with --jwt-jwks or --auth-token-file, or take it out of the policy",
            extra=fields("callers_unknown"),
        )


async def _ledger(settings: Settings, state_dir: Path) -> Ledger:
    if settings.state_dsn is None:
        try:
            return SqliteLedger(state_dir / "counters.db", time.time)
        except StoreUnavailable as error:
            raise StartError(f"{error}; choose another folder with --state-dir") from None
    # Only here: the library takes 130 ms to import.
    from sidecar.ledger.redis import RedisLedger  # noqa: PLC0415

    try:
        ledger = RedisLedger(settings.state_dsn, settings.state_prefix, time.time)
        await ledger.check(settings.server)
    except StoreUnavailable as error:
        raise StartError(f"--state-dsn: {error}") from None
    return ledger
