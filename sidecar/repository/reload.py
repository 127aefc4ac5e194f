"""Reloads policy files that change: a good policy takes effect soon, a bad or half-written one never.

Files are polled, because a look costs microseconds and works for every way of replacing files: editors that write in
steps, `mv`, the symlinks of a Kubernetes ConfigMap, network file systems.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from sidecar.engine.managed import ManagedEngine
from sidecar.engine.trial import trial
from sidecar.errors import PolicyAwaited, PolicyError, SidecarError, StartError
from sidecar.events import Emit, Reloaded, Unchanged
from sidecar.policy.bundle import Bundle
from sidecar.repository import load, losses
from sidecar.repository.prepare import prepare
from sidecar.repository.settling import SETTLED, Settling
from sidecar.system import defects, files
from sidecar.system.files import Found
from sidecar.system.operator_log import fields, log
from sidecar.system.tasks import in_thread, pause

LOOK: Final = 0.2
"""Seconds between two looks at the files."""
SHARE: Final = 100
"""Files are trusted by their stamps for this many times as long as reading them took, so large files cost no more."""
ANSWER: Final = 5.0
"""Seconds after which a file system that does not answer is reported."""
WRITTEN: Final = 2.0
"""Seconds after which a changed file that a writer still has open is reported."""
AGAIN: Final = (5.0, 30.0)
"""Seconds before another try after a failure that may be temporary: the first pause, and the longest."""

Result = TypeVar("Result")


def first_look(paths: Sequence[Path]) -> tuple[Found, ...]:
    """The policy files to start with. Raises `PolicyError` if a writer keeps one open."""
    deadline = time.monotonic() + WRITTEN
    while True:
        settling = Settling(load.find(paths), 0.0)
        if not settling.open_for_writing:
            return settling.found
        if time.monotonic() > deadline:
            raise PolicyError([_open(path) for path in settling.open_for_writing])
        time.sleep(SETTLED)


@dataclass(slots=True)
class Reloader:
    """Puts changed files in force and then calls `changed` with the old and the new bundle.

    `start` are the files that the policy in force was read from. When `asked` is set, the files are read at once, also
    those that were refused before; `alone` means that they are looked at only then.
    """

    start: Sequence[Found]
    opa: Path
    server: str
    local: ManagedEngine
    emit: Emit
    check: Callable[[Bundle], None]
    changed: Callable[[Bundle, Bundle], None]
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    alone: bool = False
    _refused: bool = field(default=False, init=False)
    _awaited: _Adopted | None = field(default=None, init=False)

    async def watch(self) -> None:
        """Poll the files without end."""
        eye = _Eye(self.start, self._refuse, self.asked, alone=self.alone)
        pace = _Pace(eye.settling.found)
        while True:
            await eye.look()
            self._look_for_awaited(eye)
            if self._refused and eye.settling.holds(eye.in_force):
                self._refused = False
                self.emit(Unchanged(self.server))
            if eye.is_asked():
                eye.settling.again(eye.in_force)
                pace = _Pace(eye.settling.found)
                if not eye.settling.changed:
                    log.info("the policy files say what is in force", extra=fields("policy_unchanged"))
            if eye.settling.found != pace.found:
                pace = _Pace(eye.settling.found)
            if eye.settling.changed and eye.settling.settled(eye.now()) and eye.now() >= pace.at:
                await self._try(eye, pace)

    async def _try(self, eye: _Eye, pace: _Pace) -> None:
        """Put what was found in force, or tell why that cannot be."""
        try:
            adopted = await self._reload(eye)
        except _Awaited as waiting:
            self._awaited = waiting.adopted
            if pace.fails(str(waiting), eye.now()):
                log.warning("the changed policy waits: %s", waiting, extra=fields("policy_awaited", cause=str(waiting)))
        except PolicyError as error:
            eye.settling.tried()
            self._refuse("; ".join(error.problems))
        except (SidecarError, OSError) as error:
            # The files may be right: try again later.
            if pace.fails(str(error), eye.now()):
                self._refuse(str(error))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with us, the old policy stays in force
            eye.settling.tried()
            self._refuse(defects.text(defects.tell("a policy is refused", error)))
        else:
            if adopted is not None:
                self._is_in_force(adopted, eye)

    def _look_for_awaited(self, eye: _Eye) -> None:
        """See what became of a policy that waits for the engine: it is in force, or the files are again as before."""
        if self._awaited is None:
            return
        if self.local.engine.bundle is self._awaited.bundle:
            self._is_in_force(self._awaited, eye)
        elif eye.settling.holds(eye.in_force):
            self.local.give_up()
            self._refused, self._awaited = True, None

    def _is_in_force(self, adopted: _Adopted, eye: _Eye) -> None:
        self._refused, self._awaited = False, None
        eye.in_force = adopted.found
        if eye.settling.holds(adopted.found):
            eye.settling.tried()
        self.emit(Reloaded(self.server, accepted=True, text="; ".join(adopted.warnings)))
        self.changed(adopted.old, adopted.bundle)

    def _refuse(self, text: str) -> None:
        self._refused = True
        self.emit(Reloaded(self.server, accepted=False, text=text))

    async def _reload(self, eye: _Eye) -> _Adopted | None:
        """Put what was found in force; None if the files changed meanwhile, or say what is in force.

        Raises whatever prevents it, and `_Awaited` if it comes into force once the engine answers.
        """
        old, found = self.local.engine.bundle, eye.settling.found
        # In a thread: reading and compiling a large policy takes seconds, and no call may wait for that.
        bundle, warnings, lost = await in_thread(partial(self._prepare, eye.in_force, found, old))
        if bundle.revision == old.revision:
            eye.in_force = found
            eye.settling.tried()
            return None
        try:
            self.check(bundle)
        except StartError as error:
            raise PolicyError([str(error)]) from None
        await in_thread(partial(trial, self.opa, bundle))
        while await eye.look() == found:
            if eye.settling.whole(eye.now(), lost):
                adopted = _Adopted(old, bundle, found, warnings)
                try:
                    await self.local.adopt(bundle)
                except PolicyAwaited as error:
                    raise _Awaited(str(error), adopted) from None
                return adopted
        return None

    def _prepare(self, before: Sequence[Found], found: Sequence[Found], old: Bundle) -> tuple[Bundle, list[str], float]:
        bundle, warnings = prepare(found, self.opa, old.serial + 1)
        with load.no_collections():
            problems = losses.unsaid(before, found)
        if problems:
            raise PolicyError(problems)
        return bundle, warnings, losses.share(old, bundle)


@dataclass(slots=True)
class _Pace:
    """When files that could not be put in force are tried again, and what was said of them."""

    found: tuple[Found, ...]
    at: float = 0.0
    wait: float = field(default_factory=lambda: AGAIN[0])
    said: str = ""

    def fails(self, text: str, now: float) -> bool:
        """Note a failure: True if it is another one than before."""
        is_news, self.said = text != self.said, text
        self.at, self.wait = now + self.wait, min(2 * self.wait, AGAIN[1])
        return is_news


@dataclass(frozen=True, slots=True)
class _Adopted:
    """A policy that came into force, or will: the one before it, the files that it was read from, and warnings."""

    old: Bundle
    bundle: Bundle
    found: tuple[Found, ...]
    warnings: list[str]


class _Awaited(Exception):
    """The engine does not answer: what was adopted comes into force when it does."""

    def __init__(self, text: str, adopted: _Adopted) -> None:
        super().__init__(text)
        self.adopted = adopted


class _Eye:
    """Looks at files off the event loop; `trouble` is called once for each time that they cannot be seen."""

    def __init__(
        self, start: Sequence[Found], trouble: Callable[[str], None], asked: asyncio.Event, *, alone: bool
    ) -> None:  # fmt: skip
        self.now = asyncio.get_running_loop().time
        self.settling = Settling(start, self.now())
        self.in_force: Sequence[Found] = start
        self._trouble = trouble
        self._asked = asked
        self._alone = alone
        self._is_asked = False
        self._read_again = 0.0
        self._said_open = self._said_blind = False

    def is_asked(self) -> bool:
        """True once for each time that somebody asked for a look."""
        asked, self._is_asked = self._is_asked, False
        return asked

    async def look(self) -> tuple[Found, ...]:
        """The files as they are after a pause; looks that fail are repeated."""
        while True:
            seconds = SETTLED if self.settling.changed else None if self._alone else LOOK
            if await pause(seconds, self._asked):
                # Whatever their stamps say.
                self._is_asked, self._read_again = True, 0.0
            try:
                await self._look()
            except OSError as error:  # no thread can be had
                if not self._said_blind:
                    self._said_blind = True
                    self._trouble(f"the policy files cannot be looked at: {error.strerror}")
            else:
                self._said_blind = False
                return self.settling.found

    async def _look(self) -> None:
        before = self.settling.found
        started = self.now()
        believe = started < self._read_again
        found = await self._in_time(lambda: tuple(_find(one, believe=believe) for one in before))
        if not believe:
            self._read_again = self.now() + SHARE * (self.now() - started)
        self.settling.look(found, self.now())
        self._say_open()

    async def _in_time(self, work: Callable[[], Result]) -> Result:
        looking = asyncio.ensure_future(in_thread(work))
        try:
            done, _ = await asyncio.wait({looking}, timeout=ANSWER)
            if not done:
                self._trouble(f"a file system does not answer for {ANSWER:.0f} s: the policy files cannot be looked at")
            return await looking
        finally:
            looking.cancel()

    def _say_open(self) -> None:
        written = self.settling.open_for_writing if self.settling.changed else []
        if not written:
            self._said_open = False
        elif not self._said_open and self.settling.quiet(self.now()) >= WRITTEN:
            self._said_open = True
            self._trouble("; ".join(map(_open, written)))


def _find(before: Found, *, believe: bool) -> Found:
    content = before.content
    if believe and content is not None and not content.open_for_writing and files.stamp(before.path) == content.stamp:
        return before
    (found,) = load.find([before.path])
    return found


def _open(path: Path) -> str:
    return f"{path}: somebody still has it open for writing: it is read when it is closed"
