"""Which arguments of which tool are mirrored in `Mcp-Param-*` headers, as the lists of tools say that pass here."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from sidecar.mcp import mirrored_headers
from sidecar.mcp.jsonrpc import Response
from sidecar.mcp.mirrored_headers import Marks

MAX_TOOLS: Final = 10_000
"""Tools that are remembered, the ones that were listed last."""
MAX_NAME: Final = 1_000
"""Characters of the name of one of them."""


class Marked:
    """Tools by name. What is known of one holds for `lasting` seconds, where others may hear of a newer list first."""

    def __init__(self, lasting: float = math.inf, clock: Callable[[], float] = monotonic) -> None:
        self._lasting = lasting
        self._clock = clock
        self._tools: OrderedDict[str, tuple[Marks, float]] = OrderedDict()

    def learn(self, reply: Response) -> None:
        """Note what the answer to `tools/list` says; nothing where it is no list."""
        tools = reply.result.get("tools") if type(reply.result) is dict else None
        now = self._clock()
        for tool in tools if type(tools) is list else ():
            name = tool.get("name") if type(tool) is dict else None
            if type(name) is str and len(name) <= MAX_NAME:
                self._tools[name] = mirrored_headers.marks_of(tool.get("inputSchema")), now
                self._tools.move_to_end(name)
        while len(self._tools) > MAX_TOOLS:
            self._tools.popitem(last=False)

    def of(self, tool: Any) -> Marks | None:
        """The marks of a tool; None where no list that counts names it."""
        found = self._tools.get(tool) if type(tool) is str else None
        return found[0] if found is not None and self._clock() - found[1] <= self._lasting else None
