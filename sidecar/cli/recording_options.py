"""The options of `sidecar run` that record decided calls, and the setting that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from sidecar.cli.options import size
from sidecar.errors import UsageError
from sidecar.settings import Recording

LEAST: Final = 64 << 10
"""Bytes: less holds too few calls to be worth a replay."""

Record: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        envvar="SIDECAR_RECORD",
        metavar="FILE",
        show_default=False,
        help="Keep what `policy replay` needs of each call: the arguments that rules read, who called, the decision.",
    ),
]
RecordAll: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--record-all",
        envvar="SIDECAR_RECORD_ALL",
        help="Keep all arguments in --record; masked values as hashes only.",
    ),
]
RecordSize: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="SIDECAR_RECORD_SIZE", metavar="SIZE", help="The most that a recording takes, FILE and FILE.1 together."
    ),
]


def recording_in(path: Path | None, most: str, *, whole: bool) -> Recording | None:
    """What is recorded; None for nothing. Raises `UsageError`."""
    if path is None:
        if whole:
            raise UsageError("--record-all says how to record, and nothing says where: write --record FILE too")
        return None
    if size(most) < LEAST:
        raise UsageError(f"--record-size {most} is too little: write 64KiB or more")
    return Recording(path.absolute(), whole, size(most))
