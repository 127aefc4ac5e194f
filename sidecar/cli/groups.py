"""A group of commands for people who type: it helps, suggests what was meant, and knows what `-h` is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from difflib import get_close_matches
from typing import Any, ClassVar, Final

import typer
from typer.core import TyperGroup

from sidecar.errors import UsageError
from sidecar.text import of_system, shown, shown_quoted

HELP_OPTIONS: Final = ("-h", "--help")
"""How every command is asked what it does."""
OTHER_NAMES: Final = {"--policy": "--config"}
"""What people call an option of ours, however unlike the two are."""
_NEAR: Final = 0.75
"""How like an option of ours a word must be to have been meant for it; 1 is the same."""


class Group(TyperGroup):
    """Commands under one name. Options before any command are those of the command `default`, where there is one."""

    default: ClassVar[str] = ""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the group's own options off the words. Nothing said is wrong usage: the help, on the error stream."""
        if not args and not ctx.resilient_parsing:
            # A client that started us without words reads the protocol from standard output.
            with redirect_stdout(sys.stderr):
                print(ctx.get_help(), end="")
            raise typer.Exit(2)
        if args[:1] == ["help"]:  # as of git and docker
            args = [*args[1:], "--help"]
        if args and self.default and args[0].startswith("-") and args[0] not in self._own_options(ctx):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names. Raises `UsageError`, which says what may have been meant."""
        known = self.list_commands(ctx)
        if args[0] not in known and not ctx.resilient_parsing:
            meant = " or ".join(get_close_matches(args[0], known))
            raise UsageError(
                f"there is no command {shown_quoted(of_system(args[0]))}"
                f"{f': did you mean {meant}?' if meant else ''}; see `{ctx.command_path} --help`"
            )
        return super().resolve_command(ctx, args)

    def _own_options(self, ctx: Any) -> set[str]:
        return {name for param in self.get_params(ctx) for name in param.opts}


def wrong_usage(error: typer.TyperException) -> str:
    """What is wrong with the words of a command, what was meant perhaps, and where the right ones are listed."""
    ctx: Any = getattr(error, "ctx", None)
    path = "sidecar" if ctx is None else ctx.command_path
    return f"{_said(error, ctx)}; see `{path} --help`"


def _meant(word: str, options: Sequence[str]) -> list[str]:
    """Options that are near a word, or that it begins: a server's option, before which -- is missing, is like one of
    ours only by chance."""
    if word in OTHER_NAMES:
        return [OTHER_NAMES[word]]
    return get_close_matches(word, options, cutoff=_NEAR) or [name for name in options if name.startswith(word)]


def _said(error: Any, ctx: Any) -> str:
    if not hasattr(error, "possibilities"):
        return str(error.format_message()).strip().rstrip(".")
    said = f"there is no option {shown(of_system(error.option_name))}"
    if meant := _meant(error.option_name, error.possibilities or ()):
        return f"{said}: did you mean {' or '.join(meant)}?"
    if ctx is not None and any(param.name == "command" for param in ctx.command.params):
        return f"{said}: if it is one of the server's, write -- before the server's command"
    return said
