"""Why a request that was sent on got no answer of the server, as a value."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.mcp.tool_call import Outcome


class Failure(msgspec.Struct, frozen=True):
    """`text` is for people and models, `data` for programs; neither holds a secret. `outcome`: whether it may have run.

    In `data` stands under `upstream` what failed: `dns`, `refused`, `tls`, `timeout`, `network`, `busy`, `lost`,
    `unreadable`, `ended`, `unsent`, or `status` with the status beside it.
    """

    text: str
    outcome: Outcome
    data: dict[str, Any] | None = None
