"""`sidecar completion`: the script that teaches a shell to complete our commands and options."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from typer._completion_shared import get_completion_script  # typer has no public name for it, and is pinned
from typer.completion import get_completion_inspect_parameters

from sidecar.cli.options import one_of

VARIABLE: Final = "_SIDECAR_COMPLETE"
"""What a shell sets where it asks for completions."""
SHELLS: Final = ("bash", "zsh", "fish")


def completion_command(
    shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="Your shell.", show_default=False)],
) -> int:
    """Print the script by which a shell completes commands and options.

    bash: `eval "$(sidecar completion bash)"` in `~/.bashrc`. zsh: `eval "$(sidecar completion zsh)"` in `~/.zshrc`,
    after `compinit`. fish: `sidecar completion fish > ~/.config/fish/completions/sidecar.fish`.
    """
    known = one_of("SHELL", shell, SHELLS)
    print(get_completion_script(prog_name="sidecar", complete_var=VARIABLE, shell=known))
    return 0


def answer_shells() -> None:
    """Make the command line answer shells. Typer does so by itself only where its own options for scripts are on."""
    get_completion_inspect_parameters()
