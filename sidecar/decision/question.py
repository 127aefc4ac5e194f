"""The questions that the engine is asked, as the bodies of its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec

from sidecar.ledger.values import Amount
from sidecar.mcp.protocol import TOOLS_CALL, TOOLS_LIST

VERSION: Final = 1


class Form:
    """The question about calls of one tool, encoded in advance except for what differs from call to call."""

    __slots__ = ("_head",)

    def __init__(self, server: str, tool: str) -> None:
        head = _encode({"input": {"version": VERSION, "method": TOOLS_CALL, "server": server, "tool": tool}})
        self._head = head.removesuffix(b"}}") + b',"arguments":'

    def filled(
        self, arguments: Mapping[str, Any], counters: Mapping[str, Amount] | None = None, *,
        keys: Sequence[str] | None = None, caller: Mapping[str, Any] = MappingProxyType({}), time: str = "",
    ) -> bytes:  # fmt: skip
        """The body of the request that asks about one call; `arguments` are those that `Projection.of` gives.

        `keys` are the names of all arguments, where a rule permits only some; `caller` is what rules read of the
        principal, the session and the workload; `time` is that of the call. What is not known, or not read, is left
        out.
        """
        named = b',"keys":' + _encode(keys) if keys is not None else b""
        who = b"," + _encode(caller)[1:-1] if caller else b""
        counted = b',"counters":' + _encode(counters) if counters else b""
        at = b',"time":' + _encode(time) if time else b""
        return b"".join((self._head, _encode(arguments), named, who, counted, at, b"}}"))


def question(
    server: str, tool: str, arguments: Mapping[str, Any], counters: Mapping[str, Amount] | None = None, *,
    keys: Sequence[str] | None = None, caller: Mapping[str, Any] = MappingProxyType({}), time: str = "",
) -> bytes:  # fmt: skip
    """The body of the request that asks about one call; the parts as in `Form`."""
    return Form(server, tool).filled(arguments, counters, keys=keys, caller=caller, time=time)


def time_of_call(seconds: float) -> str:
    """A time in Unix seconds as questions tell it: RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def question_about_list(server: str, tools: Sequence[str]) -> bytes:
    """The body of the request that asks which tools to show: the same to every caller."""
    return _encode({"input": {"version": VERSION, "method": TOOLS_LIST, "server": server, "tools": tools}})


def question_about_engine() -> bytes:
    """The body of the request that asks which version of OPA answers, and under which policy."""
    return _encode({"input": {"version": VERSION, "method": "intercept/engine"}})


# As numbers, not as texts: totals of counters may be decimals.
_encode = msgspec.json.Encoder(decimal_format="number").encode
