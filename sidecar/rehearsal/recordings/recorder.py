"""Records decided calls, for a replay: an observer that only passes them on, and a thread that makes and writes lines.

No call waits for it, and none fails by it. What cannot be recorded is lost, counted, and said once until it can be
again. Lines are written every `PAUSE` seconds, so that a busy sidecar wakes the thread seldom.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Final, TypeAlias

from sidecar.events import CandidateBegan, Decided, Emit, EngineReady, Handlers, Judged, RecordingFailed
from sidecar.policy.terms import Terms
from sidecar.rehearsal.recordings.kept import Keeper
from sidecar.rehearsal.recordings.record_file import RecordFile
from sidecar.rehearsal.recordings.recorded import written
from sidecar.system import defects
from sidecar.system.memory import held

PAUSE: Final = 0.05
"""Seconds for which calls are gathered before they are written."""
AGAIN: Final = 1.0
"""Seconds until another try, after a failure."""
MAX_BYTES: Final = 32 << 20
"""Bytes that calls take which wait to be written: a disk that hangs must not fill the memory."""
MAX_CALLS: Final = 20_000
"""Calls that wait to be written."""
ENDS: Final = 2.0
"""Seconds that the end waits for what is still to be written."""

Decision: TypeAlias = tuple[Decided, float, Callable[[], Keeper]]
"""A decided call, its time, and what gives who knows what to keep of it: made on the thread, when it is first asked."""


class Recorder:
    """Records the calls of one server in a file. `emit` hears of what is lost.

    What is kept is what rules read: those of the policy in force, and of a candidate that is tried beside it.
    """

    def __init__(
        self, file: RecordFile, server: str, key: bytes, workload: Mapping[str, str], emit: Emit, *, whole: bool
    ) -> None:
        self.handlers: Handlers = {
            EngineReady: self._ready, CandidateBegan: self._candidate_began, Decided: self._decided,
            Judged: self._judged,
        }  # fmt: skip
        self._file = file
        self._server = server
        self._emit = emit
        self._keeper_for = partial(Keeper, key=key, workload=workload, whole=whole)
        self._keeper: Callable[[], Keeper] | None = None
        self._terms: Terms | None = None
        self._candidate = ""
        self._revision = ""
        self._batch: list[Decision] = []
        self._bytes = 0
        self._missing = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._backlog = Backlog()
        self._thread = threading.Thread(target=self._work, name="recording", daemon=True)

    def close(self) -> None:
        """Write what is still to be written, and close the file; a disk that hangs holds it up for `ENDS` at most."""
        self._backlog.end()
        if self._loop is not None:
            self._thread.join(ENDS)
        if not self._thread.is_alive():
            self._file.close()

    # On the event loop.

    def _ready(self, event: EngineReady) -> None:
        self._revision = event.revision
        if self._terms is not event.terms:  # else it was only away for a while
            self._terms = event.terms
            self._keep()

    def _candidate_began(self, event: CandidateBegan) -> None:
        self._candidate = event.facts
        self._keep()

    def _keep(self) -> None:
        if self._terms is not None:
            self._keeper = cache(partial(self._keeper_for, self._terms, self._candidate))

    def _decided(self, event: Decided) -> None:
        # Only a call that was given up is told by another policy than the one in force: nobody decided it.
        if self._keeper is not None and event.ruling.revision == self._revision:
            self._batch.append((event, time.time(), self._keeper))
            self._bytes += held(event.call.raw)

    def _judged(self, _: Judged) -> None:
        if not self._batch:
            return
        batch, size = self._batch, self._bytes
        self._batch, self._bytes = [], 0
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._thread.start()
        if not self._backlog.put(batch, size):
            self._lost(len(batch), f"cannot record in {self._file.path}: calls come faster than it can be written")

    def _lost(self, calls: int, why: str) -> None:
        self._missing += calls
        self._emit(RecordingFailed(self._server, calls, why))

    def _broken(self, error: Exception) -> None:
        self._lost(1, defects.text(defects.tell("a call is not recorded", error)))

    def _found_again(self) -> None:
        if self._missing:
            self._emit(RecordingFailed(self._server, self._missing, ""))
        self._missing = 0

    # On the thread.

    def _work(self) -> None:
        while (decisions := self._backlog.take()) is not None:
            for piece in self._pieces(decisions):
                try:
                    self._file.write(b"".join(piece))
                except OSError as error:
                    why = error.strerror or str(error)
                    self._tell(self._lost, len(piece), f"cannot record in {self._file.path}: {why}")
                    self._backlog.pause(AGAIN)
                else:
                    if self._missing:  # a wrong look at it only delays what is said
                        self._tell(self._found_again)

    def _pieces(self, decisions: Sequence[Decision]) -> Iterator[list[bytes]]:
        """The lines of some calls, in portions that fit in a file."""
        lines: list[bytes] = []
        size = 0
        for event, moment, keeper in decisions:
            try:
                line = written(keeper().recorded(event, moment))
            except Exception as error:  # noqa: BLE001 - one call is missing, and all others are there
                self._tell(self._broken, error)
                continue
            if len(line) > self._file.most:
                self._tell(self._lost, 1, f"cannot record in {self._file.path}: a call is longer than a file may be")
                continue
            if size + len(line) > self._file.most:
                yield lines
                lines, size = [], 0
            lines.append(line)
            size += len(line)
        if lines:
            yield lines

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None  # the thread begins with it
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(what, *arguments)


class Backlog:
    """Decided calls that wait to be written, up to a bound: from the event loop to the thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._news, self._ends = threading.Event(), threading.Event()
        self._decisions: list[Decision] = []
        self._bytes = 0

    def put(self, batch: Sequence[Decision], size: int) -> bool:
        """Let some calls wait, which take `size` bytes; False if there is no room."""
        with self._lock:
            if self._bytes + size > MAX_BYTES or len(self._decisions) + len(batch) > MAX_CALLS:
                return False
            self._decisions += batch
            self._bytes += size
        self._news.set()
        return True

    def take(self) -> list[Decision] | None:
        """All that waits, once some calls do, and others had the time to join them; None at the end."""
        self._news.wait()
        self.pause(PAUSE)
        self._news.clear()
        with self._lock:
            taken, self._decisions, self._bytes = self._decisions, [], 0
        if self._ends.is_set():
            self._news.set()
            return taken or None
        return taken

    def pause(self, seconds: float) -> None:
        """Wait, but not past the end."""
        self._ends.wait(seconds)

    def end(self) -> None:
        """No more calls come."""
        self._ends.set()
        self._news.set()
