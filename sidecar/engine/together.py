"""Several questions in one request: how they are put together, and how the reply is taken apart. No I/O.

OPA answers in an object keyed by position. The positions are ours, and a reply counts only when it is, byte for byte,
such an object of them: no answer can be taken for that of another question. What an answer must be to count is not
known here; each gets the form that it would have alone, for the one reader that knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from sidecar.engine.wire import BadReply

MOST: Final = 16
"""Questions in one request: beyond that one more saves nothing, and each waits for the answers of all."""
MOST_BYTES: Final = 16 << 10
"""Bytes of questions in one request; a longer question travels alone."""

_BEFORE: Final = len(b'{"input":')


def together(bodies: Sequence[bytes]) -> bytes:
    """The body of one request that asks several questions, from the bodies that would ask each alone."""
    questions = b",".join(b'"%d":%b' % (position, body[_BEFORE:-1]) for position, body in enumerate(bodies))
    return b'{"input":{"questions":{%b}}}' % questions


def apart(reply: bytes, count: int) -> list[bytes | None]:
    """For each question the body of the reply that it would get alone; None for one that OPA has no answer to.

    Raises `BadReply` if anything is in the reply that was not asked for, or is in it twice.
    """
    try:
        found = _decode(reply)
        answers = _decode_answers(found.result)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadReply("it is no object of answers") from None
    head = b'"decision_id":%b,' % found.decision_id if found.decision_id else b""
    # Decoding takes the last of two equal keys. What is written anew from the parts has each part once.
    written = b",".join(b'"%b":%b' % (key.encode(), answer) for key, answer in answers.items())
    if reply.rstrip(b"\n") != b'{%b"result":{%b}}' % (head, written):
        raise BadReply("it holds more than the answers")
    alone: list[bytes | None] = [None] * count
    for position, key in enumerate(_POSITIONS[:count]):
        if (answer := answers.pop(key, None)) is not None:
            alone[position] = b'{%b"result":%b}' % (head, answer)
    if answers:
        raise BadReply("it answers what was not asked")
    return alone


_POSITIONS: Final = tuple(str(position) for position in range(MOST))


class _Reply(msgspec.Struct, frozen=True):
    result: msgspec.Raw
    decision_id: msgspec.Raw = msgspec.Raw(b"")


_decode = msgspec.json.Decoder(_Reply).decode
_decode_answers = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
