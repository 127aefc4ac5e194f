"""What the ends of audit logs say for `sidecar status`: decisions, and the latest denials. Nothing is read whole."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from sidecar.audit.files import numbered
from sidecar.cli.status_values import MOST, Counted, Denial, Rule

RECENT: Final = 256 << 10
"""Bytes from the end of a file among which the latest denials are looked for."""
COUNTED: Final = 16 << 20
"""Bytes from the end of files whose decisions are counted."""
DAY: Final = 86_400.0
"""Seconds for which decisions of sidecars that ended count."""
_NO_FILES: Final = ("off", "stderr", "stdout", "")


class _Line(msgspec.Struct, frozen=True):
    """A line of the audit log, as far as it is about a decision on a call."""

    event: str = ""
    time: str = ""
    server: str = ""
    decision_id: str = ""
    tool: str = ""
    decision: str = ""
    kind: str = ""
    rule: str = ""
    reason: str = ""
    file: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.file else ""


def counted(audit: str) -> Counted:
    """The decisions in the audit log of one run, with what was put aside of it; in no other form than JSON."""
    found, left = Counted(), COUNTED
    if audit in _NO_FILES:
        return found
    for path in (Path(audit), *_put_aside(Path(audit))):
        if left <= 0:
            found.whole = False
            break
        left -= _count(path, left, "", found)
    return found


def of_last_day(folder: Path, now: float) -> Counted:
    """The decisions of the last day in the audit logs of a state folder, the newest of them where they are many."""
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - DAY))
    found, left = Counted("audit"), COUNTED
    for path in _newest(folder, now - DAY):
        if left <= 0:
            found.whole = False
            break
        left -= _count(path, left, since, found)
    return found


def recent(audits: Iterable[str]) -> list[Denial]:
    """The latest denials in these audit logs, the latest first."""
    found = []
    for audit in sorted(set(audits)):
        if audit in _NO_FILES:
            continue
        _, lines = _end(Path(audit), RECENT)
        found += [
            Denial(one.time, one.server, one.tool, one.rule, one.place, one.reason, one.decision_id, one.kind)
            for one in _decisions(lines)
            if one.decision != "allow"
        ]
    # Of several in one millisecond the later line is the later one.
    found.reverse()
    return sorted(found, key=lambda one: one.time, reverse=True)[:MOST]


def latest(folder: Path, now: float) -> list[str]:
    """The audit logs of a state folder that were written in the last day, the newest first."""
    return [str(path) for path in _newest(folder, now - DAY)[:MOST]]


def _put_aside(path: Path) -> list[Path]:
    """The files that this one followed, the newest first."""
    try:
        return [aside for _, aside in sorted(numbered(path), reverse=True)]
    except (OSError, ValueError):  # a path that cannot be one
        return []


def _newest(folder: Path, since: float) -> list[Path]:
    dated = []
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []
    for entry in entries:
        try:
            if entry.name.endswith(".jsonl") and entry.is_file(follow_symlinks=False):
                dated.append((entry.stat().st_mtime, Path(entry.path)))
        except OSError:
            continue  # it was removed just now
    return [path for changed, path in sorted(dated, reverse=True) if changed >= since]


def _count(path: Path, most: int, since: str, found: Counted) -> int:
    """Count the decisions at the end of a file; how many bytes were read."""
    cut, lines = _end(path, most)
    if lines is None or not (cut or lines.startswith(b"{")):
        return 0
    places: dict[Rule, str] = {}
    found.source = "audit"
    found.whole = found.whole and not cut
    for one in _decisions(lines):
        if one.time < since:
            continue
        if one.decision == "allow":
            found.allow += 1
        else:
            found.add_denials((one.tool, one.rule), one.kind)
            places[one.tool, one.rule] = one.place
    # Newer files are counted first, and where a rule stood last is where it stands.
    found.places = places | found.places
    return len(lines)


def _decisions(lines: bytes | None) -> Iterator[_Line]:
    decode = msgspec.json.Decoder(_Line).decode
    for line in (lines or b"").split(b"\n"):
        if b'"decision"' in line:
            try:
                read = decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # the rest of a line, or of another form
            if read.event == "decision" and read.tool:
                yield read


def _end(path: Path, most: int) -> tuple[bool, bytes | None]:
    """Whether only the end of a file was read, and that; None for what is no regular file or cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # before it is opened: opening a device may have effects
            return False, None
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                return False, None
            begin = max(0, about.st_size - most)
            file.seek(begin)
            return begin > 0, file.read(most)
    except (OSError, ValueError):
        return False, None
