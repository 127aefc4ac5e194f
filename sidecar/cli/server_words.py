"""Where our words end and the server's begin, on a command line that ends with a server's command.

A word that could be either is refused. `--mode monitor` that was meant for the server would make us let everything
pass, and an option of the server that we take is one that it does not get.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from typer.core import TyperCommand

from sidecar.errors import UsageError
from sidecar.text import of_system, shown

COMMAND: Final = "command"
"""The parameter that takes a server's command."""
SEPARATOR: Final = "--"


class Command(TyperCommand):
    """A command of ours; with a parameter `command`, all words from the first that is no option on are the server's."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words. Raises `UsageError` where it is not certain whose they are."""
        if not any(param.name == COMMAND for param in self.params):
            return super().parse_args(ctx, args)
        ctx.allow_interspersed_args = False
        words = list(args)
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            options = {param.name: param.opts[-1] for param in self.params}
            _check_values(ctx.params, options)
            command: Sequence[str] = ctx.params[COMMAND] or ()
            before = words[: len(words) - len(command)]
            if before[-1:] != [SEPARATOR]:
                _check_unseparated(command)
        return rest


def _check_values(params: Mapping[str, Any], options: Mapping[str | None, str]) -> None:
    """An option without its value, as of a variable that is not set, takes the -- that follows."""
    for name, value in params.items():
        values: Iterable[Any] = value if isinstance(value, list | tuple) else (value,)
        if name != COMMAND and SEPARATOR in map(str, values):
            raise UsageError(f"{options[name]} has no value before --: write one, or leave the option out")


def _check_unseparated(command: Sequence[str]) -> None:
    doubtful = next((word for word in command if word.startswith("-")), None)
    if doubtful is None:
        return
    # The option's name alone: what is given with it may be a secret.
    name = doubtful.partition("=")[0] if doubtful.startswith("--") else doubtful[:2]
    first, word = (shown(of_system(one)) for one in (command[0], name))
    if doubtful == SEPARATOR:
        raise UsageError(
            f"{first} stands before --: if it is the policy, write -c before it; if it belongs to the server's "
            "command, write -- before all of that"
        )
    raise UsageError(
        f"{word} after {first} could be ours or the server's: write -- before the server's command, and options of "
        "ours before that --"
    )
