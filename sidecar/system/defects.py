"""Defects of ours, told in one place: each ends the message or connection that met it, and nothing else."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

TRACE: Final = "trace"
"""Under this key the event loop's exception handler finds the id of a defect that was told here."""


def tell(what: str, error: BaseException) -> str:
    """Tell the event loop's exception handler of `what` failed and how; the id by which the log knows it."""
    trace = secrets.token_hex(6)
    context = {"message": what, "exception": error, TRACE: trace}
    asyncio.get_running_loop().call_exception_handler(context)
    return trace


def text(trace: str) -> str:
    """What somebody is told whose message met a defect: nothing but where to look for it."""
    return f"something went wrong here: the sidecar's log has it as {trace}"
