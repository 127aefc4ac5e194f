"""Our own defects (exceptions that should not happen), reported in one way and each under an id.

The caller contains them: a defect ends the message, batch or connection that met it, never the process.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

TRACE: Final = "trace"
"""The key under which the event loop's exception handler finds the id of a defect that was reported here."""


def tell(what: str, error: BaseException) -> str:
    """Report `what` failed, and why, to the event loop's exception handler; the id of the defect in the log."""
    trace = secrets.token_hex(6)
    context = {"message": what, "exception": error, TRACE: trace}
    asyncio.get_running_loop().call_exception_handler(context)
    return trace


def text(trace: str) -> str:
    """The text for whoever's message met a defect: only the id to look for in the log."""
    return f"something went wrong here: the sidecar's log has it as {trace}"
