"""`sidecar init`: a first policy, with comments."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sidecar.cli.printing import say
from sidecar.repository import examples
from sidecar.repository.first import NAME, first_policy
from sidecar.text import of_system


def init_command(
    path: Annotated[
        Path, typer.Argument(metavar="[PATH]", help="The file to write, or its folder. It must not be there yet.")
    ] = Path(NAME),
    example: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"Write one of the shipped examples instead: {', '.join(examples.names())}."),
    ] = None,
) -> int:
    """Write a first policy with comments. It works in front of any server."""
    written = shlex.quote(of_system(str(first_policy(path, None if example is None else examples.text(example)))))
    if example is not None:
        say(f"Wrote {written}, the example {example}.")
        say("Next:")
        say(f"  sidecar risks -c {written}")
        say(f"  sidecar run -c {written} -- COMMAND    where COMMAND starts the MCP server that it is for")
        return 0
    say(f"Wrote {written}. It refuses tools whose names begin with delete_, and more than 60 calls a minute.")
    say("Next:")
    say(f"  sidecar explain -c {written} delete_file")
    say(f"  sidecar run -c {written} -- COMMAND    where COMMAND starts your MCP server")
    return 0
