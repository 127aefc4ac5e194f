"""The operator's log: what a line of it carries beside its message. How lines look is not known here.

Each line has the name of its event, which programs may rely on, and fields of their own for what they look for.
"""

from __future__ import annotations

import logging
from typing import Any, Final, TypeAlias

FOR_PROGRAMS: Final = "for programs"
"""The name of a handler whose lines programs read."""
EVENT: Final = "event"
FIELDS: Final = "fields"

log: Final = logging.getLogger("sidecar")
state: Final = logging.getLogger("sidecar.state")
"""For lines that programs wait for: they are written at any level, and in text form without anything before them."""

Value: TypeAlias = str | int | float | bool | None


def is_for_programs() -> bool:
    """True where each line of the log is read by a program, so that nothing else may stand between them."""
    return any(handler.get_name() == FOR_PROGRAMS for handler in logging.getLogger().handlers)


def fields(event: str, /, **values: Value) -> dict[str, Any]:
    """What a line carries (`extra` of a log call): its event, in snake case, and its fields.

    A field that is None or empty is left out. Values from outside may be given as they are: they are capped and escaped
    where they are written.
    """
    return {EVENT: event, FIELDS: {name: value for name, value in values.items() if value not in (None, "")}}
