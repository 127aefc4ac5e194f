"""Where audit lines go: each is sealed as one of a chain, and written to a file or a stream.

What could not be written stands in the operator's log. The chain says how many lines that were, as soon as it can.
"""

from __future__ import annotations

import errno
import os
import time
from binascii import hexlify
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from sidecar.audit.chain import link
from sidecar.audit.files import AuditFile
from sidecar.audit.forms.form import Form
from sidecar.audit.forms.json_lines import SEAL, JsonLines
from sidecar.audit.position import Position, Torn
from sidecar.audit.stamp import stamp
from sidecar.audit.streams import Stream
from sidecar.mcp.strict_json import encode
from sidecar.system.operator_log import fields, log

SCHEMA: Final = 1
"""The version of the lines: another one where a member goes or means something else, the same where one is added."""

CUT_OFF: Final = "the last writer was cut off"


def _unheard(_lost: int, _text: str) -> None:
    """Nobody hears of it."""


def _unwanted() -> None:
    """Nobody sweeps."""


class Trail:
    """Writes to `target`, unbuffered. `about` names the writer in the lines that the chain itself needs.

    `failed` hears how many lines are lost, and why; or of other trouble, with none; or, once lines are written again,
    an empty text. `put_aside` hears that a file was full.
    """

    def __init__(
        self, target: AuditFile | Stream, form: Form | None = None, about: Mapping[str, str] | None = None,
        failed: Callable[[int, str], None] = _unheard, put_aside: Callable[[], None] = _unwanted,
    ) -> None:  # fmt: skip
        self._target = target
        self._file = target if isinstance(target, AuditFile) else None
        self._form = form or JsonLines()
        self._about = about or {}
        self._failed = failed
        self._told_put_aside = put_aside
        at = self._file.position if self._file is not None else Position()
        self._seq, self._chain = at.seq, at.chain
        self._is_open, self._is_elsewhere, self._torn = at.is_open, at.is_elsewhere, at.torn
        self._lost, self._reason = (at.torn.lines, CUT_OFF) if at.torn is not None else (0, "")
        self._since = ""
        self._trouble = ""
        self._is_behind = self._owes()

    @property
    def path(self) -> Path | None:
        """The file that is written; None for a stream."""
        return self._file.path if self._file is not None else None

    def write(self, lines: list[bytes]) -> None:
        """Write lines, JSON objects without line ends. What cannot be written goes to the log."""
        notes = self._notes() if self._is_behind else []
        if not (lines or notes):
            return
        data, seq, chain = self._sealed([*notes, *lines] if notes else lines)
        # What was cut off has to be noted in its own file.
        if self._file is not None and self._torn is None and self._file.is_full(len(data)) and self._put_aside():
            notes = self._notes()
            data, seq, chain = self._sealed([*notes, *lines])
        taken = 0
        try:
            while taken < len(data):
                # A nearly full pipe or disk may take only a part.
                taken += self._written(data[taken:] if taken else data)
        except OSError as error:
            self._cut(notes, lines, data[:taken], data[taken : taken + 1], error)
        else:
            self._seq, self._chain, self._is_open = seq, chain, False
            if notes:
                self._noted(len(notes))

    def reopen(self) -> None:
        """Go on in another file where this one was moved, removed or emptied, and note what has to be noted.

        Nothing is raised: as long as there can be no other file, this one is written on.
        """
        if self._file is not None and self._file.is_moved():
            try:
                self._file.reopen()
            except OSError as error:
                self._tell(f"cannot open the audit log {self._file.path} again: {error.strerror}")
            else:
                self._begin_another()
        if self._is_behind:
            self.write([])

    def close(self) -> None:
        """Nothing more is written. What is lost is noted, if it can be now."""
        self.write([])
        self._target.close()

    def _sealed(self, lines: list[bytes]) -> tuple[bytes, int, bytes]:
        """What is to be written, and the number and the hash of the last line."""
        form, seq, chain = self._form, self._seq, self._chain
        sealed = [b"\n"] if self._is_open else []
        if type(form) is JsonLines:
            # Its lines as it seals them, without a call for each: no decision is forwarded before this is done.
            for line in lines:
                seq += 1
                chain = hexlify(sha256(chain + line).digest()[:16])
                sealed += (line[:-1], SEAL % (seq, chain), b"\n")
        else:
            for line in lines:
                seq += 1
                written = form.convert(line)
                chain = link(chain, written)
                sealed += (form.seal(written, seq, chain), b"\n")
        return b"".join(sealed), seq, chain

    def _written(self, data: bytes) -> int:
        """The number of bytes written. Raises OSError if that is none."""
        written = self._target.write(data)
        if not written:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return written

    def _cut(self, notes: list[bytes], lines: list[bytes], taken: bytes, then: bytes, error: OSError) -> None:
        """Keep what stands in the target now, after the bytes that it took, and tell the lines that do not.

        `then` is the first byte that it did not take.
        """
        body = taken
        if taken and self._is_open:
            body = taken[1:]
            self._is_open = False
            if self._torn is not None:
                self._torn.hash.update(b"\n")
        count, rest = body.count(b"\n"), body[body.rfind(b"\n") + 1 :]
        if rest and then == b"\n":  # only its line end is missing
            count, rest, self._is_open = count + 1, b"", True
        missing = lines[max(0, count - len(notes)) :]
        if count:
            _, self._seq, self._chain = self._sealed([*notes, *lines][:count])
            self._noted(min(count, len(notes)), is_well=not missing)
        if rest:
            self._torn = self._torn or Torn(0)
            self._torn.hash.update(rest)
            self._is_open = True
        if missing:
            self._since = self._since or stamp(time.time())
            self._lost += len(missing)
            self._reason = error.strerror or str(error)
            # A full disk must not lose a decision: the operator's log gets it until lines are taken again.
            for line in missing:
                log.error(
                    "cannot write the audit log: %s; the line is %s", error.strerror, line.decode(errors="replace"),
                    extra=fields("audit_line_lost", cause=error.strerror),
                )  # fmt: skip
        self._is_behind = self._owes()
        if missing:
            self._failed(len(missing), self._reason)

    def _notes(self) -> list[bytes]:
        """The lines that the chain itself needs now: which line of another file it goes on from, and what is lost."""
        notes = []
        if self._is_elsewhere:
            notes.append(self._note("continued", {"after": self._seq, "previous": self._chain.decode()}))
        if self._lost or self._torn is not None:
            members: dict[str, object] = {"lines": self._lost, "reason": self._reason}
            if self._since:
                members["since"] = self._since
            if self._torn is not None:
                members["torn"] = self._torn.digest(b"\n" if self._is_open else b"")
            notes.append(self._note("lost", members))
        return notes

    def _note(self, event: str, members: Mapping[str, object]) -> bytes:
        return encode({"schema": SCHEMA, "time": stamp(time.time()), "event": event, **self._about, **members})

    def _noted(self, count: int, *, is_well: bool = True) -> None:
        """The first `count` of the notes are written, and with `is_well` all else too."""
        if self._is_elsewhere and count:
            self._is_elsewhere = False
            count -= 1
        if count:
            was_told = bool(self._since)
            self._lost, self._torn, self._reason, self._since = 0, None, "", ""
            if is_well and was_told:
                self._failed(0, "")
        self._is_behind = self._owes()

    def _owes(self) -> bool:
        return self._is_elsewhere or self._lost > 0 or self._torn is not None

    def _put_aside(self) -> bool:
        """Begin another file; False where that cannot be done."""
        assert self._file is not None
        try:
            self._file.put_aside()
        except OSError as error:
            self._tell(f"cannot put the full audit log {self._file.path} aside: {error.strerror}")
            return False
        self._begin_another()
        self._told_put_aside()
        return True

    def _begin_another(self) -> None:
        self._is_elsewhere, self._is_open, self._torn = self._seq > 0, False, None
        self._is_behind = self._owes()
        self._trouble = ""

    def _tell(self, trouble: str) -> None:
        """Tell of trouble once."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._failed(0, trouble)
