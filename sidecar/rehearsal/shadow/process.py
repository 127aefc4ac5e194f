"""The process in which a candidate policy judges the calls that a sidecar tells it of.

It is one of its own, so that whatever the candidate costs, and however it fails, no live call waits for it: the
sidecar writes to a pipe, and only while that has room. It ends with the pipe.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.errors import InvalidMessage, PolicyError, SidecarError
from sidecar.mcp import jsonrpc
from sidecar.mcp.protocol import ClientInfo
from sidecar.mcp.strict_json import NotStrict, read_value
from sidecar.mcp.tool_call import read_call
from sidecar.policy.bundle import FACTS, Bundle
from sidecar.rehearsal.judging import Judgement, Rehearsal, rehearsal
from sidecar.rehearsal.shadow import talk
from sidecar.rehearsal.shadow.talk import HEAD, MAX_FRAME, Asked, Begin, Begun, Compared, NotJudged, Told, Trouble
from sidecar.repository.folder import POLICIES, REGO, is_repository, standing
from sidecar.repository.subject import subject
from sidecar.system.priority import stand_back

LOOK: Final = 1.0
"""Seconds between two looks at the candidate's files: a change counts once two looks have found it the same."""
TIMEOUT: Final = 5.0
"""Seconds for one decision: it stands back from the processor, so that may take long; but an engine may hang, too."""
NICE: Final = 10
"""How far the process and its OPA stand back where others want the processor, once the candidate is compiled."""
_FAILED: Final = ("engine_unavailable", "store_unavailable")


class Seen:
    """The files of a candidate, as they were at the last looks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tried = self._last = _stamps(path)
        self._again = 0.0

    def changed(self, now: float) -> bool:
        """True once for each change that has come to rest; `now` is in seconds."""
        if now < self._again:
            return False
        self._again = now + LOOK
        before, self._last = self._last, _stamps(self._path)
        if self._last != before or self._last == self._tried:
            return False
        self._tried = self._last
        return True


def _stamps(path: Path) -> tuple[tuple[str, int, int, int], ...]:
    found = []
    for one in _files(path) if is_repository(path) else [path]:
        with contextlib.suppress(OSError):
            stat = one.stat()
            found.append((str(one), stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def _files(repository: Path) -> list[Path]:
    found: list[Path] = []
    for folder in (POLICIES, REGO):
        with contextlib.suppress(PolicyError):  # it is told when the candidate is read
            found += standing(repository, folder)
    return found


class Comparing:
    """Judges calls under one candidate after the other, and keeps what is to be told."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, ...], Compared] = {}
        self._failed = 0

    async def judge(self, judging: Rehearsal, asked: Asked) -> None:
        """Judge one call, and note what became of it on either side."""
        try:
            request = jsonrpc.read(asked.message)
            assert isinstance(request, jsonrpc.Request)  # it was read as one before
            call, caller = read_call(request), _caller(asked.who)
        except (InvalidMessage, NotStrict):
            self._failed += 1
            return
        judging.now = max(judging.now, time.time())
        said = await judging.judge_call(call, caller)
        if said.kind in _FAILED:
            self._failed += 1
            return
        self._note(call.tool, asked, said)

    def _note(self, tool: str, asked: Asked, said: Judgement) -> None:
        # A candidate that only monitors lets everything pass, which is a change where the policy in force does not.
        action = "allow" if said.forwarded and not asked.monitors else said.action
        rule = said.rule or ("" if action == "allow" else f"({said.kind})")
        key = (asked.live, action, asked.rule, rule, said.file, str(said.line))
        first = self._found.get(key) or Compared(
            asked.live, action, asked.rule, rule, said.file, said.line, tool, asked.decision_id, 0
        )
        self._found[key] = msgspec.structs.replace(first, count=first.count + 1)

    def told(self) -> list[Told]:
        """What was noted since the last time."""
        told: list[Told] = [*self._found.values()]
        if self._failed:
            told.append(NotJudged(self._failed))
        self._found.clear()
        self._failed = 0
        return told


def _caller(who: talk.Who) -> Caller:
    """Who made a call. Raises `NotStrict` for claims that cannot be told again as they are."""
    principal = None
    if who.subject is not None:
        claims, _ = read_value(who.claims)
        principal = Principal(who.subject, who.issuer, claims)
    said = None if who.said is None else ClientInfo(*who.said)
    return Caller(who.session, who.client, principal, said)


class Worker:
    """Reads calls from `reader` and tells what became of them by the file descriptor `out`."""

    def __init__(self, begin: Begin, reader: asyncio.StreamReader, out: int) -> None:
        self._begin = begin
        self._path = Path(begin.path)
        self._opa = Path(begin.opa)
        self._reader = reader
        self._out = out
        self._comparing = Comparing()
        self._again = 0.0
        self._reading: asyncio.Future[bytes | None] | None = None

    async def run(self) -> None:
        """Judge until the pipe ends. Raises `SidecarError` if the candidate cannot be used at all."""
        seen = Seen(self._path)
        bundle: Bundle | None = subject(self._path, self._opa).bundle
        while bundle is not None:
            bundle = await self._judge_by(bundle, seen)

    async def _judge_by(self, bundle: Bundle, seen: Seen) -> Bundle | None:
        """Judge by one candidate until there is another, which is returned, or the pipe ends."""
        stand_back(NICE)
        begin, now = self._begin, asyncio.get_running_loop().time
        async with rehearsal(
            bundle, self._opa, server=begin.server, workload=begin.workload, timeout=TIMEOUT
        ) as judging:
            facts = bundle.files[FACTS]
            self.tell([Begun(bundle.revision, facts if len(facts) < MAX_FRAME // 8 else "")])
            while (calls := await self.next()) is not None:
                self._stand_back(now())
                for asked in calls:
                    await self._comparing.judge(judging, asked)
                self.tell(self._comparing.told())
                if seen.changed(now()) and (changed := self._changed(bundle)) is not None:
                    return changed
        return None

    def _changed(self, bundle: Bundle) -> Bundle | None:
        """The candidate as its files are now; None where it is the same, or cannot be used."""
        try:
            changed = subject(self._path, self._opa).bundle
        except SidecarError as error:
            self.tell([Trouble(f"the changed candidate is not used, the one before goes on: {_text(error)}")])
            return None
        return changed if changed.revision != bundle.revision else None

    def _stand_back(self, now: float) -> None:
        """Once in a while: our OPA may have been started again."""
        if now >= self._again:
            self._again = now + LOOK
            stand_back(NICE)

    async def next(self) -> list[Asked] | None:
        """The next calls, none where none come for a while; None at the end of the pipe."""
        reading = self._reading or asyncio.ensure_future(_value(self._reader))
        # It goes on where it is not done: a value that was cut off would make nonsense of all that come after it.
        done, _ = await asyncio.wait([reading], timeout=LOOK)
        self._reading = None if done else reading
        if not done:
            return []
        data = reading.result()
        return talk.read_asked(data) if data is not None else None

    def tell(self, told: list[Told]) -> None:
        """Tell the sidecar; it reads at once whatever it does else, so this waits for nothing that lasts."""
        data = talk.frame(told) if told else b""
        while data:
            data = data[os.write(self._out, data) :]


async def _value(reader: asyncio.StreamReader) -> bytes | None:
    try:
        length = int.from_bytes(await reader.readexactly(HEAD), "big")
        return await reader.readexactly(min(length, MAX_FRAME))
    except asyncio.IncompleteReadError:
        return None


def _text(error: SidecarError) -> str:
    return "; ".join(error.problems) if isinstance(error, PolicyError) else str(error)


async def _run() -> int:
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    data = await _value(reader)
    if data is None:
        return 0
    worker = Worker(talk.read_begin(data), reader, sys.stdout.fileno())
    try:
        await worker.run()
    except SidecarError as error:
        worker.tell([Trouble(f"the candidate cannot be used: {_text(error)}")])
        return 1
    except BrokenPipeError:
        pass  # the sidecar is gone
    return 0


def main() -> None:
    """Judge what comes on standard input until it ends."""
    sys.exit(asyncio.run(_run()))


if __name__ == "__main__":
    main()
