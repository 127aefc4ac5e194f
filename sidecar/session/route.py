"""The way of one message of the client, and of the answer to it, as a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from sidecar.mcp.jsonrpc import Id, Outgoing
from sidecar.mcp.trace_context import TraceContext

Send: TypeAlias = Callable[[Outgoing], None]


def _nothing() -> None:
    """Nothing becomes of a message."""


class Route(msgspec.Struct, frozen=True):
    """Where one message of the client goes, and the answer to it. A batch has one route.

    | event                                        | callable                                       |
    | -------------------------------------------- | ---------------------------------------------- |
    | the message is sent on                       | `to_server`, with what is sent                 |
    | we answer it ourselves                       | `to_client`, with our answer                   |
    | it cannot be taken                           | `refuse`, or `to_client` where there is none   |
    | it goes no further, and has no answer        | `dropped`                                      |
    | its verdict waits for a person               | `held`, before any of these, perhaps again     |
    | the client hears of it meanwhile             | `tell`, or `to_client` where there is none     |
    | the server answered what was sent on         | `to_client`, unless it is delivered elsewhere  |
    | the client cancelled what was sent on        | `cancelled`; no answer follows                 |

    Exactly one of the first four happens to each message. Of a batch one part may be answered and another be sent on,
    in this order. Without a `cancelled` the answer to what was cancelled may still come. `is_sent` is False while what
    `to_server` got can still be held back, by `dropped` or `to_client`. Where not `may_hold` no verdict waits. `trace`
    is the trace that the request which carried the message is a part of.
    """

    to_client: Send
    to_server: Send
    dropped: Callable[[], None] = _nothing
    refuse: Send | None = None
    cancelled: Callable[[Id], None] | None = None
    is_sent: Callable[[], bool] | None = None
    held: Callable[[], None] = _nothing
    tell: Send | None = None
    may_hold: bool = True
    trace: TraceContext | None = None
