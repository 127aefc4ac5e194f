"""What a sidecar and the process of its candidate tell each other: values in MessagePack, each behind its length."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from sidecar.rehearsal.judging import Action

MAX_FRAME: Final = 32 << 20
"""Bytes of one value; whoever gets a longer one stops listening."""
HEAD: Final = 4
"""Bytes of the length in front of each."""


class Begin(msgspec.Struct, frozen=True):
    """What the process is to do: judge under the policy at `path` the calls of `server`."""

    path: str
    opa: str
    server: str
    workload: dict[str, str]


class Who(msgspec.Struct, frozen=True, array_like=True):
    """A caller. `claims` are JSON, since no other form keeps its numbers; `said` is what the client says of itself."""

    session: str
    client: str
    subject: str | None
    issuer: str
    claims: bytes
    said: tuple[str, str | bool | None, str | bool | None] | None


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """One call, the message as it is sent on, and what became of it: what the policy in force said, by which rule.

    `monitors` where that one only monitors, so that every call passes.
    """

    message: bytes
    who: Who
    live: Action
    rule: str
    monitors: bool
    decision_id: str


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """The candidate judges from now on. `facts` are those of its bundle, empty where they are too long to be told."""

    revision: str
    facts: str


class Trouble(msgspec.Struct, frozen=True, tag="trouble"):
    """The candidate cannot be used, or a changed one is not; `text` says why."""

    text: str


class Compared(msgspec.Struct, frozen=True, tag="compared"):
    """Calls of which both said the same things, by the same rules; the first of them is `tool` and `decision_id`.

    `rule` is the candidate's, which stands at `file` and `line`.
    """

    live: Action
    candidate: Action
    live_rule: str
    rule: str
    file: str
    line: int
    tool: str
    decision_id: str
    count: int


class NotJudged(msgspec.Struct, frozen=True, tag="not_judged"):
    """Calls to which the candidate gave no usable answer."""

    count: int


Told: TypeAlias = Begun | Trouble | Compared | NotJudged


def frame(value: Any) -> bytes:
    """A value as it is written."""
    data = _encode(value)
    return len(data).to_bytes(HEAD, "big") + data


class Frames:
    """Takes what comes apart into values, whatever the pieces that it comes in."""

    def __init__(self) -> None:
        self._left = bytearray()

    def take(self, data: bytes) -> list[bytes]:
        """The values that are complete now, still encoded. Raises ValueError for one that is too long."""
        left = self._left
        left += data
        found = []
        while len(left) >= HEAD:
            end = HEAD + int.from_bytes(left[:HEAD], "big")
            if end > MAX_FRAME:
                raise ValueError("a value is too long")
            if len(left) < end:
                break
            found.append(bytes(left[HEAD:end]))
            del left[:end]
        return found


_encode = msgspec.msgpack.Encoder().encode
read_begin = msgspec.msgpack.Decoder(Begin).decode
read_asked = msgspec.msgpack.Decoder(list[Asked]).decode
read_told = msgspec.msgpack.Decoder(list[Told]).decode
