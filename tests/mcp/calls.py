"""Lines of calls in which much may be taken for the id of the message, and lines that differ from them in little."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from hypothesis import strategies as st

CLIENT: Final = "io.modelcontextprotocol/clientInfo"


def encoded(message: Any) -> bytes:
    """A message as one canonical line, but for what JSON may write in several ways."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


numbers = st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=6)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "a", "b"]), inner, max_size=3),
    max_leaves=6,
)
ids = st.integers(0, 20) | st.integers(0, 10**15) | st.text(max_size=4) | st.sampled_from(['"id":1,', ',"id":7}'])
KEYS = [
    "id",
    "a",
    '"id":3,',
    'x"id',
    'x","id',
    ',"id":5}',
    "jsonrpc",
    "method",
    'id":5,"jsonrpc":"2.0"}',
    "ID",
    "i\u0064",
]
near = st.integers(0, 20)
inner_values = st.recursive(
    near | values | st.sampled_from([',"id":5}', '"id":5,', '{"jsonrpc":"2.0","id":5,', "tools/call", "2.0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def calls(draw: st.DrawFn) -> bytes:
    """A call with members in any order, and whatever might be taken for its id in every place."""
    members: dict[str, Any] = {
        "jsonrpc": "2.0", "id": draw(ids), "method": "tools/call",
        "params": {
            "name": draw(st.sampled_from(["t", "id", ',"id":5}'])),
            "arguments": draw(st.dictionaries(st.sampled_from(KEYS), inner_values, max_size=3)),
        },
    }  # fmt: skip
    if draw(st.booleans()):
        members["params"]["_meta"] = {CLIENT: {"name": draw(st.text(max_size=4))}}
    for more in draw(st.lists(st.sampled_from(KEYS), max_size=2)):
        members.setdefault(more, draw(near))
    members["params"] = {key: members["params"][key] for key in draw(st.permutations(sorted(members["params"])))}
    return encoded({key: members[key] for key in draw(st.permutations(sorted(members)))})


@st.composite
def changed(draw: st.DrawFn, line: bytes) -> bytes:
    """The line with another number in the place of one of its numbers, or with bytes cut out and others put in."""
    places = list(re.finditer(rb"[0-9]+", line))
    if places and draw(st.integers(0, 3)) > 0:
        digits = draw(st.sampled_from(places))
        return line[: digits.start()] + b"%d" % draw(near | st.just(999_999)) + line[digits.end() :]
    begin = draw(st.integers(0, len(line)))
    end = draw(st.integers(begin, min(len(line), begin + 12)))
    pieces = st.sampled_from([b"", b'"id":1,', b'"id":', b"0", b"7", b",", b"}", b"-", b'"', b" ", b'"ID":1,', b"\\"])
    return line[:begin] + draw(pieces | st.binary(max_size=3)) + line[end:]
