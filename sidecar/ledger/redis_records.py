"""Approvals in Redis within one transaction: what was read, what is written, and the commands that write it. No I/O.

A transition asks for what it needs. What was not read yet is `Unread`: whoever runs the transition reads it and runs
it anew, and nothing of what it wrote counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import FINAL, KEPT, Asked, Grant, Notice, Record, Wants, is_long
from sidecar.ledger.keys import encoded
from sidecar.ledger.stored import Stands, asked_from, damaged, record_from, stands_of, text_of, texts_of, value_of
from sidecar.ledger.transitions import Event, Waiting, can_be_used, kept_until, new_id

Question: TypeAlias = tuple[str, str]
"""What is read, in the words of `READ`, and whose."""

Command: TypeAlias = tuple[str | int, ...]

_LIVE: Final = ("pending", "approved")
_UNFINISHED: Final = ("in_use", "unknown")


class Unread(Exception):
    """The transition needs what was not read."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question


class Kept(msgspec.Struct, frozen=True):
    """How an approval stands, its place in the order of all, and the version that it was written with."""

    seq: int
    version: str
    stands: Stands


class KeptNotice(msgspec.Struct, frozen=True):
    """What a webhook has to hear: a notice without what was asked, which stands with the approval."""

    seq: int
    event: Event
    at: float
    stands: Stands


class Snapshot:
    """Approvals at one moment: their version, the time of the moment, and what was read so far."""

    def __init__(self, version: str, seq: int, now: float) -> None:
        self.version = version
        self.seq = seq
        self.now = now
        self._answers: dict[Question, Any] = {}

    def __contains__(self, question: Question) -> bool:
        return question in self._answers

    def __getitem__(self, question: Question) -> Any:
        """What was answered. Raises `Unread`."""
        try:
            return self._answers[question]
        except KeyError:
            raise Unread(question) from None

    def add(self, questions: Sequence[Question], answers: Sequence[Any]) -> None:
        """Keep answers to questions."""
        self._answers.update(zip(questions, answers, strict=True))


class Known(NamedTuple):
    """An approval as it stood, and what goes with it."""

    record: Record
    seq: int
    version: str


class RedisRecords:
    """See `sidecar.ledger.transitions.Records`; `version` is the one that what is written gets.

    What was put is seen by `get` and `grant`, and by nothing else: no transition puts what it then looks up elsewhere.
    """

    def __init__(self, base: str, snapshot: Snapshot, version: str) -> None:
        self.now = snapshot.now
        self.commands: list[Command] = []
        self._base = base
        self._snapshot = snapshot
        self._version = version
        self._seq = snapshot.seq
        self._known: dict[str, Known] = {}
        self._grants: dict[str, Grant] = {}

    def get(self, id: str) -> Record | None:  # noqa: A002 - the field's word
        if id not in self._known:
            self._know(self._snapshot["brief" if ("brief", id) in self._snapshot else "record", id])
        known = self._known.get(id)
        return known.record if known else None

    def version_of(self, id_: str) -> str | None:
        """The version that an approval was written with."""
        self.get(id_)
        known = self._known.get(id_)
        return known.version if known else None

    def of_binding(self, binding: str) -> Record | None:
        answer = self._snapshot["binding", binding]
        if answer is None:
            return None
        record = self._know(answer)
        if record is None or record.asked.binding != binding or record.grant:
            raise damaged()
        return record

    def unfinished(self, server: str, call: str) -> Sequence[Record]:
        found = []
        for answer in self._snapshot[unfinished_question(server, call)]:
            record = self._know(answer)
            if record is None or (record.asked.server, record.asked.call) != (server, call):
                raise damaged()
            found.append(self._known[record.id])
        return [one.record for one in sorted(found, key=lambda one: one.seq) if one.record.state in _UNFINISHED]

    def grant(self, id: str) -> Grant | None:  # noqa: A002
        if id in self._grants:
            return self._grants[id]
        text = self._snapshot["grant", id]
        return None if text is None else grant_of(text, id)

    def grants(self, server: str, tool: str, holder: str, rules: str) -> Sequence[Grant]:
        found = [grant_of(text) for text in self._snapshot[grants_question(server, tool, holder, rules)] if text]
        if any((one.server, one.tool, one.holder, one.rules) != (server, tool, holder, rules) for one in found):
            raise damaged()
        return sorted(found, key=lambda grant: (grant.created, grant.id))

    def pending(self, holder: str) -> Waiting:
        return Waiting(*self._snapshot["pending", holder])

    def heard_of(self, instance: str) -> float | None:
        text = self._snapshot["heard", instance]
        return None if text is None else time_of(text)

    def put(self, record: Record, tell: Event | None = None) -> None:
        before = self._known.get(record.id)
        if before is None:
            # Nobody but a transition that made up an id puts what it has not read.
            self._seq += 1
            asked, long = texts_of(record.asked)
            self._write("HSET", "asked", record.id, asked)
            if long is not None:
                self._write("HSET", "long", record.id, long)
            self._set_root("seq", str(self._seq))
        seq = before.seq if before else self._seq
        if record.grant == "" and before is None:
            self._write("HSET", "binding", record.asked.binding, record.id)
        elif before is not None and record.grant and not before.record.grant:
            self._unbind(record)
        self._write("HSET", "stands", record.id, text_of(Kept(seq, self._version, stands_of(record))))
        self._index(_indexed(before.record, seq) if before else {}, _indexed(record, seq))
        self._known[record.id] = Known(record, seq, self._version)
        if tell is not None and record.asked.notify:
            self._tell(record, tell)

    def put_grant(self, grant: Grant) -> None:
        self._grants[grant.id] = grant
        kind = f"standing|{_kind(grant.server, grant.tool, grant.holder, grant.rules)}"
        self._write("HSET", "grants", grant.id, text_of(grant))
        self._write("ZADD", "standing", repr(grant.until), grant.id)
        if can_be_used(grant, self.now):
            self._write("ZADD", kind, repr(grant.created), grant.id)
        else:
            self._write("ZREM", kind, grant.id)

    def remove(self, id_: str) -> None:
        """Remove an approval with all that was kept of it."""
        record = self.get(id_)
        if record is None:
            return
        self._unbind(record)
        self._index(_indexed(record, self._known[id_].seq), {})
        for name in ("asked", "long", "stands"):
            self._write("HDEL", name, id_)
        for notice in self._snapshot["notices", id_]:
            self._write("ZREM", f"outbox|{record.asked.server}", notice)
            for name in ("notices", "tries", "whose"):
                self._write("HDEL", name, notice)
        self._write("DEL", f"of|{id_}")

    def remove_grant(self, id_: str) -> None:
        """Remove a standing approval."""
        grant = self.grant(id_)
        if grant is not None:
            self._write("ZREM", f"standing|{_kind(grant.server, grant.tool, grant.holder, grant.rules)}", id_)
        self._write("HDEL", "grants", id_)
        self._write("ZREM", "standing", id_)

    def _know(self, answer: Any) -> Record | None:
        """The approval in an answer, as it stands after what was put. None where there is none."""
        known = known_of(answer)
        return self._known.setdefault(known.record.id, known).record if known else None

    def _unbind(self, record: Record) -> None:
        binding = record.asked.binding
        if ("binding", binding) in self._snapshot:
            answer = self._snapshot["binding", binding]
            newest = answer and answer[0]
        else:
            newest = self._snapshot["pointer", binding]
        if newest == record.id.encode():
            self._write("HDEL", "binding", binding)

    def _index(self, before: dict[tuple[str, str], str], after: dict[tuple[str, str], str]) -> None:
        for (name, member), score in after.items():
            if before.get((name, member)) != score:
                self._write(*_adding(name, member, score))
        for name, member in before.keys() - after.keys():
            self._write(_removing(name), name, member)

    def _tell(self, record: Record, event: Event) -> None:
        self._seq += 1
        self._set_root("seq", str(self._seq))
        id_, now = new_id("ntc"), self.now
        self._write("HSET", "notices", id_, text_of(KeptNotice(self._seq, event, now, stands_of(record))))
        self._write("HSET", "whose", id_, f"{record.id} {record.asked.server}")
        self._write("SADD", f"of|{record.id}", id_)
        self._write("ZADD", f"outbox|{record.asked.server}", repr(now), id_)

    def _write(self, verb: str, name: str, *words: str) -> None:
        self.commands.append((verb, f"{self._base}|{name}", *words))

    def _set_root(self, field: str, value: str) -> None:
        self.commands.append(("HSET", self._base, field, value))


def questions_of(wants: Wants) -> list[Question]:
    """What a call's transition needs as a rule."""
    asked = [unfinished_question(wants.server, wants.call)]
    if isinstance(wants, Asked):
        asked += [("binding", wants.binding), ("pending", wants.holder)]
        if wants.grant is not None:
            asked.append(grants_question(wants.server, wants.tool, wants.holder, wants.rules))
    return asked


def unfinished_question(server: str, call: str) -> Question:
    """What asks for the approvals of a call that are in use or unknown; the second word is the end of their key."""
    return "unfinished", f"{encoded(server)}|{call}"


def grants_question(server: str, tool: str, holder: str, rules: str) -> Question:
    """What asks for standing approvals."""
    return "grants", _kind(server, tool, holder, rules)


def known_of(answer: Any) -> Known | None:
    """The approval in an answer of id, how it stands, and both texts of what was asked; None where there is none.

    Raises `StoreUnavailable` where it is damaged.
    """
    id_, stands, asked, long = answer
    if stands is None and asked is None:
        return None
    kept = value_of(stands, Kept)
    return Known(record_from(text(id_), asked_from(asked, long), kept.stands), kept.seq, kept.version)


def grant_of(stored: Any, id_: str | None = None) -> Grant:
    """A standing approval from its text. Raises `StoreUnavailable` where it is damaged."""
    grant = value_of(stored, Grant)
    if id_ is not None and grant.id != id_:
        raise damaged()
    return grant


def notice_of(answer: Any) -> tuple[float, int, Notice]:
    """A notice, when it was due, and its place in the order of all, from what `NOTICES` gives for it.

    Raises `StoreUnavailable` where it is damaged.
    """
    id_, due, says, tries, approval, asked, long = answer
    kept = value_of(says, KeptNotice)
    attempts = value_of(tries, int) if tries is not None else 0
    record = record_from(text(approval), asked_from(asked, long), kept.stands)
    return time_of(due), kept.seq, Notice(text(id_), kept.event, kept.at, attempts, record)


def text(stored: Any) -> str:
    """A stored text. Raises `StoreUnavailable` for what is none."""
    try:
        return bytes(stored).decode()
    except UnicodeDecodeError:
        raise damaged() from None


def time_of(stored: Any) -> float:
    """A stored time, in Unix seconds. Raises `StoreUnavailable` for what is none."""
    try:
        seconds = float(stored)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise StoreUnavailable("the store of approvals holds a time that is no number")
    return seconds


def _indexed(record: Record, seq: int) -> dict[tuple[str, str], str]:
    """Where an approval is found: for each index and member the score, the owner in `owners`, or nothing in a set."""
    asked, state = record.asked, record.state
    found = {(f"at|{state}", record.id): str(seq), (f"at|{state}|{asked.server}", record.id): str(seq)}
    found["changed", record.id] = repr(record.changed)
    expires = repr(record.expires)
    if state in _LIVE:
        found["due", record.id] = expires
        found[f"until|{state}|{asked.server}", record.id] = expires
    if state == "pending":
        found["waiting", record.id] = expires
        found[f"waiting|{asked.holder}", record.id] = expires
        if is_long(asked.shown):
            found["waiting-long", record.id] = expires
            found[f"waiting-long|{asked.holder}", record.id] = expires
    if state in _UNFINISHED:
        found[f"unfinished|{encoded(asked.server)}|{asked.call}", record.id] = ""
    if state == "in_use":
        found["using", record.id] = repr(record.changed)
        found["owners", record.id] = record.owner
    if state in FINAL:
        found["done", record.id] = repr(kept_until(record) - KEPT)
    return found


def _adding(name: str, member: str, score: str) -> tuple[str, ...]:
    if name == "owners":
        return "HSET", name, member, score
    return ("SADD", name, member) if name.startswith("unfinished|") else ("ZADD", name, score, member)


def _removing(name: str) -> str:
    if name == "owners":
        return "HDEL"
    return "SREM" if name.startswith("unfinished|") else "ZREM"


def _kind(server: str, tool: str, holder: str, rules: str) -> str:
    return f"{encoded(server)}|{encoded(tool)}|{encoded(holder)}|{rules}"
