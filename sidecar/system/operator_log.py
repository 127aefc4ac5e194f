"""The operator's log: what a line of it carries beside its message. How lines look is not known here.

Each line has the name of its event, which programs may rely on, and fields of their own for what they look for.
"""

from __future__ import annotations

import logging
from typing import Any, Final, TypeAlias

EVENT: Final = "event"
FIELDS: Final = "fields"

log: Final = logging.getLogger("sidecar")
state: Final = logging.getLogger("sidecar.state")
"""For lines that programs wait for: they are written at any level, and in text form without anything before them."""

Value: TypeAlias = str | int | float | bool | None


def fields(event: str, /, **values: Value) -> dict[str, Any]:
    """What a line carries (`extra` of a log call): its event, in snake case, and its fields.

    A field that is None or empty is left out. Values from outside may be given as they are: they are capped and escaped
    where they are written.
    """
    return {EVENT: event, FIELDS: {name: value for name, value in values.items() if value not in (None, "")}}
