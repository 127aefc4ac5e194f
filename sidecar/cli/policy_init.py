"""`sidecar policy init`: a policy repository that works, to begin from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sidecar.cli.printing import say
from sidecar.repository.begin import begin
from sidecar.text import of_system


def policy_init_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write: missing or empty.")],
) -> int:
    """Begin a policy repository: policy, Rego, tests, CI for GitHub and GitLab, a pre-commit hook."""
    for name in begin(folder):
        say(of_system(str(folder / name)))
    say(f"Next: cd {shlex.quote(of_system(str(folder)))} && git init && sidecar policy test .")
    return 0
